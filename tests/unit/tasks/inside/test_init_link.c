/* The init is played by the test, over the real socket. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/inside/init_link.h"
#include "tests/support/event.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"
#include "tests/support/scratch_dir.h"

struct scene {
    char *dir;
    int dir_fd;
    sd_event *event;
    struct init_link *link;
    int init_fd;
    bool is_done, has_report;
    struct inside_link_report report;
    pid_t pid;
};

static void on_done(pid_t pid, const struct inside_link_report *report, void *data)
{
    struct scene *scene = data;

    scene->link = NULL;
    scene->is_done = true;
    scene->pid = pid;
    scene->has_report = report != NULL;
    if (report != NULL)
        scene->report = *report;
}

static int open_file(const struct scene *scene, const char *name)
{
    int fd = openat(scene->dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    return fd;
}

static struct scene scene_new(void)
{
    struct scene scene = { .dir = scratch_dir_new(), .init_fd = -EBADF };

    assert_true(sd_event_new(&scene.event) >= 0);
    scene.dir_fd = open(scene.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return scene;
}

static void start(struct scene *scene, bool with_filters)
{
    int fds[INSIDE_LINK_FD_MAX] = {
        [INSIDE_LINK_FD_SPEC] = open_file(scene, "spec"),
        [INSIDE_LINK_FD_STATUS] = init_link_create_status(scene->dir_fd),
        [INSIDE_LINK_FD_FILTERS] = with_filters ? open_file(scene, "filters") : -EBADF,
    };

    scene->link = init_link_new(scene->event, scene->dir, fds, NULL, on_done, scene, NULL);
    assert_non_null(scene->link);
}

static void connect_init(struct scene *scene)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/" INIT_LINK_DIR "/socket",
                   scene->dir);
    scene->init_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(scene->init_fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

/* Answers how many descriptors came; they are in `fds`. */
static size_t receive_go(const struct scene *scene, int fds[INSIDE_LINK_FD_MAX])
{
    struct inside_link_go go = {};
    _Alignas(struct cmsghdr) char control[256] = {};
    struct iovec vector = { &go, sizeof(go) };
    struct msghdr message = { .msg_iov = &vector,
                              .msg_iovlen = 1,
                              .msg_control = control,
                              .msg_controllen = sizeof(control) };

    assert_int_equal(recvmsg(scene->init_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC),
                     sizeof(go));
    assert_int_equal(go.version, INSIDE_LINK_VERSION);
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    size_t n = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    assert_int_equal(n, go.n_fds);
    memcpy(fds, CMSG_DATA(head), n * sizeof(int));
    return n;
}

static void scene_done(struct scene *scene)
{
    scene->link = init_link_free(scene->link);
    (void)close_fd(scene->init_fd);
    sd_event_unref(scene->event);
    (void)close_fd(scene->dir_fd);
    scratch_dir_free(scene->dir);
}

static void go_and_report(bool with_filters)
{
    struct scene scene = scene_new();
    struct inside_link_report report = { INSIDE_LINK_STAGE_USER, -ESRCH };
    struct inside_link_status status = { INSIDE_LINK_STATUS_MAGIC, 7 << 8 };
    int fds[INSIDE_LINK_FD_MAX], wait_status;

    start(&scene, with_filters);
    connect_init(&scene);
    event_run_pending(scene.event);
    size_t n = receive_go(&scene, fds);
    assert_int_equal(n, with_filters ? 3 : 2);
    assert_int_equal(faccessat(scene.dir_fd, INIT_LINK_DIR "/socket", F_OK, 0), -1);

    assert_int_equal(init_link_read_status(scene.dir_fd, &wait_status), -ENODATA);
    assert_int_equal(pwrite(fds[INSIDE_LINK_FD_STATUS], &status, sizeof(status), 0),
                     sizeof(status));
    assert_int_equal(init_link_read_status(scene.dir_fd, &wait_status), 0);
    assert_int_equal(WEXITSTATUS(wait_status), 7);

    assert_int_equal(send(scene.init_fd, &report, sizeof(report), 0), sizeof(report));
    assert_true(event_run_until_set(scene.event, &scene.is_done));
    assert_true(scene.has_report);
    assert_int_equal(scene.report.stage, INSIDE_LINK_STAGE_USER);
    assert_int_equal(scene.report.error, -ESRCH);
    assert_int_equal(scene.pid, getpid());
    for (size_t i = 0; i < n; i++)
        (void)close_fd(fds[i]);
    scene_done(&scene);
}

static void test_init_gets_its_descriptors_and_reports(void **state)
{
    (void)state;
    go_and_report(false);
    go_and_report(true);
}

/* `report` of any length, or none: what is no report is as none. */
static void expect_no_report(const void *report, size_t n)
{
    struct scene scene = scene_new();

    start(&scene, false);
    connect_init(&scene);
    if (n > 0)
        assert_int_equal(send(scene.init_fd, report, n, 0), n);
    scene.init_fd = close_fd(scene.init_fd);
    init_link_receive(scene.link);
    assert_true(scene.is_done);
    assert_false(scene.has_report);
    scene_done(&scene);
}

static void test_link_that_breaks_off_has_no_report(void **state)
{
    struct inside_link_report odd[2] = { { INSIDE_LINK_STAGE_MAX, 0 } };

    (void)state;
    expect_no_report(NULL, 0);
    expect_no_report(odd, 1);
    expect_no_report(odd, sizeof(odd[0]));
    expect_no_report(odd, sizeof(odd));
}

static void test_link_that_is_freed_calls_nobody(void **state)
{
    struct scene scene = scene_new();

    (void)state;
    start(&scene, false);
    init_link_receive(scene.link); /* nobody is there */
    connect_init(&scene);
    scene.link = init_link_free(scene.link);
    event_run_pending(scene.event);
    assert_false(scene.is_done);
    scene_done(&scene);
}

static void test_path_that_is_too_long_is_refused(void **state)
{
    struct scene scene = scene_new();
    CLEANUP_FAIL struct fail fail = {};
    CLEANUP_FREE char *path = alloc_printf("%s/%0100d", scene.dir, 1);
    int fds[INSIDE_LINK_FD_MAX] = { -EBADF, -EBADF, -EBADF };

    (void)state;
    assert_int_equal(mkdir(path, 0700), 0);
    assert_null(init_link_new(scene.event, path, fds, NULL, on_done, &scene, &fail));
    expect_fail_with(fail.error, &fail, -ENAMETOOLONG, "cannot make the socket of the init");
    scene_done(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_init_gets_its_descriptors_and_reports),
        FD_LEAK_TEST(test_link_that_breaks_off_has_no_report),
        FD_LEAK_TEST(test_link_that_is_freed_calls_nobody),
        FD_LEAK_TEST(test_path_that_is_too_long_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
