# A network of the group: two containers in one network namespace, which Nomad makes with its CNI
# plugins. They reach each other on 127.0.0.1, have one address and one set of ports, and Nomad publishes
# what `network` says. Both have their user namespaces as always.
#
#   nomad job run bridge.nomad.hcl
#   nomad alloc logs -job -task client bridge
#   curl http://127.0.0.1:8081/        # on the node

job "bridge" {
  group "bridge" {
    network {
      mode = "bridge"

      port "http" {
        static = 8081 # of the node
        to     = 80   # of the namespace
      }
    }

    update {
      min_healthy_time = "3s"
    }

    task "server" {
      driver = "nspawn"

      config {
        image     = "nginx" # examples/nginx
        boot      = false
        ephemeral = true # a copy, so that others can run from the image, too
        command   = ["/usr/sbin/nginx", "-g", "daemon off;"]
      }

      resources {
        cpu    = 100
        memory = 64
      }
    }

    task "client" {
      driver = "nspawn"

      # Starts when the server has been started, which may be a moment before it listens.
      lifecycle {
        hook = "poststart"
      }

      config {
        image     = "busybox" # examples/hello
        boot      = false
        ephemeral = true
        command   = ["/bin/sh", "-c", "until wget -q -O - http://127.0.0.1/; do sleep 1; done"]
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
