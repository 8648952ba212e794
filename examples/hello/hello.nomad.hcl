# A single process that prints a numbered line each second.
#
#   nomad job run hello.nomad.hcl
#   nomad alloc logs -f -job hello
#
# The mkosi files beside this one build the image.

job "hello" {
  group "hello" {
    # It either runs at once or not at all; Nomad's default is ten seconds.
    update {
      min_healthy_time = "3s"
    }

    task "hello" {
      driver = "nspawn"

      config {
        image = "busybox"
        boot  = false # run `command`, not the image's init

        command = ["/bin/sh", "-c", <<-EOT
          n=0
          while true; do
            n=$((n + 1))
            echo "hello $n"
            sleep 1
          done
        EOT
        ]
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
