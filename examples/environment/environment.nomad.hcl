# Environment variables, from three places: the option `environment`, Nomad's `env` block, and Nomad
# itself. Where two of them set the same name, Nomad's `env` block wins over the option.

job "environment" {
  type = "batch"

  group "environment" {
    task "environment" {
      driver = "nspawn"

      config {
        image     = "busybox"
        boot      = false
        ephemeral = true # a copy, so that others can run from the image, too
        command   = ["/bin/sh", "-c", "echo $GREETING, $NAME; echo I am $NOMAD_TASK_NAME of $NOMAD_JOB_NAME"]

        environment = {
          GREETING = "Good morning"
          NAME     = "nobody"
        }
      }

      env {
        NAME = "world"
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
