#include "rpc/nomad/convert_spec.h"

#include <errno.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "rpc/nomad/convert.h"
#include "rpc/nomad/convert_network.h"

#define CLEANUP_SPEC CLEANUP(task_spec_done)

/* protobuf has no missing strings, only empty ones. */
static bool is_empty(const char *text)
{
    return text == NULL || text[0] == '\0';
}

static char *dup_text(const char *text)
{
    return is_empty(text) ? NULL : alloc_strdup(text);
}

static int check_id(const char *id, struct fail *reterr)
{
    if (is_empty(id))
        return fail_set(reterr, -EINVAL, "the request names no task: its id is empty");
    if (strlen(id) > CONVERT_SPEC_ID_BYTES_MAX)
        return fail_set(reterr, -E2BIG, "the task's id has %zu bytes, at most %d are taken",
                        strlen(id), CONVERT_SPEC_ID_BYTES_MAX);
    return 0;
}

static int check_required(const char *what, const char *text, struct fail *reterr)
{
    if (is_empty(text))
        return fail_set(reterr, -EINVAL, "the task's %s is missing", what);
    if (strlen(text) > CONVERT_SPEC_ID_BYTES_MAX)
        return fail_set(reterr, -E2BIG, "the task's %s has %zu bytes, at most %d are taken", what,
                        strlen(text), CONVERT_SPEC_ID_BYTES_MAX);
    return 0;
}

/* `name` becomes a path component: A/<name> is the task's directory. */
static int check_name(const char *name, struct fail *reterr)
{
    int r = check_required("name", name, reterr);
    if (r < 0)
        return r;
    if (strchr(name, '/') != NULL || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return fail_set(reterr, -EINVAL, "task name '%s': expected a name without '/'", name);
    return 0;
}

static int take_required_path(const char *what, const char *path, char **ret, struct fail *reterr)
{
    if (is_empty(path))
        return fail_set(reterr, -EINVAL, "%s is missing", what);
    return convert_path(what, path, ret, reterr);
}

static int take_env(const Nomad__TaskConfig *config, struct pairs *env, struct fail *reterr)
{
    if (config->n_env > CONVERT_SPEC_ENV_MAX)
        return fail_set(reterr, -E2BIG,
                        "the task has %zu environment variables, at most %d are taken",
                        config->n_env, CONVERT_SPEC_ENV_MAX);
    for (size_t i = 0; i < config->n_env; i++) {
        const Nomad__TaskConfig__EnvEntry *entry = config->env[i];
        if (is_empty(entry->key))
            return fail_set(reterr, -EINVAL,
                            "an environment variable has no name; its value is '%s'",
                            entry->value != NULL ? entry->value : "");
        pairs_set(env, entry->key, entry->value != NULL ? entry->value : "");
    }
    return 0;
}

static int check_propagation(const Nomad__Mount *mount, struct fail *reterr)
{
    static const char *const modes[] = { "private", "host-to-task", "bidirectional" };

    if (is_empty(mount->propagation_mode))
        return 0;
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
        if (strcmp(mount->propagation_mode, modes[i]) == 0)
            return 0;
    return fail_set(reterr, -EINVAL,
                    "mount at '%s': propagation mode '%s': expected private, host-to-task or "
                    "bidirectional",
                    mount->task_path, mount->propagation_mode);
}

static int take_mount(const Nomad__Mount *mount, struct task_mount *ret, struct fail *reterr)
{
    int r = take_required_path("path inside the task of a mount", mount->task_path, &ret->task_path,
                               reterr);
    if (r < 0)
        return r;
    r = take_required_path("host path of a mount", mount->host_path, &ret->host_path, reterr);
    if (r < 0)
        return r;
    r = check_propagation(mount, reterr);
    if (r < 0)
        return r;
    ret->propagation_mode = dup_text(mount->propagation_mode);
    ret->read_only = mount->readonly;
    return 0;
}

static int take_mounts(const Nomad__TaskConfig *config, struct task_spec *spec, struct fail *reterr)
{
    if (config->n_mounts > CONVERT_SPEC_MOUNTS_MAX)
        return fail_set(reterr, -E2BIG, "the task has %zu mounts, at most %d are taken",
                        config->n_mounts, CONVERT_SPEC_MOUNTS_MAX);
    if (config->n_mounts == 0)
        return 0;
    spec->mounts = alloc_zero(config->n_mounts, sizeof(*spec->mounts));
    for (size_t i = 0; i < config->n_mounts; i++) {
        /* Counted before it is filled: a half-made one is freed with the rest. */
        spec->n_mounts = i + 1;
        int r = take_mount(config->mounts[i], &spec->mounts[i], reterr);
        if (r < 0)
            return r;
    }
    return 0;
}

static int take_resources(const Nomad__Resources *resources, struct task_resources *ret,
                          struct fail *reterr)
{
    if (resources == NULL)
        return 0;
    const Nomad__AllocatedTaskResources *allocated = resources->allocated_resources;
    if (allocated != NULL && allocated->cpu != NULL)
        ret->cpu_shares = allocated->cpu->cpu_shares;
    if (allocated != NULL && allocated->memory != NULL) {
        ret->memory_mb = allocated->memory->memory_mb;
        ret->memory_max_mb = allocated->memory->memory_max_mb;
    }
    if (resources->linux_resources != NULL)
        ret->cpuset_cpus = dup_text(resources->linux_resources->cpuset_cpus);

    /* Above, a shift to bytes would overflow. */
    const int64_t memory_mb_max = INT64_MAX >> 20;
    if (ret->cpu_shares < 0)
        return fail_set(reterr, -EINVAL, "cpu of the task is %lld MHz: expected 0 or more",
                        (long long)ret->cpu_shares);
    if (ret->memory_mb < 0 || ret->memory_mb > memory_mb_max)
        return fail_set(reterr, -EINVAL, "memory of the task is %lld MB: expected 0 to %lld",
                        (long long)ret->memory_mb, (long long)memory_mb_max);
    if (ret->memory_max_mb < -1 || ret->memory_max_mb > memory_mb_max)
        return fail_set(reterr, -EINVAL,
                        "memory_max of the task is %lld MB: expected -1 (unlimited) to %lld",
                        (long long)ret->memory_max_mb, (long long)memory_mb_max);
    return 0;
}

static void take_names(const Nomad__TaskConfig *config, struct task_spec *spec)
{
    spec->id = dup_text(config->id);
    spec->name = dup_text(config->name);
    spec->alloc_id = dup_text(config->alloc_id);
    spec->job_name = dup_text(config->job_name);
    spec->task_group_name = dup_text(config->task_group_name);
    spec->user = dup_text(config->user);
    /* Hosts before Nomad 1.6 say it in the environment only. */
    spec->namespace = dup_text(config->namespace_);
    if (spec->namespace == NULL)
        spec->namespace = dup_text(pairs_get(&spec->env, "NOMAD_NAMESPACE"));
}

static void take_config(const Nomad__TaskConfig *config, struct task_spec *spec)
{
    if (config->msgpack_driver_config.len == 0)
        return;
    spec->config_bytes = config->msgpack_driver_config.len;
    spec->config = alloc_memdup(config->msgpack_driver_config.data, spec->config_bytes);
}

static int take_paths(const Nomad__TaskConfig *config, struct task_spec *spec, struct fail *reterr)
{
    int r = convert_path("the task's alloc_dir", config->alloc_dir, &spec->alloc_dir, reterr);
    if (r < 0)
        return r;
    r = convert_path("the task's stdout_path", config->stdout_path, &spec->stdout_path, reterr);
    if (r < 0)
        return r;
    return convert_path("the task's stderr_path", config->stderr_path, &spec->stderr_path, reterr);
}

static int take_all(const Nomad__TaskConfig *config, struct task_spec *ret, struct fail *reterr)
{
    CLEANUP_SPEC struct task_spec spec = {};

    int r = take_env(config, &spec.env, reterr);
    if (r < 0)
        return r;
    r = take_mounts(config, &spec, reterr);
    if (r < 0)
        return r;
    r = take_resources(config->resources, &spec.resources, reterr);
    if (r < 0)
        return r;
    r = convert_network(config, &spec, reterr);
    if (r < 0)
        return r;
    r = take_paths(config, &spec, reterr);
    if (r < 0)
        return r;

    take_names(config, &spec);
    take_config(config, &spec);
    spec.n_devices = config->n_devices;
    task_spec_move(ret, &spec);
    return 0;
}

int convert_spec(const Nomad__TaskConfig *config, struct task_spec *ret, struct fail *reterr)
{
    if (config == NULL)
        return fail_set(reterr, -EINVAL, "the request holds no task");
    int r = check_id(config->id, reterr);
    if (r < 0)
        return r;
    r = check_name(config->name, reterr);
    if (r < 0)
        return r;
    r = check_required("alloc_id", config->alloc_id, reterr);
    if (r < 0)
        return r;
    if (is_empty(config->alloc_dir))
        return fail_set(reterr, -EINVAL, "the task's alloc_dir is missing");
    return take_all(config, ret, reterr);
}

int convert_spec_of_handle(const Nomad__TaskHandle *handle, struct task_spec *ret,
                           struct fail *reterr)
{
    if (handle == NULL || handle->config == NULL)
        return fail_set(reterr, -EINVAL, "the request holds no task handle with a task in it");
    int r = check_id(handle->config->id, reterr);
    if (r < 0)
        return r;
    r = is_empty(handle->config->name) ? 0 : check_name(handle->config->name, reterr);
    if (r < 0)
        return r;
    return take_all(handle->config, ret, reterr);
}
