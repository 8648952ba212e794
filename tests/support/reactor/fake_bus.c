#include "tests/support/reactor/fake_bus.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/strv.h"
#include "tests/support/event.h"

#define ERROR_PREFIX "org.freedesktop.DBus.Error."

struct method {
    char *member;
    fake_bus_fn answer;
    void *data;
    char *error_name, *error_message; /* NULL: not refused */
};

struct fake_bus {
    sd_event *event;
    char *dir, *path, *address;
    int listen_fd;
    sd_event_source *on_connection;
    sd_bus **peers;
    size_t n_peers;
    struct method *methods;
    size_t n_methods;
    struct strv calls, matches;
    unsigned fail_in; /* calls until one fails, that one included; 0: none */
    bool is_holding;
    sd_bus_message **held; /* calls */
    size_t n_held;
};

static struct method *get_method(struct fake_bus *fake, const char *member)
{
    for (size_t i = 0; i < fake->n_methods; i++)
        if (strcmp(fake->methods[i].member, member) == 0)
            return &fake->methods[i];
    fake->methods = alloc_grow(fake->methods, fake->n_methods + 1, sizeof(*fake->methods));
    struct method *method = &fake->methods[fake->n_methods++];
    *method = (struct method){.member = alloc_strdup(member)};
    return method;
}

/* --- answering ------------------------------------------------------------------------------- */

static int run_method(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                      sd_bus_error *error)
{
    const struct method *method = get_method(fake, sd_bus_message_get_member(call));
    if (fake->fail_in > 0 && --fake->fail_in == 0)
        return sd_bus_error_set(error, ERROR_PREFIX "Failed", "the fake bus was told to fail");
    if (method->error_name)
        return sd_bus_error_set(error, method->error_name, method->error_message);
    if (!method->answer)
        return sd_bus_error_setf(error, ERROR_PREFIX "UnknownMethod", "no method %s",
                                 method->member);
    return method->answer(fake, call, reply, error, method->data);
}

static void answer(struct fake_bus *fake, sd_bus_message *call)
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    CLEANUP(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
    int r = sd_bus_message_new_method_return(call, &reply);
    assert(r >= 0);
    r = run_method(fake, call, reply, &error);
    if (sd_bus_message_get_expect_reply(call) <= 0)
        return;
    if (sd_bus_error_is_set(&error))
        (void)sd_bus_reply_method_error(call, &error);
    else if (r < 0)
        (void)sd_bus_reply_method_errno(call, r, NULL);
    else
        (void)sd_bus_send(sd_bus_message_get_bus(call), reply, NULL);
}

static void hold(struct fake_bus *fake, sd_bus_message *call)
{
    fake->held = (sd_bus_message **)alloc_grow((void *)fake->held, fake->n_held + 1, sizeof(call));
    fake->held[fake->n_held++] = sd_bus_message_ref(call);
}

static int on_message(sd_bus_message *call, void *data, sd_bus_error *error)
{
    (void)error;
    struct fake_bus *fake = data;
    uint8_t type;
    (void)sd_bus_message_get_type(call, &type);
    if (type != SD_BUS_MESSAGE_METHOD_CALL)
        return 0;
    const char *member = sd_bus_message_get_member(call);
    if (strcmp(member, "Hello") == 0) {
        (void)sd_bus_reply_method_return(call, "s", ":1.42");
        return 1;
    }
    strv_push(&fake->calls, member);
    if (fake->is_holding)
        hold(fake, call);
    else
        answer(fake, call);
    return 1;
}

static int on_match_call(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                         sd_bus_error *error, void *data)
{
    (void)reply, (void)error, (void)data;
    const char *rule;
    int r = sd_bus_message_read(call, "s", &rule);
    if (r >= 0 && strcmp(sd_bus_message_get_member(call), "AddMatch") == 0)
        strv_push(&fake->matches, rule);
    return r;
}

/* --- connections ----------------------------------------------------------------------------- */

static int on_connection(sd_event_source *source, int fd, uint32_t revents, void *data)
{
    (void)source, (void)revents;
    struct fake_bus *fake = data;
    int peer_fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    assert(peer_fd >= 0);
    sd_bus *peer = NULL;
    int r = sd_bus_new(&peer);
    assert(r >= 0);
    r = sd_bus_set_fd(peer, peer_fd, peer_fd);
    assert(r >= 0);
    r = sd_bus_set_server(peer, 1, (sd_id128_t){.bytes = {1}});
    assert(r >= 0);
    (void)sd_bus_negotiate_fds(peer, 1);
    r = sd_bus_add_filter(peer, NULL, on_message, fake);
    assert(r >= 0);
    r = sd_bus_start(peer);
    assert(r >= 0);
    r = sd_bus_attach_event(peer, fake->event, SD_EVENT_PRIORITY_NORMAL);
    assert(r >= 0);
    fake->peers = (sd_bus **)alloc_grow((void *)fake->peers, fake->n_peers + 1, sizeof(sd_bus *));
    fake->peers[fake->n_peers++] = peer;
    return 0;
}

void fake_bus_appear(struct fake_bus *fake)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", fake->path);
    fake->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert(fake->listen_fd >= 0);
    int r = bind(fake->listen_fd, (const struct sockaddr *)&address, sizeof(address));
    assert(r >= 0);
    r = listen(fake->listen_fd, 16);
    assert(r >= 0);
    r = sd_event_add_io(fake->event, &fake->on_connection, fake->listen_fd, EPOLLIN, on_connection,
                        fake);
    assert(r >= 0);
}

static void drop_held(struct fake_bus *fake)
{
    for (size_t i = 0; i < fake->n_held; i++)
        sd_bus_message_unref(fake->held[i]);
    fake->n_held = 0;
}

void fake_bus_vanish(struct fake_bus *fake)
{
    drop_held(fake);
    fake->on_connection = sd_event_source_disable_unref(fake->on_connection);
    fake->listen_fd = close_fd(fake->listen_fd);
    (void)unlink(fake->path);
    for (size_t i = 0; i < fake->n_peers; i++) {
        (void)sd_bus_flush(fake->peers[i]);
        (void)sd_bus_detach_event(fake->peers[i]);
        sd_bus_close_unref(fake->peers[i]);
    }
    fake->n_peers = 0;
}

struct fake_bus *fake_bus_new(sd_event *event)
{
    struct fake_bus *fake = ALLOC_NEW(struct fake_bus);
    fake->event = sd_event_ref(event);
    fake->dir = alloc_strdup("/tmp/fake-bus-XXXXXX");
    const char *made = mkdtemp(fake->dir);
    assert(made);
    fake->path = alloc_printf("%s/bus", fake->dir);
    fake->address = alloc_printf("unix:path=%s", fake->path);
    fake_bus_method(fake, "AddMatch", on_match_call, NULL);
    fake_bus_method(fake, "RemoveMatch", on_match_call, NULL);
    fake_bus_appear(fake);
    return fake;
}

struct fake_bus *fake_bus_free(struct fake_bus *fake)
{
    if (!fake)
        return NULL;
    fake_bus_vanish(fake);
    (void)rmdir(fake->dir);
    for (size_t i = 0; i < fake->n_methods; i++) {
        free(fake->methods[i].member);
        free(fake->methods[i].error_name);
        free(fake->methods[i].error_message);
    }
    free(fake->methods);
    free((void *)fake->held);
    free((void *)fake->peers);
    strv_done(&fake->calls);
    strv_done(&fake->matches);
    free(fake->dir);
    free(fake->path);
    free(fake->address);
    sd_event_unref(fake->event);
    free(fake);
    return NULL;
}

const char *fake_bus_address(const struct fake_bus *fake)
{
    return fake->address;
}

/* --- the script ------------------------------------------------------------------------------ */

void fake_bus_method(struct fake_bus *fake, const char *member, fake_bus_fn fn, void *data)
{
    struct method *method = get_method(fake, member);
    method->answer = fn;
    method->data = data;
}

void fake_bus_refuse(struct fake_bus *fake, const char *member, const char *error_name,
                     const char *message)
{
    struct method *method = get_method(fake, member);
    free(method->error_name);
    free(method->error_message);
    method->error_name = alloc_strdup(error_name);
    method->error_message = alloc_strdup(message);
}

void fake_bus_fail_nth(struct fake_bus *fake, unsigned n)
{
    fake->fail_in = n;
}

unsigned fake_bus_every_failure(unsigned (*scenario)(unsigned n))
{
    unsigned n = 1;
    while (scenario(n) >= n)
        n++;
    return n - 1;
}

unsigned fake_bus_n_calls(const struct fake_bus *fake, const char *member)
{
    unsigned n = 0;
    for (size_t i = 0; i < fake->calls.n_items; i++)
        n += !member || strcmp(fake->calls.items[i], member) == 0;
    return n;
}

struct expected_calls {
    const struct fake_bus *fake;
    const char *member;
    unsigned n;
};

static bool were_called(void *data)
{
    const struct expected_calls *expected = data;
    return fake_bus_n_calls(expected->fake, expected->member) >= expected->n;
}

bool fake_bus_await_calls(struct fake_bus *fake, const char *member, unsigned n)
{
    struct expected_calls expected = {fake, member, n};
    if (!event_run_until(fake->event, were_called, &expected))
        return false;
    event_run_pending(fake->event);
    return true;
}

bool fake_bus_has_match(const struct fake_bus *fake, const char *text)
{
    for (size_t i = 0; i < fake->matches.n_items; i++)
        if (strstr(fake->matches.items[i], text))
            return true;
    return false;
}

size_t fake_bus_n_held(const struct fake_bus *fake)
{
    return fake->n_held;
}

void fake_bus_hold(struct fake_bus *fake)
{
    fake->is_holding = true;
}

void fake_bus_release(struct fake_bus *fake)
{
    fake->is_holding = false;
    for (size_t i = 0; i < fake->n_held; i++)
        answer(fake, fake->held[i]);
    drop_held(fake);
}

static void send_signal(sd_bus *peer, const char *sender, const char *path, const char *interface,
                        const char *member, const char *types, va_list args)
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *signal = NULL;
    if (sd_bus_message_new_signal(peer, &signal, path, interface, member) < 0)
        return; /* a connection that has gone */
    int r = sd_bus_message_set_sender(signal, sender);
    assert(r >= 0);
    r = sd_bus_message_appendv(signal, types, args);
    assert(r >= 0);
    (void)sd_bus_send(peer, signal, NULL);
}

void fake_bus_signal(struct fake_bus *fake, const char *sender, const char *path,
                     const char *interface, const char *member, const char *types, ...)
{
    for (size_t i = 0; i < fake->n_peers; i++) {
        va_list args;
        va_start(args, types);
        send_signal(fake->peers[i], sender, path, interface, member, types, args);
        va_end(args);
    }
}

void fake_bus_name(struct fake_bus *fake, const char *name, const char *old_owner,
                   const char *new_owner)
{
    fake_bus_signal(fake, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
                    "NameOwnerChanged", "sss", name, old_owner, new_owner);
}
