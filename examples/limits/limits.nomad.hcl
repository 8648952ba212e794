# Limits of memory and cpu. They are properties of the task's unit, so that the node's own tools show
# and change them while the task runs:
#
#   systemctl show -p MemoryMax,MemoryHigh,CPUWeight 'nspawn-limits-*.service'
#   systemctl set-property --runtime nspawn-limits-<alloc id>.service MemoryMax=256M

job "limits" {
  group "limits" {
    update {
      min_healthy_time = "3s"
    }

    task "limits" {
      driver = "nspawn"

      config {
        image     = "busybox"
        boot      = false
        ephemeral = true # a copy, so that others can run from the image, too
        command   = ["/bin/sleep", "infinity"]
      }

      resources {
        # MHz, which become a share: the weight of the unit against its neighbours (CPUWeight).
        cpu = 200

        # Above this the task is slowed and its memory reclaimed (MemoryHigh) ...
        memory = 64

        # ... and beyond this it is out of memory (MemoryMax). Nomad gives memory_max only where
        # oversubscription is on (`nomad operator scheduler set-config -memory-oversubscription
        # true`); else, and without it, `memory` is MemoryMax.
        memory_max = 128
      }
    }
  }
}
