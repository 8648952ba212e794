/* What Nomad asks to be run: the values of a TaskConfig message, without the message.
 * In memory of the caller; zero-filled is empty. Strings are owned, NULL where Nomad sent nothing.
 * Meanings: Nomad's plugins/drivers TaskConfig. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "reactor/fail.h"
#include "reactor/strv.h"
#include "tasks/kernel/address.h"
#include "tasks/spec/plugin_options.h"

struct task_mount {
    char *task_path, *host_path;
    char *propagation_mode; /* "", "private", "host-to-task", "bidirectional" */
    bool read_only;
};

enum task_isolation {
    TASK_NETWORK_HOST,
    TASK_NETWORK_GROUP,
    TASK_NETWORK_TASK,
    TASK_NETWORK_NONE,
    TASK_NETWORK_MAX
};

/* One of the group's ports, or of the older ones of a task. */
struct task_port {
    char *label;
    uint16_t host_port;  /* 1 to 65535 */
    uint16_t to;         /* the port inside; host_port where the job names none */
    struct address host; /* that Nomad chose it of; may be none */
};

/* What the job says in `network { dns {} }`, or Nomad's CNI plugins. Lists may be empty. */
struct task_dns {
    struct strv servers, searches, options;
};

struct task_resources {
    int64_t cpu_shares;    /* MHz */
    int64_t memory_mb;     /* 0: not known */
    int64_t memory_max_mb; /* 0: not set, -1: unlimited */
    char *cpuset_cpus;     /* "0,2-3"; NULL or "": any */
};

struct task_spec {
    char *id; /* "<alloc id>/<task name>/<8 hex>", new for every start */
    char *name;
    char *alloc_id;
    char *job_name, *task_group_name, *namespace;
    char *user;
    char *alloc_dir;   /* host path A; the task's directory is A/<name> */
    char *stdout_path; /* FIFOs, or /dev/null */
    char *stderr_path;
    struct pairs env;
    struct task_resources resources;
    struct task_mount *mounts;
    size_t n_mounts;
    size_t n_devices;
    struct task_port *ports;
    size_t n_ports;
    bool has_dns;
    struct task_dns dns;
    enum task_isolation network; /* HOST when Nomad sent no isolation spec */
    char *network_path;          /* namespace file of a group network */
    uint8_t *config;             /* msgpack of the job's config block; empty in RecoverTask */
    size_t config_bytes;
};

void task_spec_done(struct task_spec *spec);
/* Moves everything out of `from`, which is empty afterwards. */
void task_spec_move(struct task_spec *to, struct task_spec *from);

/* What Nomad may ask for beside the options (those: task_options_check) and this driver can't give,
 * or the agent forbids. -EOPNOTSUPP, -EINVAL or -EPERM, with a sentence that names what was asked
 * and what to do. */
int task_spec_check(const struct task_spec *spec, const struct plugin_config *plugin,
                    struct fail *reterr);
