/* The part of a start that has to do with what is to run inside: the spec file of every task,
 * nspawn's settings of a booted system, the init of a single process. Owner: the start. */
#pragma once

#include "tasks/lifecycle/task.h"
#include "tasks/nspawn/nspawn_argv.h"
#include "tasks/spec/task_options.h"

struct start_payload;

struct start_payload_args {
    struct task *task;
    const struct task_options *options;
    /* The init is there and waits, the only process of its container. False: it is not to go on. */
    bool (*arrived)(pid_t pid, void *data);
    /* The command is there, or it could not be executed, which is the task's own end. */
    void (*changed)(void *data);
    void (*failed)(const struct fail *fail, void *data);
    void *data;
};

/* Writes the spec and, for a booted system, nspawn's settings; for a single process adds the binds
 * of the init. */
int start_payload_new(const struct start_payload_args *args, struct binds *binds,
                      struct start_payload **ret, struct fail *reterr);
struct start_payload *start_payload_free(struct start_payload *payload);

/* Listens for the init of a single process. `argv` is nspawn's, by which the seccomp programs that
 * it would make are known. */
int start_payload_listen(struct start_payload *payload, const struct strv *argv,
                         struct fail *reterr);
/* The init installs the programs that are kept, and nspawn is to make none. */
bool start_payload_has_filters(const struct start_payload *payload);
/* What the init said may still lie in its socket. */
void start_payload_receive(struct start_payload *payload);
bool start_payload_is_up(const struct start_payload *payload);
/* To be called once the task runs: tells of a command that could not be executed. */
void start_payload_tell(const struct start_payload *payload);
