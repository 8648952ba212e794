/* The cgroup of one exec, UNIT/exec-<n>.scope, beside that of the container's processes and inside
 * the task's limits. Its end: all in it are killed, and when they are gone it is removed. */
#pragma once

#include <sys/queue.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

struct exec_scope;
LIST_HEAD(exec_scopes, exec_scope);

/* Makes one in the cgroup directory of the unit; it is in the list until it is freed. */
int exec_scope_new(sd_event *event, const char *unit_path, struct exec_scopes *scopes,
                   struct exec_scope **ret);
/* To clone into. */
int exec_scope_fd(const struct exec_scope *scope);
/* Kills what is in it; it frees itself once it is empty. `pidfd` (taken; may be negative) is of a
 * child of ours that has not been waited for. */
void exec_scope_end(struct exec_scope *scope, int pidfd);
/* Kills only: those that wait for the output hear of it by its end. */
void exec_scope_kill(const struct exec_scope *scope);
/* Kills and removes all that an earlier plugin left in the unit. */
void exec_scopes_clear(sd_event *event, const char *unit_path, struct exec_scopes *scopes);
/* Stops watching; directories that are not empty yet go with their unit. */
void exec_scopes_done(struct exec_scopes *scopes);
