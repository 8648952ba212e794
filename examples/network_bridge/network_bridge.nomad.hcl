# A container on a bridge that the node's administrator has made, with an address of its own there. This
# one is for trying:
#
#   ip link add name br-example type bridge
#   ip address add 192.0.2.1/24 dev br-example
#   ip link set br-example up
#   nomad job run network_bridge.nomad.hcl
#   curl http://192.0.2.10/

job "network_bridge" {
  group "network_bridge" {
    update {
      min_healthy_time = "3s"
    }

    task "network_bridge" {
      driver = "nspawn"

      config {
        image          = "nginx" # examples/nginx
        boot           = false
        ephemeral      = true # a copy, so that others can run from the image, too
        network_bridge = "br-example"

        # Set before the command starts. Without these two the address is the container's own business:
        # it asks by DHCP, and somebody on the bridge must answer.
        network_address = "192.0.2.10/24"
        network_gateway = "192.0.2.1"

        command = ["/bin/bash", "-c", "nginx && echo listening && tail -f /var/log/nginx/access.log"]
      }

      resources {
        cpu    = 100
        memory = 64
      }
    }
  }
}
