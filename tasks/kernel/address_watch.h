/* Hears of the addresses in one network namespace. It keeps the namespace alive: free it when the
 * container has ended, or its links stay. */
#pragma once

#include <systemd/sd-event.h>

struct address_watch;
/* Something has changed; also once after the watch was made. It may be freed in here. */
typedef void (*address_changed_fn)(void *data);

/* `netns_fd`: negative for our own namespace; not needed after this returns. NULL, and
 * *ret_error. */
struct address_watch *address_watch_new(sd_event *event, int netns_fd, address_changed_fn changed,
                                        void *data, int *ret_error);
struct address_watch *address_watch_free(struct address_watch *watch);
