# A host volume that outlives the job: each run adds a line. Root inside can write to it, and what it
# writes belongs to root on the host as well, also with the user namespace that tasks have by default.
#
#   nomad volume create data.volume.hcl
#   nomad job run volumes.nomad.hcl

job "volumes" {
  type = "batch"

  group "volumes" {
    volume "data" {
      type            = "host"
      source          = "data"
      access_mode     = "single-node-single-writer"
      attachment_mode = "file-system"
    }

    task "volumes" {
      driver = "nspawn"

      config {
        image     = "busybox"
        boot      = false
        ephemeral = true # a copy, so that others can run from the image, too
        command   = ["/bin/sh", "-c", "echo run by $NOMAD_ALLOC_ID >> /srv/data/runs && cat /srv/data/runs"]
      }

      volume_mount {
        volume      = "data"
        destination = "/srv/data"
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
