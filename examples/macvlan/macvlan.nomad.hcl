# A station of its own in the network that the node is in: it has a hardware address of its own, and is
# reached by all but the node itself, which the kernel keeps apart from it.
#
#   nomad job run -var interface=eth0 -var address=198.51.100.7/24 -var gateway=198.51.100.1 macvlan.nomad.hcl
#   curl http://198.51.100.7/        # on another machine of that network

variable "interface" {
  description = "of the node, by which it is in the network"
  default     = "eth0"
}

variable "address" {
  description = "that is free there, with the length of its prefix"
  default     = "198.51.100.7/24"
}

variable "gateway" {
  description = "by which one gets out of there"
  default     = "198.51.100.1"
}

job "macvlan" {
  group "macvlan" {
    update {
      min_healthy_time = "3s"
    }

    task "macvlan" {
      driver = "nspawn"

      config {
        image           = "nginx" # examples/nginx
        boot            = false
        ephemeral       = true          # a copy, so that others can run from the image, too
        network_macvlan = var.interface # `mv-` and its name inside

        # Without these two the address is the container's own business, as with `dhclient && ...`.
        network_address = var.address
        network_gateway = var.gateway

        command = ["/bin/bash", "-c", "nginx && echo listening && tail -f /var/log/nginx/access.log"]
      }

      resources {
        cpu    = 100
        memory = 64
      }
    }
  }
}
