#include "tasks/spec/task_check.h"

#include <errno.h>
#include <string.h>

static int check_mount(const struct task_mount *mount, struct fail *reterr)
{
    if (mount->task_path == NULL || mount->task_path[0] != '/' || mount->host_path == NULL ||
        mount->host_path[0] != '/')
        return fail_set(reterr, -EINVAL,
                        "volume mount of '%s' at '%s': both must be absolute paths",
                        mount->host_path != NULL ? mount->host_path : "",
                        mount->task_path != NULL ? mount->task_path : "");
    const char *mode = mount->propagation_mode;
    if (mode != NULL && *mode != '\0' && strcmp(mode, "private") != 0)
        return fail_set(reterr, -EOPNOTSUPP,
                        "volume mount at '%s': propagation_mode \"%s\" is not supported by this "
                        "version of the driver; use \"private\"",
                        mount->task_path, mode);
    return 0;
}

int task_check(const struct task_spec *spec, const struct plugin_config *plugin,
               struct fail *reterr)
{
    if (spec->n_mounts > 0 && !plugin->volumes)
        return fail_set(reterr, -EPERM,
                        "the task mounts volumes, and the agent's plugin configuration forbids "
                        "them (volumes = false)");
    for (size_t i = 0; i < spec->n_mounts; i++) {
        int r = check_mount(&spec->mounts[i], reterr);
        if (r < 0)
            return r;
    }
    if (spec->n_devices > 0)
        return fail_set(reterr, -EOPNOTSUPP,
                        "devices are not supported by this version of the driver; remove the "
                        "task's `device` blocks");
    return 0;
}
