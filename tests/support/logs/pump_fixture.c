#include "tests/support/logs/pump_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "logs/fifo.h"
#include "reactor/cleanup.h"
#include "tests/support/event.h"
#include "tests/support/scratch_dir.h"

#define PIECE_MAX (256 * 1024)

static char buffer[PIECE_MAX];

/* Any shift of the stream against itself shows within a few bytes. */
static char byte_at(uint64_t i)
{
    return (char)((i * UINT64_C(0x9e3779b97f4a7c15)) >> 56);
}

void pump_fixture_init(struct pump_fixture *fixture)
{
    *fixture = (struct pump_fixture){
        .dir = scratch_dir_new(), .payload = -EBADF, .holder = -EBADF, .reader = -EBADF
    };
    (void)signal(SIGPIPE, SIG_IGN);
    fixture->source = scratch_dir_path(fixture->dir, "source");
    fixture->target = scratch_dir_path(fixture->dir, "target");
    assert_true(sd_event_new(&fixture->event) >= 0);
    assert_int_equal(fifo_make(AT_FDCWD, fixture->source, NULL), 0);
    assert_int_equal(mkfifo(fixture->target, 0600), 0);
    fixture->payload = fifo_open_source(AT_FDCWD, fixture->source, NULL);
    fixture->holder = fifo_open_target(fixture->target, NULL);
    pump_fixture_open_reader(fixture);
}

void pump_fixture_done(struct pump_fixture *fixture)
{
    fixture->pump = pump_free(fixture->pump);
    close_fd(fixture->payload);
    close_fd(fixture->holder);
    close_fd(fixture->reader);
    sd_event_unref(fixture->event);
    free(fixture->source);
    free(fixture->target);
    scratch_dir_free(fixture->dir);
}

static void on_replaced(void *data)
{
    struct pump_fixture *fixture = data;

    fixture->was_replaced = true;
}

void pump_fixture_start(struct pump_fixture *fixture, bool remember_tail)
{
    struct pump_args args = {
        .task = "task",
        .stream = "stdout",
        .source_dir_fd = AT_FDCWD,
        .source = fixture->source,
        .target = fixture->target,
        .remember_tail = remember_tail,
        .on_replaced = on_replaced,
        .data = fixture,
    };

    assert_null(fixture->pump);
    assert_int_equal(pump_new(fixture->event, &args, &fixture->pump, NULL), 0);
}

void pump_fixture_restart(struct pump_fixture *fixture)
{
    fixture->pump = pump_free(fixture->pump);
    pump_fixture_start(fixture, false);
}

/* Frees the pump, as its owner may. */
static void on_finished(struct pump *pump, int r, void *data)
{
    struct pump_fixture *fixture = data;

    assert_ptr_equal(pump, fixture->pump);
    assert_false(fixture->was_finished);
    fixture->was_finished = true;
    fixture->result = r;
    fixture->pump = pump_free(pump);
}

void pump_fixture_finish(struct pump_fixture *fixture, uint64_t give_up_usec)
{
    pump_finish(fixture->pump, give_up_usec, on_finished, fixture);
    assert_false(fixture->was_finished);
}

void pump_fixture_expect_end(struct pump_fixture *fixture, int result)
{
    assert_true(event_run_until_set(fixture->event, &fixture->was_finished));
    assert_int_equal(fixture->result, result);
}

void pump_fixture_open_reader(struct pump_fixture *fixture)
{
    assert_true(fixture->reader < 0);
    fixture->reader = open(fixture->target, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fixture->reader >= 0);
}

void pump_fixture_close_reader(struct pump_fixture *fixture)
{
    fixture->reader = close_fd(fixture->reader);
}

size_t pump_fixture_write(struct pump_fixture *fixture, size_t n)
{
    size_t n_piece = n < PIECE_MAX ? n : PIECE_MAX;

    for (size_t i = 0; i < n_piece; i++)
        buffer[i] = byte_at(fixture->n_written + i);
    ssize_t n_taken = write(fixture->payload, buffer, n_piece);
    assert_true(n_taken >= 0 || errno == EAGAIN);
    fixture->n_written += n_taken > 0 ? (uint64_t)n_taken : 0;
    return n_taken > 0 ? (size_t)n_taken : 0;
}

size_t pump_fixture_read(struct pump_fixture *fixture, size_t n)
{
    ssize_t n_got = read(fixture->reader, buffer, n < PIECE_MAX ? n : PIECE_MAX);

    assert_true(n_got >= 0 || errno == EAGAIN);
    for (ssize_t i = 0; i < n_got; i++)
        if (buffer[i] != byte_at(fixture->n_read + (uint64_t)i))
            fail_msg("byte %ju is wrong", (uintmax_t)(fixture->n_read + (uint64_t)i));
    fixture->n_read += n_got > 0 ? (uint64_t)n_got : 0;
    return n_got > 0 ? (size_t)n_got : 0;
}

static bool has_read_all(void *data)
{
    struct pump_fixture *fixture = data;

    while (pump_fixture_read(fixture, PIECE_MAX) > 0)
        ;
    return fixture->n_read == fixture->n_written;
}

void pump_fixture_read_all(struct pump_fixture *fixture)
{
    if (!event_run_until(fixture->event, has_read_all, fixture))
        fail_msg("%ju bytes of %ju came", (uintmax_t)fixture->n_read,
                 (uintmax_t)fixture->n_written);
}

struct transfer {
    struct pump_fixture *fixture;
    uint64_t n_end;
    size_t n_write, n_read;
};

/* One write, one turn of the loop, one read: a slow reader keeps the pipes full. */
static size_t step(const struct transfer *transfer)
{
    struct pump_fixture *fixture = transfer->fixture;
    size_t n_taken = 0;

    if (fixture->n_written < transfer->n_end)
        n_taken = pump_fixture_write(fixture, transfer->n_write);
    (void)sd_event_run(fixture->event, 0);
    return n_taken + pump_fixture_read(fixture, transfer->n_read);
}

static bool has_transferred(void *data)
{
    const struct transfer *transfer = data;
    const struct pump_fixture *fixture = transfer->fixture;

    while (step(transfer) > 0)
        ;
    return fixture->n_read == fixture->n_written && fixture->n_written >= transfer->n_end;
}

void pump_fixture_transfer(struct pump_fixture *fixture, size_t n, size_t n_write, size_t n_read)
{
    struct transfer transfer = { fixture, fixture->n_written + n, n_write, n_read };

    if (!event_run_until(fixture->event, has_transferred, &transfer))
        fail_msg("%ju bytes of %ju came", (uintmax_t)fixture->n_read,
                 (uintmax_t)fixture->n_written);
}

void pump_fixture_fill(struct pump_fixture *fixture, size_t n_write)
{
    size_t n_taken;

    do {
        n_taken = 0;
        for (size_t n; (n = pump_fixture_write(fixture, n_write)) > 0;)
            n_taken += n;
        event_run_pending(fixture->event);
    } while (n_taken > 0);
}
