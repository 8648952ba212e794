# A directory of a node, made by Nomad's own plugin `mkdir`:
#
#   nomad volume create data.volume.hcl

name      = "data"
type      = "host"
plugin_id = "mkdir"

capability {
  access_mode     = "single-node-single-writer"
  attachment_mode = "file-system"
}
