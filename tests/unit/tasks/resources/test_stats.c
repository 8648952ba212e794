/* A scratch directory plays the task's cgroup; the second sample comes after the shortest interval. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/resources/stats.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/scratch_dir.h"

#define CPU(usage, user, system) "usage_usec " usage "\nuser_usec " user "\nsystem_usec " system "\n"
#define THROTTLED "nr_periods 9\nnr_throttled 3\nthrottled_usec 5\n"

#define MEASURED_MEMORY                                                                       \
    (TASK_STATS_MEMORY_RSS | TASK_STATS_MEMORY_CACHE | TASK_STATS_MEMORY_MAX_USAGE |          \
     TASK_STATS_MEMORY_USAGE | TASK_STATS_MEMORY_SWAP)
#define MEASURED_THROTTLED (TASK_STATS_CPU_THROTTLED_PERIODS | TASK_STATS_CPU_THROTTLED_TIME)
#define MEASURED_PERCENT (TASK_STATS_CPU_PERCENT | TASK_STATS_CPU_USER | TASK_STATS_CPU_SYSTEM)

struct scene {
    char *dir;
    sd_event *event;
    struct stats_stream *stream;
    struct task_stats stats;
    bool was_told, frees_itself;
};

static struct scene *scene_new(void)
{
    struct scene *scene = ALLOC_NEW(struct scene);

    scene->dir = scratch_dir_new();
    assert_true(sd_event_new(&scene->event) >= 0);
    return scene;
}

static void scene_free(struct scene *scene)
{
    stats_stream_free(scene->stream);
    sd_event_unref(scene->event);
    scratch_dir_free(scene->dir);
    free(scene);
}

static void on_sample(const struct task_stats *stats, void *data)
{
    struct scene *scene = data;

    scene->stats = *stats;
    scene->was_told = true;
    if (scene->frees_itself)
        scene->stream = stats_stream_free(scene->stream);
}

static void start(struct scene *scene, double core_mhz)
{
    assert_int_equal(stats_open(scene->event, scene->dir, core_mhz, STATS_INTERVAL_USEC_MIN,
                                on_sample, scene, &scene->stream),
                     0);
    assert_false(scene->was_told);
}

static const struct task_stats *await_sample(struct scene *scene)
{
    scene->was_told = false;
    assert_true(event_run_until_set(scene->event, &scene->was_told));
    return &scene->stats;
}

static void test_first_sample_comes_at_once_without_shares_of_time(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    scratch_dir_write(scene->dir, "cpu.stat", CPU("1000", "600", "400") THROTTLED);
    scratch_dir_write(scene->dir, "memory.current", "4096\n");
    scratch_dir_write(scene->dir, "memory.peak", "8192\n");
    scratch_dir_write(scene->dir, "memory.swap.current", "1024\n");
    scratch_dir_write(scene->dir, "memory.stat", "anon 2048\nfile 512\nkernel 1\n");
    start(scene, 1000);
    event_run_pending(scene->event);
    assert_true(scene->was_told);
    const struct task_stats *stats = &scene->stats;
    assert_int_equal(stats->measured, MEASURED_MEMORY | MEASURED_THROTTLED);
    assert_true(stats->throttled_periods == 3 && stats->throttled_nsec == 5000);
    assert_true(stats->usage_bytes == 4096 && stats->max_usage_bytes == 8192);
    assert_true(stats->swap_bytes == 1024 && stats->rss_bytes == 2048 && stats->cache_bytes == 512);
    assert_true(stats->timestamp_usec / 1000000 + 5 >= (uint64_t)time(NULL));
    scene_free(scene);
}

static bool was_told(void *data)
{
    const struct scene *scene = data;

    return scene->was_told;
}

/* A timer may be late by its accuracy, which grows with the interval. */
static void test_first_sample_is_not_put_off(void **state)
{
    uint64_t best_usec = UINT64_MAX;

    (void)state;
    for (int i = 0; i < 5; i++) { /* the machine may be busy, but not each time */
        struct scene *scene = scene_new();
        scratch_dir_write(scene->dir, "cpu.stat", CPU("1", "1", "0"));
        assert_int_equal(stats_open(scene->event, scene->dir, 0, STATS_INTERVAL_USEC_MAX, on_sample,
                                    scene, &scene->stream),
                         0);
        uint64_t took_usec = event_usec_until(scene->event, was_told, scene);
        best_usec = took_usec < best_usec ? took_usec : best_usec;
        scene_free(scene);
    }
    assert_in_range(best_usec, 0, 20000);
}

static void test_shares_of_time_are_those_since_the_last_sample(void **state)
{
    struct scene *scene = scene_new();
    const struct task_stats *stats;

    (void)state;
    scratch_dir_write(scene->dir, "cpu.stat", CPU("1000000", "600000", "400000"));
    start(scene, 2000);
    uint64_t first = await_sample(scene)->timestamp_usec;
    scratch_dir_write(scene->dir, "cpu.stat", CPU("1050000", "630000", "420000"));
    stats = await_sample(scene);
    assert_int_equal(stats->measured, MEASURED_PERCENT | TASK_STATS_CPU_TICKS);
    /* 50 ms of one core since the first. The two clocks are read one after the other, and a busy
     * machine may let time pass between; a wrong unit would be further off. */
    double expected = 100.0 * 50000 / (double)(stats->timestamp_usec - first);
    assert_true(stats->percent > expected / 5 && stats->percent < expected * 5);
    assert_true(fabs(stats->user_percent - stats->percent * 0.6) < 1e-6);
    assert_true(fabs(stats->system_percent - stats->percent * 0.4) < 1e-6);
    assert_true(fabs(stats->total_ticks - stats->percent * 20) < 1e-6);
    assert_true(stats->timestamp_usec - first >= STATS_INTERVAL_USEC_MIN / 2);
    scene_free(scene);
}

static void test_clock_speed_that_is_not_known_makes_no_ticks(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    scratch_dir_write(scene->dir, "cpu.stat", CPU("1", "1", "0"));
    start(scene, 0);
    (void)await_sample(scene);
    assert_int_equal(await_sample(scene)->measured, MEASURED_PERCENT);
    assert_true(scene->stats.percent == 0 && scene->stats.total_ticks == 0);
    scene_free(scene);
}

static void test_counter_that_steps_back_is_no_time(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    scratch_dir_write(scene->dir, "cpu.stat", CPU("1000", "900", "100"));
    start(scene, 1000);
    (void)await_sample(scene);
    scratch_dir_write(scene->dir, "cpu.stat", CPU("1000", "899", "101"));
    (void)await_sample(scene);
    assert_true(scene->stats.percent == 0 && scene->stats.user_percent == 0);
    assert_true(scene->stats.system_percent > 0);
    scene_free(scene);
}

static void test_what_is_not_measured_is_not_claimed(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    scratch_dir_write(scene->dir, "cpu.stat", "usage_usec 1\nnr_throttled 2\n");
    scratch_dir_write(scene->dir, "memory.current", "garbage\n");
    scratch_dir_write(scene->dir, "memory.stat", "file 9\n");
    start(scene, 1000);
    assert_int_equal(await_sample(scene)->measured,
                     TASK_STATS_CPU_THROTTLED_PERIODS | TASK_STATS_MEMORY_CACHE);
    /* Without user and system there are no shares at all, later either. */
    assert_int_equal(await_sample(scene)->measured,
                     TASK_STATS_CPU_THROTTLED_PERIODS | TASK_STATS_MEMORY_CACHE);
    scene_free(scene);
}

static void test_time_too_long_for_nanoseconds_is_not_claimed(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    scratch_dir_write(scene->dir, "cpu.stat", "nr_throttled 1\nthrottled_usec 18446744073709551615\n");
    start(scene, 0);
    assert_int_equal(await_sample(scene)->measured, TASK_STATS_CPU_THROTTLED_PERIODS);
    scene_free(scene);
}

static void test_garbage_is_passed_over(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    scratch_dir_write(scene->dir, "cpu.stat", "usage_usec x\n");
    start(scene, 0);
    event_run_pending(scene->event);
    assert_false(scene->was_told);
    scratch_dir_write(scene->dir, "cpu.stat", CPU("1", "1", "0"));
    (void)await_sample(scene);
    scene_free(scene);
}

static void test_cgroup_that_is_gone_has_no_more_samples(void **state)
{
    struct scene *scene = scene_new();
    CLEANUP_FREE char *file = scratch_dir_path(scene->dir, "cpu.stat");

    (void)state;
    scratch_dir_write(scene->dir, "cpu.stat", CPU("1", "1", "0"));
    start(scene, 0);
    (void)await_sample(scene);
    assert_int_equal(unlink(file), 0);
    scene->was_told = false;
    assert_true(event_count_during(scene->event, 3 * STATS_INTERVAL_USEC_MIN) <= 1);
    assert_false(scene->was_told);
    scene_free(scene);
}

static void test_missing_cgroup_is_told(void **state)
{
    struct scene *scene = scene_new();
    CLEANUP_FREE char *nowhere = scratch_dir_path(scene->dir, "nowhere");

    (void)state;
    assert_int_equal(stats_open(scene->event, nowhere, 0, 0, on_sample, scene, &scene->stream),
                     -ENOENT);
    assert_null(scene->stream);
    assert_null(stats_stream_free(NULL));
    scene_free(scene);
}

static void test_sample_may_free_the_stream(void **state)
{
    struct scene *scene = scene_new();

    (void)state;
    scratch_dir_write(scene->dir, "cpu.stat", CPU("1", "1", "0"));
    scene->frees_itself = true;
    start(scene, 0);
    (void)await_sample(scene);
    assert_null(scene->stream);
    assert_int_equal(event_count_during(scene->event, 20000), 0);
    scene_free(scene);
}

/* Any interval is taken: none, and one that would overflow the clock. */
static void test_every_interval_has_its_first_sample(void **state)
{
    static const uint64_t intervals[] = { 0, 1, STATS_INTERVAL_USEC_MAX, UINT64_MAX };

    (void)state;
    for (size_t i = 0; i < sizeof(intervals) / sizeof(intervals[0]); i++) {
        struct scene *scene = scene_new();
        scratch_dir_write(scene->dir, "cpu.stat", CPU("1", "1", "0"));
        assert_int_equal(stats_open(scene->event, scene->dir, 0, intervals[i], on_sample, scene,
                                    &scene->stream),
                         0);
        (void)await_sample(scene);
        scene->was_told = false;
        assert_int_equal(event_count_during(scene->event, 20000), 0);
        assert_false(scene->was_told);
        scene_free(scene);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_first_sample_comes_at_once_without_shares_of_time),
        FD_LEAK_TEST(test_first_sample_is_not_put_off),
        FD_LEAK_TEST(test_shares_of_time_are_those_since_the_last_sample),
        FD_LEAK_TEST(test_clock_speed_that_is_not_known_makes_no_ticks),
        FD_LEAK_TEST(test_counter_that_steps_back_is_no_time),
        FD_LEAK_TEST(test_what_is_not_measured_is_not_claimed),
        FD_LEAK_TEST(test_time_too_long_for_nanoseconds_is_not_claimed),
        FD_LEAK_TEST(test_garbage_is_passed_over),
        FD_LEAK_TEST(test_cgroup_that_is_gone_has_no_more_samples),
        FD_LEAK_TEST(test_missing_cgroup_is_told),
        FD_LEAK_TEST(test_sample_may_free_the_stream),
        FD_LEAK_TEST(test_every_interval_has_its_first_sample),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
