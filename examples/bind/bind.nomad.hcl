# Files of the host inside: an absolute host path, and one that is relative to the task's directory,
# where Nomad renders templates. In a user namespace they belong to nobody, so they are for reading;
# for data to be written there is NOMAD_ALLOC_DIR, or a volume (../volumes).

job "bind" {
  type = "batch"

  group "bind" {
    task "bind" {
      driver = "nspawn"

      config {
        image     = "busybox"
        boot      = false
        ephemeral = true # a copy, so that others can run from the image, too
        command   = ["/bin/sh", "-c", "cat /srv/site/index.html; head -n 1 /srv/host/os-release"]

        bind_read_only = {
          "local/site"      = "/srv/site"
          "/etc/os-release" = "/srv/host/os-release"
        }
      }

      template {
        data        = "page of job {{ env \"NOMAD_JOB_NAME\" }}\n"
        destination = "local/site/index.html"
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
