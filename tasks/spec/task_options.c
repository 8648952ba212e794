#include "tasks/spec/task_options.h"

#include "tasks/spec/option_decode.h"

static const char *const consoles[] = { "interactive", "read-only", "passive", "pipe", NULL };

static const char *const ownerships[] = { "auto", "map", "chown", NULL };

static const char *const resolv_confs[] = {
    "off",          "auto",      "delete",       "copy-host",      "copy-static",
    "copy-uplink",  "copy-stub", "replace-host", "replace-static", "replace-uplink",
    "replace-stub", "bind-host", "bind-static",  "bind-uplink",    "bind-stub",
    NULL,
};

static const char *const volatiles[] = { "yes", "no", "state", "overlay", NULL };

static const char *const image_types[] = { "tar", "raw", "docker", NULL };

static const char *const verifications[] = { "no", "signature", "checksum", NULL };

static const struct option_row image_download_options[] = {
    {
        OPTION_STRING(struct task_image_download, url),
        .required = true,
        .help = "Where the image is.",
    },
    {
        OPTION_STRING(struct task_image_download, type),
        .schema_default = "\"tar\"",
        .choices = image_types,
        .help = "What is there.",
    },
    {
        OPTION_BOOL(struct task_image_download, force),
        .schema_default = "false",
        .help = "Download again what is there already.",
    },
    {
        OPTION_STRING(struct task_image_download, verify),
        .schema_default = "\"no\"",
        .choices = verifications,
        .help = "How the download is verified.",
    },
    {},
};

/* In the order of the reference. */
const struct option_row task_option_rows[] = {
    {
        OPTION_STRING(struct task_options, image),
        .required = true,
        .help = "Directory with an OS tree: an absolute path, a path relative to the task's "
                "directory or to the agent's working directory, or the name of an image that "
                "machined knows (`machinectl list-images`). `/` only together with `ephemeral`.",
    },
    {
        OPTION_TRISTATE(struct task_options, boot),
        .fallback = "true",
        .argument = "--boot",
        .help = "Boot the image's own init; `command` then holds the init's arguments. With "
                "`false`, `command` is run.",
    },
    {
        OPTION_STRING_LIST(struct task_options, command),
        .multiline = true,
        .help = "Program and arguments. Required with `boot = false`.",
    },
    {
        OPTION_TRISTATE(struct task_options, process_two),
        .fallback = "`true` with `boot = false`",
        .help = "Run `command` under a small init: signals behave, zombies are reaped. An explicit "
                "`false` makes `command` itself PID 1, for a command that is an init. Not together "
                "with `boot`.",
    },
    {
        OPTION_TRISTATE(struct task_options, ephemeral),
        .fallback = "false",
        .argument = "--ephemeral",
        .help = "Run from a copy of the image (on btrfs a snapshot), which is removed at the end.",
    },
    {
        OPTION_TRISTATE(struct task_options, read_only),
        .fallback = "false",
        .argument = "--read-only",
        .help = "Mount the image read-only.",
    },
    {
        OPTION_STRING_MAP(struct task_options, environment),
        .multiline = true,
        .help = "Environment variables. Nomad's own, among them those of the job's `env` block, "
                "win over one of the same name. With `boot`, a value can't hold a line break.",
    },
    {
        OPTION_STRING(struct task_options, working_directory),
        .argument = "--chdir=%s",
        .help = "Absolute path inside, in which `command` starts. With `boot`, the init starts "
                "there, not its services.",
    },
    {
        OPTION_STRING(struct task_options, user),
        .fallback = "the task's `user`, else root",
        .help = "User inside as whom `command` runs, a name of the image's /etc/passwd or a "
                "number. Not together with `boot`.",
    },
    {
        OPTION_STRING(struct task_options, hostname),
        .fallback = "the machine's name",
        .argument = "--hostname=%s",
        .help = "Host name inside.",
    },
    {
        OPTION_STRING(struct task_options, resolv_conf),
        .fallback = "systemd-nspawn's own choice",
        .argument = "--resolv-conf=%s",
        .choices = resolv_confs,
        .help = "How `/etc/resolv.conf` inside is made.",
    },
    {
        OPTION_TRISTATE(struct task_options, user_namespacing),
        .fallback = "true",
        .help = "Run in a user namespace of its own: root inside is nobody on the host.",
    },
    {
        OPTION_STRING(struct task_options, private_users),
        .fallback = "pick",
        .missing = "remove it: a free range is picked",
        .help = "Range of user ids: `yes`, `no`, `pick`, `identity`, `N` or `N:N`.",
    },
    {
        OPTION_STRING(struct task_options, private_users_ownership),
        .fallback = "auto",
        .choices = ownerships,
        .missing = "remove it: the image is ID-mapped where that can be done",
        .help = "How the image's owners are made to match the range of user ids.",
    },
    {
        OPTION_STRING_MAP(struct task_options, bind),
        .argument = "--bind=%s",
        .help = "Host path to absolute path inside. A host path is absolute, or relative to the "
                "task's directory, out of which it may not lead. A path inside that something "
                "else has, like `/alloc` or a volume, is refused. In a user namespace what is "
                "bound belongs to nobody.",
    },
    {
        OPTION_STRING_MAP(struct task_options, bind_read_only),
        .argument = "--bind-ro=%s",
        .help = "The same, not writable from inside.",
    },
    {
        OPTION_STRING_LIST(struct task_options, capability),
        .argument = "--capability=%s",
        .help = "Capabilities added to those systemd-nspawn leaves (`CAP_NET_ADMIN`, ..., or "
                "`all`).",
    },
    {
        OPTION_STRING(struct task_options, console),
        .fallback = "`read-only` with `boot`, else `pipe`",
        .argument = "--console=%s",
        .choices = consoles,
        .help = "What the standard descriptors are. With `pipe`, stdout and stderr are kept apart; "
                "with the others there is a terminal, both arrive as stdout, and lines end with CR "
                "LF. A booted system prints nothing to `pipe` and `passive`.",
    },
    {
        OPTION_TRISTATE(struct task_options, network_veth),
        .fallback = "true",
        .argument = "--network-veth",
        .help = "A network of its own, with a virtual Ethernet link to the host (`host0` inside). "
                "With `false`, and none of the other networks, the container uses the host's. In "
                "a group with a network of its own (`network { mode }`) the task is in that one, "
                "and this option means nothing.",
    },
    {
        OPTION_STRING(struct task_options, network_zone),
        .argument = "--network-zone=%s",
        .help = "Join the network zone of this name: a bridge of the host, `vz-` and the name, "
                "made for the first container and removed with the last. At most 12 characters.",
    },
    {
        OPTION_STRING(struct task_options, network_bridge),
        .argument = "--network-bridge=%s",
        .help = "Attach the virtual Ethernet link to this bridge, which the host has already.",
    },
    {
        OPTION_STRING(struct task_options, network_macvlan),
        .argument = "--network-macvlan=%s",
        .help = "A macvlan of this interface of the host (`mv-` and its name inside): the "
                "container is a station of its own in the host's network. The host itself can't "
                "reach it.",
    },
    {
        OPTION_STRING(struct task_options, network_ipvlan),
        .argument = "--network-ipvlan=%s",
        .help = "The same by ipvlan (`iv-` and the interface's name inside), which needs no "
                "hardware address of its own.",
    },
    {
        OPTION_STRING(struct task_options, network_interface),
        .argument = "--network-interface=%s",
        .help = "Move this interface of the host into the container; it comes back at the end.",
    },
    {
        OPTION_TRISTATE(struct task_options, private_network),
        .fallback = "false",
        .argument = "--private-network",
        .help = "No network but a loopback of its own.",
    },
    {
        OPTION_STRING(struct task_options, network_address),
        .fallback = "`auto` with `network_veth` and `network_zone` where the host runs no "
                    "systemd-networkd, else `dhcp`",
        .help = "Where the container's address comes from. `dhcp`: its own business, by a DHCP "
                "client in it. `auto` (with `network_veth`, `network_zone`, `network_bridge`): one "
                "from the agent's `network_pool`, with a route by the host. `192.0.2.7/24`: this "
                "one. In the last two a single process finds it there when it starts, a booted "
                "system as soon as its machine is known.",
    },
    {
        OPTION_STRING(struct task_options, network_gateway),
        .help = "With an address in `network_address`: the default route. With `network_veth` it "
                "is the address of the host's end of the link.",
    },
    {
        OPTION_STRING(struct task_options, network_timeout),
        .fallback = "10s",
        .help = "How long the start may wait for an address. With `dhcp` it waits only if "
                "something needs one: `ports`, `port_map`, or this option being written.",
    },
    {
        OPTION_STRING_LIST(struct task_options, ports),
        .help = "Labels of ports of the group's `network` block to publish, tcp and udp: what "
                "arrives at the host's port goes to the container's (`to`, else the same number). "
                "In a group with a network of its own Nomad publishes them.",
    },
    {
        OPTION_NUMBER_MAP(struct task_options, port_map),
        .help = "Deprecated: label to port inside. All ports are published, those that are not "
                "named here to what the `network` block says. Not together with `ports`.",
    },
    {
        OPTION_BLOCK(struct task_options, image_download, struct task_image_download,
                     image_download_options),
        .missing = "remove the block and put the image in place yourself (machinectl pull-tar)",
        .help = "Download the image first.",
    },
    {
        OPTION_STRING(struct task_options, pivot_root),
        .missing = "remove it and name the directory that is to be the root as `image`",
        .help = "Directory of the image that becomes the root.",
    },
    {
        OPTION_STRING_NAMED("volatile", struct task_options, volatile_mode),
        .fallback = "no",
        .choices = volatiles,
        .missing = "remove it and use `ephemeral` or `read_only`",
        .help = "Which parts of the image are temporary.",
    },
    {},
};

int task_options_decode(struct task_options *config, const uint8_t *bytes, size_t n_bytes,
                        struct fail *reterr)
{
    return option_decode(task_option_rows, config, bytes, n_bytes, reterr);
}

void task_options_done(struct task_options *config)
{
    options_done(task_option_rows, config);
}
