# The server of the test host. Apart from the client, so that a restart of the client alone is what
# a node of a cluster sees.
name                 = "server"
data_dir             = "/var/lib/nomad-server"
bind_addr            = "127.0.0.1"
disable_update_check = true
leave_on_terminate   = false

advertise {
  http = "127.0.0.1"
  rpc  = "127.0.0.1"
  serf = "127.0.0.1"
}

server {
  enabled          = true
  bootstrap_expect = 1
  raft_multiplier  = 1
}
