# A service that Nomad registers with the address of the container, not with one of the node: no port of
# the node is taken, and any number of allocations listen on the same one.
#
#   nomad job run service.nomad.hcl
#   nomad service info service-example
#   curl http://<address>/        # on the node
#
# Nomad checks such a service only with Consul.

job "service" {
  group "service" {
    count = 2

    update {
      max_parallel     = 2
      min_healthy_time = "3s"
    }

    task "service" {
      driver = "nspawn"

      config {
        image           = "nginx" # examples/nginx
        boot            = false
        ephemeral       = true   # a copy, so that others can run from the image, too
        network_address = "auto" # one of the driver's pool, there before the command starts
        command         = ["/bin/bash", "-c", "nginx && echo listening && tail -f /var/log/nginx/access.log"]
      }

      service {
        name         = "service-example"
        provider     = "nomad"
        address_mode = "driver"
        port         = "80"
      }

      resources {
        cpu    = 100
        memory = 64
      }
    }
  }
}
