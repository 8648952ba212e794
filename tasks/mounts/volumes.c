#include "tasks/mounts/volumes.h"

#include "tasks/kernel/idmap.h"

int volumes_add(const struct task_spec *spec, bool user_namespace, struct binds *binds,
                struct fail *reterr)
{
    for (size_t i = 0; i < spec->n_mounts; i++) {
        const struct task_mount *mount = &spec->mounts[i];
        struct bind_how how = { .read_only = mount->read_only };

        if (user_namespace && idmap_try(mount->host_path) >= 0)
            how.map = BIND_MAP_IDMAP;
        int r = binds_add(binds, BIND_OWNER_VOLUME, mount->host_path, mount->task_path, how,
                          reterr);
        if (r < 0)
            return r;
    }
    return 0;
}
