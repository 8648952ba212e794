#include "tasks/resources/stats.h"

#include <assert.h>
#include <fcntl.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/clock.h"
#include "reactor/log.h"
#include "tasks/kernel/cgroup.h"

/* The window in which a timer may fire is this part of the interval, so that the loop wakes up once
 * for all tasks that are due around the same time; never more than a second, or figures of
 * different tasks would drift apart visibly. */
#define STATS_ACCURACY_DIVISOR  8
#define STATS_ACCURACY_USEC_MAX 1000000U

struct cpu_times {
    uint64_t at_usec; /* CLOCK_MONOTONIC; 0: none yet */
    uint64_t usage_usec, user_usec, system_usec;
};

struct stats_stream {
    int dir_fd;
    double core_mhz;
    uint64_t interval_usec;
    struct cpu_times last;
    sd_event_source *timer;
    task_stats_fn sample;
    void *data;
};

static double percent_between(uint64_t before, uint64_t after, uint64_t usec)
{
    /* The kernel's split into user and system is scaled from ticks and may step back a little. */
    return after > before ? 100.0 * (double)(after - before) / (double)usec : 0;
}

/* A share of time needs two readings: the first sample of a stream has none. */
static void compare_cpu(const struct stats_stream *stream, const struct cpu_times *now,
                        struct task_stats *stats)
{
    const struct cpu_times *last = &stream->last;
    if (last->at_usec == 0 || now->at_usec <= last->at_usec)
        return;
    uint64_t usec = now->at_usec - last->at_usec;
    stats->percent = percent_between(last->usage_usec, now->usage_usec, usec);
    stats->user_percent = percent_between(last->user_usec, now->user_usec, usec);
    stats->system_percent = percent_between(last->system_usec, now->system_usec, usec);
    stats->measured |= TASK_STATS_CPU_PERCENT | TASK_STATS_CPU_USER | TASK_STATS_CPU_SYSTEM;
    if (stream->core_mhz > 0) {
        stats->total_ticks = stats->percent / 100 * stream->core_mhz;
        stats->measured |= TASK_STATS_CPU_TICKS;
    }
}

static int read_cpu(struct stats_stream *stream, struct task_stats *stats)
{
    enum { USAGE = 1 << 0, USER = 1 << 1, SYSTEM = 1 << 2, PERIODS = 1 << 3, TIME = 1 << 4 };
    struct cpu_times now = {.at_usec = clock_now_usec(CLOCK_MONOTONIC)};
    uint64_t throttled_usec = 0;
    const struct cgroup_key keys[] = {
        {"usage_usec", &now.usage_usec},   {"user_usec", &now.user_usec},
        {"system_usec", &now.system_usec}, {"nr_throttled", &stats->throttled_periods},
        {"throttled_usec", &throttled_usec},
    };
    int found = cgroup_read_keys(stream->dir_fd, "cpu.stat", keys, 5);
    if (found < 0)
        return found;
    if ((found & (USAGE | USER | SYSTEM)) == (USAGE | USER | SYSTEM)) {
        compare_cpu(stream, &now, stats);
        stream->last = now;
    }
    if (found & PERIODS)
        stats->measured |= TASK_STATS_CPU_THROTTLED_PERIODS;
    if (found & TIME && !__builtin_mul_overflow(throttled_usec, 1000, &stats->throttled_nsec))
        stats->measured |= TASK_STATS_CPU_THROTTLED_TIME;
    return 0;
}

/* What can't be read is not claimed: without the memory controller all of it, on older kernels
 * memory.peak, without swap memory.swap.current. */
static void read_memory(int dir_fd, struct task_stats *stats)
{
    enum { ANON = 1 << 0, FILE_PAGES = 1 << 1 };
    const struct {
        const char *file;
        uint64_t *ret;
        unsigned field;
    } numbers[] = {
        {"memory.current", &stats->usage_bytes, TASK_STATS_MEMORY_USAGE},
        {"memory.peak", &stats->max_usage_bytes, TASK_STATS_MEMORY_MAX_USAGE},
        {"memory.swap.current", &stats->swap_bytes, TASK_STATS_MEMORY_SWAP},
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (cgroup_read_number(dir_fd, numbers[i].file, numbers[i].ret) >= 0)
            stats->measured |= numbers[i].field;
    const struct cgroup_key keys[] = {{"anon", &stats->rss_bytes}, {"file", &stats->cache_bytes}};
    int found = cgroup_read_keys(dir_fd, "memory.stat", keys, 2);
    if (found > 0 && found & ANON)
        stats->measured |= TASK_STATS_MEMORY_RSS;
    if (found > 0 && found & FILE_PAGES)
        stats->measured |= TASK_STATS_MEMORY_CACHE;
}

static uint64_t accuracy_of(uint64_t interval_usec)
{
    uint64_t accuracy = interval_usec / STATS_ACCURACY_DIVISOR;
    return accuracy < STATS_ACCURACY_USEC_MAX ? accuracy : STATS_ACCURACY_USEC_MAX;
}

static void arm_timer(sd_event_source *timer, uint64_t planned_usec, uint64_t interval_usec)
{
    (void)sd_event_source_set_time_accuracy(timer, accuracy_of(interval_usec));

    /* On from the time that was planned, so that the pace does not drift; unless that has
     * passed. */
    uint64_t next = planned_usec + interval_usec, now = clock_now_usec(CLOCK_MONOTONIC);
    (void)sd_event_source_set_time(timer, next > now ? next : now + interval_usec);
}

static int on_due(sd_event_source *timer, uint64_t planned_usec, void *data)
{
    struct stats_stream *stream = data;
    struct task_stats stats = {.timestamp_usec = clock_now_usec(CLOCK_REALTIME)};
    int r = read_cpu(stream, &stats);
    if (r == -ENOENT || r == -ENODEV) {
        (void)sd_event_source_set_enabled(timer, SD_EVENT_OFF);
        return 0;
    }
    arm_timer(timer, planned_usec, stream->interval_usec);
    if (r < 0) {
        log_debug("cpu.stat can't be read, ignoring: %s", strerror(-r));
        return 0;
    }
    read_memory(stream->dir_fd, &stats);
    stream->sample(&stats, stream->data); /* may free the stream */
    return 0;
}

static uint64_t clamp_interval(uint64_t usec)
{
    if (usec < STATS_INTERVAL_USEC_MIN)
        return STATS_INTERVAL_USEC_MIN;
    return usec < STATS_INTERVAL_USEC_MAX ? usec : STATS_INTERVAL_USEC_MAX;
}

int stats_open(sd_event *event, const char *cgroup_path, double core_mhz, uint64_t interval_usec,
               task_stats_fn sample, void *data, struct stats_stream **ret)
{
    assert(sample);
    CLEANUP_CLOSE int fd = open(cgroup_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    /* The first sample is due now, and a wider window would put it off. */
    CLEANUP(sd_event_source_disable_unrefp) sd_event_source *timer = NULL;
    int r = sd_event_add_time(event, &timer, CLOCK_MONOTONIC, clock_now_usec(CLOCK_MONOTONIC), 1,
                              on_due, NULL);
    if (r < 0)
        return r;
    (void)sd_event_source_set_enabled(timer, SD_EVENT_ON);
    (void)sd_event_source_set_description(timer, "stats");
    struct stats_stream *stream = ALLOC_NEW(struct stats_stream);
    *stream = (struct stats_stream){
        .dir_fd = TAKE_FD(fd), .core_mhz = core_mhz, .interval_usec = clamp_interval(interval_usec),
        .timer = TAKE_PTR(timer), .sample = sample, .data = data,
    };
    sd_event_source_set_userdata(stream->timer, stream);
    *ret = stream;
    return 0;
}

struct stats_stream *stats_stream_free(struct stats_stream *stream)
{
    if (!stream)
        return NULL;
    sd_event_source_disable_unref(stream->timer);
    close_fd(stream->dir_fd);
    free(stream);
    return NULL;
}
