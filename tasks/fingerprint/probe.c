#include "tasks/fingerprint/probe.h"

#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "reactor/cleanup.h"
#include "tasks/kernel/idmap.h"
#include "tasks/nspawn/nspawn_argv.h"

/* Where machined keeps images, and what stands in for it until it is made. */
static const char *const image_roots[] = {"/var/lib/machines", "/var/lib", "/"};

static bool can_make_user_namespace(void)
{
    CLEANUP_CLOSE int fd = idmap_open_user_namespace();
    return fd >= 0;
}

static bool images_can_be_idmapped(void)
{
    for (size_t i = 0; i < sizeof(image_roots) / sizeof(image_roots[0]); i++)
        if (access(image_roots[i], F_OK) == 0)
            return idmap_try(image_roots[i]) == 0;
    return false;
}

void probe_host(struct probe_host *ret)
{
    *ret = (struct probe_host){
        .root = geteuid() == 0,
        .booted = sd_booted() > 0,
        .nspawn = access(NSPAWN_ARGV_PROGRAM, X_OK) == 0,
        .user_namespaces = can_make_user_namespace(),
        .idmapped_mounts = images_can_be_idmapped(),
        .cgroup = cgroup_version(),
    };
}
