# A Debian that is booted with its own systemd, as on a machine of its own.
#
#   nomad job run debian.nomad.hcl
#   machinectl list                    # on the node: debian-<alloc id>
#   machinectl shell debian-<alloc id> # a root shell in it
#
# mkosi.conf beside this file builds the image.

job "debian" {
  group "debian" {
    # A booted system that has run for three seconds has booted; Nomad's default is ten.
    update {
      min_healthy_time = "3s"
    }

    task "debian" {
      driver = "nspawn"

      config {
        image = "debian" # in /var/lib/machines, as `machinectl list-images` shows it
        # boot is true unless written otherwise: the image's init is started, there is no command.
        # What the system prints on its console is the task's stdout.

        resolv_conf = "copy-host"
      }

      # `nomad job stop` asks the system to shut down, and kills it when that takes longer than this.
      kill_timeout = "30s"

      resources {
        cpu    = 200
        memory = 256
      }
    }
  }
}
