# A process of another user than root, a user of the image: by name or by number. The option wins
# over Nomad's own `user` of the task.

job "user" {
  type = "batch"

  group "user" {
    task "user" {
      driver = "nspawn"

      config {
        image             = "busybox"
        boot              = false
        ephemeral         = true # a copy, so that others can run from the image, too
        user              = "worker"
        working_directory = "/tmp"
        command           = ["/bin/sh", "-c", "id; pwd; echo written by $(whoami) > here && cat here"]
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
