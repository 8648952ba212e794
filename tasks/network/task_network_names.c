#include "tasks/network/task_network_names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/file.h"
#include "tasks/network/name_files.h"
#include "tasks/network/network_link.h"

/* Of a resolv.conf of the host's; what is longer is cut. */
#define RESOLV_BYTES_MAX ((size_t)64 * 1024)

/* Where systemd-resolved writes the servers that it asks itself. */
#define RESOLVED_FILE "/run/systemd/resolve/resolv.conf"

/* As a file of the task's runtime directory, bound at `target` unless the job binds its own there:
 * then the answer is 0, else 1. */
static int bind_text(const struct task_network_names_args *args, struct binds *binds,
                     const char *name, const char *target, const char *text, struct fail *fail)
{
    CLEANUP_FREE char *path = alloc_printf("%s/%s", args->dir_path, name);
    struct bind_how how = { .read_only = true };

    int added = binds_add(binds, BIND_OWNER_NAMES, path, target, how, fail);
    int r = added > 0 ? file_write(path, text, strlen(text), 0644) : 0;
    if (r < 0)
        return fail_set_recoverable(fail, r, "cannot write '%s': %s", path, strerror(-r));
    return added;
}

static int name_hosts(const struct task_network_names_args *args, struct binds *binds,
                      struct fail *fail)
{
    struct address addresses[NETWORK_RECORD_FAMILIES] = {};
    const char *hostname = args->options->hostname != NULL ? args->options->hostname
                                                           : args->machine;
    CLEANUP_CLOSE int fd = open(args->spec->network_path, O_RDONLY | O_CLOEXEC);
    size_t n = 0;

    if (fd < 0 || network_link_read_any(fd, addresses) < 0)
        return fail_set_recoverable(fail, -EIO, "cannot read the addresses in '%s'",
                                    args->spec->network_path);
    for (size_t i = 0; i < NETWORK_RECORD_FAMILIES; i++)
        if (address_is_set(&addresses[i]))
            addresses[n++] = addresses[i];
    CLEANUP_FREE char *text = name_files_hosts(hostname, addresses, n);
    return bind_text(args, binds, "hosts", "/etc/hosts", text, fail);
}

/* NULL: there is none. */
static char *read_resolv(const char *path)
{
    char *text = NULL;

    (void)file_read_begin(AT_FDCWD, path, 0, RESOLV_BYTES_MAX, &text, NULL);
    return text;
}

static int name_resolver(const struct task_network_names_args *args, struct binds *binds,
                         struct fail *fail)
{
    CLEANUP_FREE char *own = read_resolv("/etc/resolv.conf"), *other = read_resolv(RESOLVED_FILE);
    const char *host = name_files_resolv_of_host(own, other);

    if (host == NULL && !args->spec->has_dns)
        return 0;
    CLEANUP_FREE char *text = name_files_resolv(&args->spec->dns, host);
    return bind_text(args, binds, "resolv.conf", "/etc/resolv.conf", text, fail);
}

int task_network_names_make(const struct task_network_names_args *args, struct binds *binds,
                            struct fail *reterr)
{
    bool is_group = args->plan->kind == NETWORK_GROUP;
    int r = is_group ? name_hosts(args, binds, reterr) : 0;

    if (r < 0)
        return r;
    /* nspawn would take it for the host's network, and give the task the host's resolver. */
    return args->spec->has_dns || (is_group && args->options->resolv_conf == NULL)
               ? name_resolver(args, binds, reterr)
               : 0;
}
