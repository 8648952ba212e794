#include "tasks/spec/task_spec.h"

#include <stdlib.h>

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
