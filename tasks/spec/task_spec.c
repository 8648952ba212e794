#include "tasks/spec/task_spec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void task_spec_done(struct task_spec *spec)
{
    free(spec->id);
    free(spec->name);
    free(spec->alloc_id);
    free(spec->job_name);
    free(spec->task_group_name);
    free(spec->namespace);
    free(spec->user);
    free(spec->alloc_dir);
    free(spec->stdout_path);
    free(spec->stderr_path);
    free(spec->resources.cpuset_cpus);
    free(spec->network_path);
    free(spec->config);
    pairs_done(&spec->env);
    for (size_t i = 0; i < spec->n_mounts; i++) {
        free(spec->mounts[i].task_path);
        free(spec->mounts[i].host_path);
        free(spec->mounts[i].propagation_mode);
    }
    free(spec->mounts);
    for (size_t i = 0; i < spec->n_ports; i++)
        free(spec->ports[i].label);
    free(spec->ports);
    strv_done(&spec->dns.servers);
    strv_done(&spec->dns.searches);
    strv_done(&spec->dns.options);
    *spec = (struct task_spec){};
}

void task_spec_move(struct task_spec *to, struct task_spec *from)
{
    task_spec_done(to);
    *to = *from;
    *from = (struct task_spec){};
}

/* --- what this driver can't give ------------------------------------------------------------- */

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

int task_spec_check(const struct task_spec *spec, const struct plugin_config *plugin,
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
