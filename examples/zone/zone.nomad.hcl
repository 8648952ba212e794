# Two containers in a network zone: a bridge of the node that is there as long as somebody is in it. Each
# has an address of its own there, given by the driver, so that neither needs a DHCP client.
#
#   nomad job run zone.nomad.hcl
#   machinectl list                       # on the node: both, with their addresses
#   curl http://server-<alloc id>/        # on a node that has libnss-mymachines
#   nomad alloc logs -job -task client zone
#
# The node resolves the names of its machines by libnss-mymachines. Inside, booted systems with
# systemd-resolved find each other by the same names; these two are none, so the client is told the
# address of the server by Nomad.

job "zone" {
  group "zone" {
    update {
      min_healthy_time = "3s"
    }

    task "server" {
      driver = "nspawn"

      config {
        image           = "nginx" # examples/nginx
        boot            = false
        ephemeral       = true # a copy, so that others can run from the image, too
        network_zone    = "example"
        network_address = "auto"
        command         = ["/bin/bash", "-c", "nginx && echo listening && tail -f /var/log/nginx/access.log"]
      }

      service {
        name         = "zone-server"
        provider     = "nomad"
        address_mode = "driver" # the container's address, not the node's
        port         = "80"
      }

      resources {
        cpu    = 100
        memory = 64
      }
    }

    task "client" {
      driver = "nspawn"

      config {
        image           = "busybox" # examples/hello
        boot            = false
        ephemeral       = true
        network_zone    = "example"
        network_address = "auto"

        command = ["/bin/sh", "-c", <<-EOT
          until wget -q -O - $SERVER; do sleep 1; done
          sleep infinity
        EOT
        ]
      }

      # When the server is another one, this is rendered again and the task restarted.
      template {
        data        = "{{ range nomadService \"zone-server\" }}SERVER=http://{{ .Address }}:{{ .Port }}/\n{{ end }}"
        destination = "local/server.env"
        env         = true
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
