/* server: serves gRPC's TestService on a free port of 127.0.0.1, for the test suites of other
 * people, until SIGTERM. Its first line on standard output is the port. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>

#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "rpc/grpc/dispatch.h"
#include "rpc/grpc/memory.h"
#include "rpc/grpc/server.h"
#include "tests/conformance/test_service.h"

static int listen_on_loopback(uint16_t *ret_port)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t n = sizeof(address);
    const int on = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CLEANUP_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* Connections inherit it: an answer is not to wait for the acknowledgement of another. */
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
        bind(fd, (const struct sockaddr *)&address, n) < 0 || listen(fd, SOMAXCONN) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &n) < 0)
        return -errno;
    *ret_port = ntohs(address.sin_port);
    return TAKE_FD(fd);
}

static void on_flushed(void *data)
{
    (void)sd_event_exit(data, EXIT_SUCCESS);
}

static int on_terminate(sd_event_source *source, const struct signalfd_siginfo *info, void *data)
{
    (void)info;
    server_shutdown(data, on_flushed, sd_event_source_get_event(source));
    return 0;
}

static int block_signals(void)
{
    sigset_t set;

    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || sigemptyset(&set) < 0 ||
        sigaddset(&set, SIGTERM) < 0 || sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    return 0;
}

static void free_server(struct server **server)
{
    *server = server_free(*server);
}

static int serve(sd_event *event, struct dispatch *dispatch)
{
    CLEANUP(free_server) struct server *server = NULL;
    uint16_t port = 0;

    int r = block_signals();
    if (r < 0)
        return r;
    CLEANUP_CLOSE int fd = listen_on_loopback(&port);
    if (fd < 0)
        return fd;
    r = server_new(event, dispatch, TAKE_FD(fd), &server);
    if (r >= 0)
        r = sd_event_add_signal(event, NULL, SIGTERM, on_terminate, server);
    if (r < 0)
        return r;
    printf("%u\n", port);
    if (fflush(stdout) != 0)
        return -errno;
    return sd_event_loop(event);
}

int main(void)
{
    CLEANUP(sd_event_unrefp) sd_event *event = NULL;

    memory_set_limits();
    int r = sd_event_new(&event);
    if (r >= 0) {
        struct test_service service = { .event = event };
        struct dispatch *dispatch = dispatch_new();
        dispatch_add(dispatch, test_methods, &service);
        r = serve(event, dispatch);
        dispatch_free(dispatch);
    }
    if (r < 0)
        log_error("cannot serve: %s", strerror(-r));
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
