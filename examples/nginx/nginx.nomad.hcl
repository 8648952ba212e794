# A web server without an init around it, with a network of its own, on port 8080 of the node.
#
#   nomad job run nginx.nomad.hcl
#   curl http://127.0.0.1:8080/        # on the node; or by the node's address, from anywhere
#   nomad alloc logs -f -job nginx     # the access log
#   nomad alloc exec -job nginx bash   # a shell in it
#
# mkosi.conf beside this file builds the image.

job "nginx" {
  group "nginx" {
    network {
      port "http" {
        static = 8080 # of the node
        to     = 80   # of the container
      }
    }

    # The deployment is healthy when nginx has answered for three seconds.
    service {
      name     = "nginx"
      provider = "nomad"
      port     = "http"

      check {
        type     = "tcp"
        interval = "2s"
        timeout  = "1s"
      }
    }

    update {
      min_healthy_time = "3s"
    }

    task "nginx" {
      driver = "nspawn"

      config {
        image = "nginx"
        boot  = false # run `command`, not the image's init

        # PID 1 is the driver's init, and the command its child, as is the default.
        process_two = true

        # The network is a virtual link to the node (network_veth), where the node's systemd-networkd
        # gives out addresses. nginx goes into the background.
        command = ["/bin/bash", "-c", "dhclient && nginx && tail -f /var/log/nginx/access.log"]
        ports   = ["http"]

        # dhclient asks again after up to eight seconds when nobody listened at first.
        network_timeout = "30s"

        resolv_conf = "copy-host"
      }

      resources {
        cpu    = 100
        memory = 128
      }
    }
  }
}
