#include "tasks/fingerprint/fingerprint.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/fingerprint/fingerprint_query.h"
#include "tasks/fingerprint/fingerprint_report.h"

#define SYSTEMD_NAME      "org.freedesktop.systemd1"
#define SYSTEMD_PATH      "/org/freedesktop/systemd1"
#define SYSTEMD_MANAGER   SYSTEMD_NAME ".Manager"
#define MACHINED_NAME     "org.freedesktop.machine1"
#define BUS_NAME          "org.freedesktop.DBus"
#define BUS_PATH          "/org/freedesktop/DBus"

struct fingerprint_watch {
    LIST_ENTRY(fingerprint_watch) entry;
    struct fingerprint *fp; /* NULL: it is gone */
    unsigned told;          /* the generation of reports it knows */
    driver_fingerprint_fn changed;
    void *data;
};

struct fingerprint {
    struct bus *bus;
    probe_host_fn probe;
    struct fingerprint_times times;
    struct bus_watch *bus_watch;
    sd_bus_slot *matches[4];
    struct fingerprint_query *query; /* in flight, or NULL */
    bool again;                      /* something changed since it was sent */
    bool is_started, is_patient;
    struct fingerprint_facts facts;
    sd_event_source *patience, *retry, *tell;
    struct fingerprint_report report;
    unsigned generation; /* of reports; 0: none yet */
    LIST_HEAD(, fingerprint_watch) watches;
};

/* --- telling --------------------------------------------------------------------------------- */

static struct fingerprint_watch *find_untold(struct fingerprint *fp)
{
    struct fingerprint_watch *watch;
    LIST_FOREACH(watch, &fp->watches, entry)
        if (watch->told != fp->generation)
            return watch;
    return NULL;
}

/* A watch that is told may free itself and others, so each search begins anew. */
static int on_tell(sd_event_source *source, void *data)
{
    (void)source;
    struct fingerprint *fp = data;
    for (struct fingerprint_watch *watch; (watch = find_untold(fp));) {
        watch->told = fp->generation;
        watch->changed(&fp->report.fingerprint, watch->data);
    }
    return 0;
}

static void tell_later(struct fingerprint *fp)
{
    if (fp->generation > 0)
        (void)sd_event_source_set_enabled(fp->tell, SD_EVENT_ONESHOT);
}

static void update_report(struct fingerprint *fp)
{
    struct fingerprint_report report;
    struct fingerprint_facts facts = fp->facts;
    /* At the start the bus is given a moment, or each agent would begin with a driver that is
     * down. */
    facts.bus_up |= fp->is_patient;
    if (!fp->is_started || !fingerprint_report_make(&facts, &report))
        return;
    if (!fingerprint_report_replace(&fp->report, &report))
        return;
    fp->generation++;
    log_debug("fingerprint: %s", fp->report.description);
    tell_later(fp);
}

/* --- asking ---------------------------------------------------------------------------------- */

static void ask(struct fingerprint *fp);

static void on_answers(struct fingerprint_answers *answers, void *data)
{
    struct fingerprint *fp = data;
    fp->query = NULL;
    /* A connection that breaks first fails what was asked, then says so itself. */
    if (sd_bus_is_ready(bus_get(fp->bus)) <= 0)
        return;
    fingerprint_answers_done(&fp->facts.answers);
    fp->facts.answers = *answers;
    *answers = (struct fingerprint_answers){0};
    fp->probe(&fp->facts.host);
    if (fp->facts.answers.trouble) {
        (void)sd_event_source_set_time_relative(fp->retry, fp->times.retry_usec);
        (void)sd_event_source_set_enabled(fp->retry, SD_EVENT_ONESHOT);
    }
    update_report(fp);
    if (fp->again)
        ask(fp);
}

/* However many things change while systemd thinks, it is asked once more. */
static void ask(struct fingerprint *fp)
{
    sd_bus *bus = bus_get(fp->bus);
    fp->again = bus && fp->query;
    if (bus && !fp->query)
        fp->query = fingerprint_query_start(fp->bus, on_answers, fp);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *data)
{
    (void)source, (void)usec;
    ask(data);
    return 0;
}

static int on_patience_over(sd_event_source *source, uint64_t usec, void *data)
{
    (void)source, (void)usec;
    struct fingerprint *fp = data;
    fp->is_patient = false;
    if (fp->query && fp->generation == 0 && !fp->facts.answers.trouble)
        fp->facts.answers.trouble = alloc_strdup("systemd has not answered on the system bus yet");
    update_report(fp);
    return 0;
}

/* --- following ------------------------------------------------------------------------------- */

static int on_changed(sd_bus_message *message, void *data, sd_bus_error *ret)
{
    (void)message, (void)ret;
    ask(data);
    return 0;
}

static int on_reloading(sd_bus_message *message, void *data, sd_bus_error *ret)
{
    (void)ret;
    int begins;
    /* In between systemd would only let us wait. */
    if (sd_bus_message_read(message, "b", &begins) >= 0 && !begins)
        ask(data);
    return 0;
}

static void match_signals(struct fingerprint *fp)
{
    static const char owner_rule[] = "type='signal',sender='" BUS_NAME "',path='" BUS_PATH
                                     "',interface='" BUS_NAME "',member='NameOwnerChanged',arg0='";
    static const struct {
        const char *start, *name;
        sd_bus_message_handler_t on_signal;
    } rules[] = {
        {owner_rule, SYSTEMD_NAME, on_changed},
        {owner_rule, MACHINED_NAME, on_changed},
        {"type='signal',sender='" SYSTEMD_NAME "',path='" SYSTEMD_PATH "',interface='"
         SYSTEMD_MANAGER "',member='", "UnitFilesChanged", on_changed},
        {"type='signal',sender='" SYSTEMD_NAME "',path='" SYSTEMD_PATH "',interface='"
         SYSTEMD_MANAGER "',member='", "Reloading", on_reloading},
    };
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        CLEANUP_FREE char *rule = alloc_printf("%s%s'", rules[i].start, rules[i].name);
        /* A broker that refuses a match makes sd-bus give up the connection: the bus comes back
         * and we with it. */
        int r = sd_bus_add_match_async(bus_get(fp->bus), &fp->matches[i], rule, rules[i].on_signal,
                                       NULL, fp);
        if (r < 0)
            log_warn("signals of the bus can't be followed: %s, ignoring", strerror(-r));
    }
}

static void drop_signals(struct fingerprint *fp)
{
    for (size_t i = 0; i < sizeof(fp->matches) / sizeof(fp->matches[0]); i++)
        fp->matches[i] = sd_bus_slot_unref(fp->matches[i]);
}

static void set_bus_up(struct fingerprint *fp, bool up)
{
    fp->facts.bus_up = up;
    drop_signals(fp);
    fp->query = fingerprint_query_free(fp->query);
    fingerprint_answers_done(&fp->facts.answers);
    if (up) {
        match_signals(fp);
        ask(fp);
    }
    update_report(fp);
}

static void on_bus_changed(struct bus *bus, bool up, void *data)
{
    (void)bus;
    set_bus_up(data, up);
}

/* --- exported -------------------------------------------------------------------------------- */

static void add_timer(struct fingerprint *fp, sd_event_source **ret,
                      sd_event_time_handler_t on_time, const char *name)
{
    int r = sd_event_add_time_relative(bus_event(fp->bus), ret, CLOCK_MONOTONIC,
                                       fp->times.first_usec, 0, on_time, fp);
    assert(r >= 0);
    (void)sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
    (void)sd_event_source_set_description(*ret, name);
}

struct fingerprint *fingerprint_new(struct bus *bus, probe_host_fn probe,
                                    const struct fingerprint_times *times)
{
    struct fingerprint *fp = ALLOC_NEW(struct fingerprint);
    *fp = (struct fingerprint){
        .bus = bus, .probe = probe, .times = *times, .facts = {.enabled = true}, .is_patient = true,
    };
    LIST_INIT(&fp->watches);
    add_timer(fp, &fp->patience, on_patience_over, "fingerprint-first");
    add_timer(fp, &fp->retry, on_retry, "fingerprint-retry");
    int r = sd_event_add_defer(bus_event(bus), &fp->tell, on_tell, fp);
    assert(r >= 0);
    (void)sd_event_source_set_enabled(fp->tell, SD_EVENT_OFF);
    (void)sd_event_source_set_description(fp->tell, "fingerprint-tell");
    return fp;
}

struct fingerprint *fingerprint_free(struct fingerprint *fp)
{
    if (!fp)
        return NULL;
    bus_watch_free(fp->bus_watch);
    drop_signals(fp);
    fingerprint_query_free(fp->query);
    sd_event_source_disable_unref(fp->patience);
    sd_event_source_disable_unref(fp->retry);
    sd_event_source_disable_unref(fp->tell);
    fingerprint_answers_done(&fp->facts.answers);
    fingerprint_report_done(&fp->report);
    struct fingerprint_watch *watch;
    LIST_FOREACH(watch, &fp->watches, entry)
        watch->fp = NULL;
    free(fp);
    return NULL;
}

void fingerprint_set_enabled(struct fingerprint *fp, bool enabled)
{
    fp->facts.enabled = enabled;
    update_report(fp);
}

/* Nothing is asked before somebody wants to know: the agent launches the plugin twice only to read
 * its schema. */
static void start(struct fingerprint *fp)
{
    fp->is_started = true;
    fp->probe(&fp->facts.host);
    (void)sd_event_source_set_time_relative(fp->patience, fp->times.first_usec);
    (void)sd_event_source_set_enabled(fp->patience, SD_EVENT_ONESHOT);
    fp->bus_watch = bus_watch_add(fp->bus, on_bus_changed, fp);
    update_report(fp);
}

struct fingerprint_watch *fingerprint_watch(struct fingerprint *fp, driver_fingerprint_fn changed,
                                            void *data)
{
    struct fingerprint_watch *watch = ALLOC_NEW(struct fingerprint_watch);
    *watch = (struct fingerprint_watch){.fp = fp, .changed = changed, .data = data};
    LIST_INSERT_HEAD(&fp->watches, watch, entry);
    if (!fp->is_started)
        start(fp);
    tell_later(fp);
    return watch;
}

struct fingerprint_watch *fingerprint_watch_free(struct fingerprint_watch *watch)
{
    if (!watch)
        return NULL;
    if (watch->fp)
        LIST_REMOVE(watch, entry);
    free(watch);
    return NULL;
}
