# What a Nomad agent needs to know of this driver: copy it to /etc/nomad.d/nspawn.hcl beside the
# agent's own configuration, or try it alone, as root, with
#
#     nomad agent -dev -config examples/agent.hcl

# Where the agent looks for plugins. The folder must exist, and the file in it must be called
# nomad-driver-nspawn, like the block below: without the block the agent skips the file.
plugin_dir = "/opt/nomad/plugins"

plugin "nomad-driver-nspawn" {
  config {
    # enabled = true   # false: this node offers no nspawn driver
    # volumes = true   # false: tasks with volume mounts are refused
    # network_pool = "10.187.0.0/16"   # addresses of containers with network_address = "auto"
  }
}
