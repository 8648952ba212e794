# Nomad's directories of a task: a secret rendered for root alone (0600), read inside at the path that
# NOMAD_SECRETS_DIR names, and a file left for the other tasks of the group in NOMAD_ALLOC_DIR.

job "secrets" {
  type = "batch"

  group "secrets" {
    task "secrets" {
      driver = "nspawn"

      config {
        image     = "busybox"
        boot      = false
        ephemeral = true # a copy, so that others can run from the image, too
        command = ["/bin/sh", "-c", <<-EOT
          set -e
          ls -ln $NOMAD_SECRETS_DIR/token
          cat $NOMAD_SECRETS_DIR/token
          wc -c < $NOMAD_SECRETS_DIR/token > $NOMAD_ALLOC_DIR/data/length
        EOT
        ]
      }

      template {
        data        = "not much of a secret\n"
        destination = "secrets/token"
        perms       = "0600"
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
