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
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/nspawn/notify.h"
#include "tests/support/event.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"
#include "tests/support/scratch_dir.h"

struct scene {
    char *dir, *path;
    sd_event *event;
    struct notify *notify;
    unsigned n_heard;
    bool ready;
    pid_t leader;
    char *status;
    bool frees_itself;
};

static void on_heard(const struct notify_message *message, void *data)
{
    struct scene *scene = data;

    scene->n_heard++;
    scene->ready = message->ready;
    scene->leader = message->leader;
    free(scene->status);
    scene->status = alloc_strdup(message->status);
    if (scene->frees_itself)
        scene->notify = notify_free(scene->notify);
}

static void bind_again(struct scene *scene)
{
    scene->notify = notify_free(scene->notify);
    scene->notify = notify_new(scene->event, scene->path, on_heard, scene, NULL);
    assert_non_null(scene->notify);
}

static struct scene *scene_new(void)
{
    struct scene *scene = ALLOC_NEW(struct scene);

    scene->dir = scratch_dir_new();
    scene->path = scratch_dir_path(scene->dir, "notify");
    assert_true(sd_event_new(&scene->event) >= 0);
    bind_again(scene);
    return scene;
}

static void scene_free(struct scene *scene)
{
    notify_free(scene->notify);
    sd_event_unref(scene->event);
    scratch_dir_free(scene->dir);
    free(scene->path);
    free(scene->status);
    free(scene);
}

/* As nspawn sends: a datagram to the socket by its name. */
static void send_bytes(const struct scene *scene, const void *bytes, size_t n_bytes)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", scene->path);
    assert_int_equal(sendto(fd, bytes, n_bytes, MSG_NOSIGNAL, (const struct sockaddr *)&address,
                            sizeof(address)),
                     n_bytes);
}

static void send_text(const struct scene *scene, const char *text)
{
    send_bytes(scene, text, strlen(text));
}

static void expect_heard(struct scene *scene, const char *text, bool ready, pid_t leader,
                         const char *status)
{
    unsigned before = scene->n_heard;

    send_text(scene, text);
    event_run_pending(scene->event);
    assert_int_equal(scene->n_heard, before + 1);
    assert_int_equal(scene->ready, ready);
    assert_int_equal(scene->leader, leader);
    if (status == NULL)
        assert_null(scene->status);
    else
        assert_string_equal(scene->status, status);
}

static void test_what_nspawn_says_is_heard(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    expect_heard(scene, "X_NSPAWN_LEADER_PID=4711", false, 4711, NULL);
    expect_heard(scene, "READY=1\n", true, 0, NULL);
    expect_heard(scene, "STATUS=Startup finished in 1s.", false, 0, "Startup finished in 1s.");
    expect_heard(scene, "READY=1\nSTATUS=Container running: a=b\nX_NSPAWN_LEADER_PID=17\n", true, 17,
                 "Container running: a=b");
    scene_free(scene);
}

static void test_anything_else_means_nothing(void **state)
{
    static const char *const texts[] = {
        "",           "\n\n\n",        "READY=0",       "READY=11",      "READY=1 ", " READY=1",
        "ready=1",    "READY",         "=",             "STOPPING=1",    "WATCHDOG=1", "MAINPID=1",
        "STATUS",     "XSTATUS=a",     "X_NSPAWN_LEADER_PID", "FDSTORE=1", "\xff\xfe\x01",
    };
    struct scene *scene = scene_new();

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        expect_heard(scene, texts[i], false, 0, NULL);
    scene_free(scene);
}

static void test_only_a_process_can_be_the_leader(void **state)
{
    static const char *const wrong[] = { "",    "0",  "-1",  "abc", "1x",  " 1", "+1", "0x10", "1 2",
                                         "2147483648", "4294967297", "18446744073709551617",
                                         "99999999999999999999999999" };
    struct scene *scene = scene_new();

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CLEANUP_FREE char *text = alloc_printf("READY=1\nX_NSPAWN_LEADER_PID=%s", wrong[i]);
        expect_heard(scene, text, true, 0, NULL);
    }
    expect_heard(scene, "X_NSPAWN_LEADER_PID=2147483647", false, 2147483647, NULL);
    scene_free(scene);
}

static void test_text_ends_at_a_nul(void **state)
{
    static const char bytes[] = "STATUS=a\0READY=1\nREADY=1";
    struct scene *scene = scene_new();

    (void)state;
    send_bytes(scene, bytes, sizeof(bytes) - 1);
    event_run_pending(scene->event);
    assert_int_equal(scene->n_heard, 1);
    assert_false(scene->ready);
    assert_string_equal(scene->status, "a");
    scene_free(scene);
}

static void test_too_long_a_message_is_dropped_whole(void **state)
{
    CLEANUP_FREE char *text = alloc_zero(4097 + 1, 1);
    struct scene *scene = scene_new();

    (void)state;
    memset(text, 'a', 4097);
    memcpy(text, "READY=1\nSTATUS=", 15);
    send_text(scene, text);
    event_run_pending(scene->event);
    assert_int_equal(scene->n_heard, 0);
    expect_heard(scene, text + 1, false, 0, text + 15); /* 4096 bytes, READY cut off by us */
    scene_free(scene);
}

static void test_messages_come_one_by_one_in_order(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    for (int i = 1; i <= 5; i++) {
        CLEANUP_FREE char *text = alloc_printf("X_NSPAWN_LEADER_PID=%d", i);
        send_text(scene, text);
    }
    assert_int_equal(scene->n_heard, 0);
    notify_receive(scene->notify);
    assert_int_equal(scene->n_heard, 5);
    assert_int_equal(scene->leader, 5);
    notify_receive(scene->notify);
    assert_int_equal(scene->n_heard, 5);
    scene_free(scene);
}

static void test_socket_may_be_freed_by_what_it_says(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    scene->frees_itself = true;
    send_text(scene, "READY=1");
    send_text(scene, "READY=1");
    event_run_pending(scene->event);
    assert_int_equal(scene->n_heard, 1);
    assert_null(scene->notify);
    scene_free(scene);
}

static void test_new_plugin_binds_the_name_again(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    send_text(scene, "READY=1"); /* lost with the old one */
    bind_again(scene);
    event_run_pending(scene->event);
    assert_int_equal(scene->n_heard, 0);
    expect_heard(scene, "STATUS=again", false, 0, "again");
    scene_free(scene);
}

static void test_idle_socket_wakes_nobody(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    expect_heard(scene, "READY=1", true, 0, NULL);
    assert_int_equal(event_count_during(scene->event, 20000), 0);
    scene_free(scene);
}

static void test_path_that_can_t_be_bound_is_told(void **state)
{
    struct scene *scene = scene_new();
    CLEANUP_FREE char *missing = scratch_dir_path(scene->dir, "nowhere/notify");
    CLEANUP_FREE char *directory = scratch_dir_path(scene->dir, "directory");
    char too_long[109] = "/";
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    memset(too_long + 1, 'a', sizeof(too_long) - 2);
    assert_null(notify_new(scene->event, too_long, on_heard, scene, &fail));
    expect_fail_with(fail.error, &fail, -ENAMETOOLONG, too_long);

    CLEANUP_FREE char *text = alloc_printf("cannot bind '%s': No such file or directory", missing);
    assert_null(notify_new(scene->event, missing, on_heard, scene, &fail));
    expect_fail(fail.error, &fail, -ENOENT, text);

    assert_int_equal(mkdir(directory, 0700), 0);
    assert_null(notify_new(scene->event, directory, on_heard, scene, &fail));
    expect_fail_with(fail.error, &fail, -EISDIR, directory);
    scene_free(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_what_nspawn_says_is_heard),
        FD_LEAK_TEST(test_anything_else_means_nothing),
        FD_LEAK_TEST(test_only_a_process_can_be_the_leader),
        FD_LEAK_TEST(test_text_ends_at_a_nul),
        FD_LEAK_TEST(test_too_long_a_message_is_dropped_whole),
        FD_LEAK_TEST(test_messages_come_one_by_one_in_order),
        FD_LEAK_TEST(test_socket_may_be_freed_by_what_it_says),
        FD_LEAK_TEST(test_new_plugin_binds_the_name_again),
        FD_LEAK_TEST(test_idle_socket_wakes_nobody),
        FD_LEAK_TEST(test_path_that_can_t_be_bound_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
