# The client of the test host: together with examples/agent.hcl, which is read first.
name                 = "testhost"
data_dir             = "/var/lib/nomad"
bind_addr            = "127.0.0.1"
log_level            = "DEBUG"
disable_update_check = true
leave_on_terminate   = false

advertise {
  http = "127.0.0.1"
  rpc  = "127.0.0.1"
  serf = "127.0.0.1"
}

ports {
  http = 5646
}

client {
  host_volume "static" {
    path = "/srv/volume"
  }
  enabled           = true
  servers           = ["127.0.0.1:4647"]
  network_interface = "lo"
  cni_path          = "/usr/lib/cni" # where Debian's containernetworking-plugins has them
  cni_config_dir    = "/etc/cni/net.d"

  # The address that others can reach (tests/host/make-outside); ports are on that of "lo" by default.
  host_network "outside" {
    interface = "uplink"
  }

  options = {
    # These ask the network, and the host has none.
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean,consul,vault"
    "driver.allowlist"     = "nspawn"
  }
}

# Without it newer agents ask no driver for statistics.
telemetry {
  publish_allocation_metrics = true
}
