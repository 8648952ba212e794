# A copy of the image that ends with the task: what the process writes never reaches the image, and
# any number of tasks can run from one image. A task without `ephemeral` has the image for itself.

job "ephemeral" {
  type = "batch"

  group "ephemeral" {
    count = 2

    task "ephemeral" {
      driver = "nspawn"

      config {
        image     = "busybox"
        boot      = false
        ephemeral = true
        hostname  = "throwaway"
        command   = ["/bin/sh", "-c", "test ! -e /srv/mark && echo $NOMAD_ALLOC_INDEX > /srv/mark && echo mark $(cat /srv/mark) on $(hostname)"]
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
