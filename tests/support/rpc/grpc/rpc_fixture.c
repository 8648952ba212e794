#include "tests/support/rpc/grpc/rpc_fixture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "reactor/log.h"
#include "tests/support/event.h"
#include "tests/support/scratch_dir.h"

static int listen_on(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, SOMAXCONN), 0);
    return fd;
}

void rpc_fixture_init(struct rpc_fixture *fixture, const struct rpc_method *methods, void *context)
{
    (void)signal(SIGPIPE, SIG_IGN); /* as main does */
    log_set_level(LOG_LEVEL_ERROR);
    *fixture = (struct rpc_fixture){ .dir = scratch_dir_new(), .dispatch = dispatch_new() };
    fixture->path = scratch_dir_path(fixture->dir, "socket");
    assert_true(sd_event_new(&fixture->event) >= 0);
    dispatch_add(fixture->dispatch, methods, context);
    assert_int_equal(
        server_new(fixture->event, fixture->dispatch, listen_on(fixture->path), &fixture->server),
        0);
    fixture->peer = grpc_peer_new(fixture->event, fixture->path);
}

void rpc_fixture_done(struct rpc_fixture *fixture)
{
    if (fixture->peer != NULL)
        assert_null(grpc_peer_error(fixture->peer));
    fixture->peer = grpc_peer_free(fixture->peer);
    fixture->server = server_free(fixture->server);
    fixture->dispatch = dispatch_free(fixture->dispatch);
    sd_event_unref(fixture->event);
    free(fixture->path);
    scratch_dir_free(fixture->dir);
}

struct grpc_call *rpc_fixture_call(struct rpc_fixture *fixture, const char *path,
                                   const ProtobufCMessage *message)
{
    return grpc_peer_call(fixture->peer,
                          &(struct grpc_request){ .path = path, .message = message });
}

struct pinging {
    const struct grpc_peer *peer;
    unsigned n_before;
};

static bool has_pong(void *data)
{
    const struct pinging *pinging = data;

    return grpc_peer_n_pongs(pinging->peer) > pinging->n_before ||
           grpc_peer_is_closed(pinging->peer);
}

void rpc_fixture_settle(struct rpc_fixture *fixture)
{
    struct pinging pinging = { fixture->peer, grpc_peer_n_pongs(fixture->peer) };

    grpc_peer_ping(fixture->peer);
    assert_true(event_run_until(fixture->event, has_pong, &pinging));
}

struct waiting {
    const struct server *server;
    size_t n;
};

static bool has_conns(void *data)
{
    const struct waiting *waiting = data;

    return server_n_conns(waiting->server) == waiting->n;
}

void rpc_fixture_wait_conns(struct rpc_fixture *fixture, size_t n)
{
    struct waiting waiting = { fixture->server, n };

    if (!event_run_until(fixture->event, has_conns, &waiting))
        fail_msg("%zu connections, not %zu", server_n_conns(fixture->server), n);
}
