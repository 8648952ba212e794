#include "tasks/network/packet_filter.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "reactor/program.h"
#include "tasks/kernel/address_watch.h"

/* nft needs milliseconds; on a host that is short of everything, seconds. */
#define NFT_USEC (30 * UINT64_C(1000000))

struct packet_filter_op {
    LIST_ENTRY(packet_filter_op) link;
    bool is_underway; /* what it waits for is in the script that runs */
    packet_filter_done_fn done;
    void *data;
};

struct packet_filter {
    sd_event *event;
    packet_filter_make_fn make;
    packet_filter_changed_fn changed;
    void *data;
    LIST_HEAD(, packet_filter_op) ops;
    struct program *nft;
    char *content;    /* of the newest script; NULL: not known to be in force */
    bool is_in_force; /* our table is there, or may be: it can be tried to change it in place */
    bool is_empty;    /* after the script that runs there is none */
    bool is_stale;    /* something has changed that no script has said yet */
    sd_event_source *turn;
    struct address_watch *host_addresses; /* while something is published at some of them only */
};

static void answer(struct packet_filter *filter, const struct fail *fail)
{
    struct packet_filter_op *op = LIST_FIRST(&filter->ops);

    while (op != NULL) {
        if (!op->is_underway) {
            op = LIST_NEXT(op, link);
            continue;
        }
        packet_filter_done_fn done = op->done;
        void *data = op->data;
        (void)packet_filter_op_free(op);
        done(fail, data);
        op = LIST_FIRST(&filter->ops); /* it may have freed any other */
    }
}

static void mark_ops(struct packet_filter *filter, bool is_underway)
{
    struct packet_filter_op *op;

    LIST_FOREACH(op, &filter->ops, link)
        op->is_underway = is_underway;
}

/* --- nft ------------------------------------------------------------------------------------- */

static void forget_content(struct packet_filter *filter)
{
    free(filter->content);
    filter->content = NULL;
}

/* There is no table of ours, or one of another layout: it is made anew, and who waits goes on
 * waiting. */
static bool try_anew(struct packet_filter *filter, int result)
{
    if (result >= 0 || !filter->is_in_force)
        return false;
    filter->is_in_force = false;
    forget_content(filter);
    mark_ops(filter, false);
    packet_filter_change(filter);
    return true;
}

static void set_failure(int result, const char *said, struct fail *fail)
{
    if (result == -ENOENT)
        (void)fail_set(fail, result,
                       "the program nft, which makes the rules for ports and addresses, is not "
                       "there: install nftables on the host");
    else
        (void)fail_set_recoverable(fail, result, "the packet filter's rules cannot be made: %s",
                                   said);
    log_warn("%s", fail_text(fail));
}

static void on_nft(int result, const char *said, void *data)
{
    struct packet_filter *filter = data;
    CLEANUP_FAIL struct fail fail = {};

    filter->nft = NULL;
    if (try_anew(filter, result))
        return;
    filter->is_in_force = result >= 0 && !filter->is_empty;
    if (filter->is_stale)
        packet_filter_change(filter);
    if (result < 0) {
        forget_content(filter);
        set_failure(result, said, &fail);
    } else {
        filter->changed(filter->data);
    }
    answer(filter, result < 0 ? &fail : NULL);
}

/* --- scripts --------------------------------------------------------------------------------- */

static void on_host_addresses(void *data)
{
    packet_filter_change(data);
}

static void follow_host(struct packet_filter *filter, bool is_needed)
{
    int r = 0;

    if (!is_needed)
        filter->host_addresses = address_watch_free(filter->host_addresses);
    else if (filter->host_addresses == NULL)
        filter->host_addresses = address_watch_new(filter->event, -EBADF, on_host_addresses,
                                                   filter, &r);
    if (r < 0)
        log_warn("cannot follow the host's addresses: %s, ignoring", strerror(-r));
}

/* Answers 1 when there is nothing new to say. */
static int run_nft(struct packet_filter *filter)
{
    static char nft[] = "nft", file[] = "-f", standard_input[] = "-";
    char *const argv[] = { nft, file, standard_input, NULL };
    struct networks_script script;

    filter->make(filter->is_in_force, &script, filter->data);
    CLEANUP_FREE char *text = script.text, *content = script.content;
    follow_host(filter, script.is_at_some);
    mark_ops(filter, true);
    filter->is_stale = false;
    if (filter->content != NULL && strcmp(filter->content, content) == 0)
        return 1;
    filter->is_empty = script.is_empty;
    free(filter->content);
    filter->content = TAKE_PTR(content);
    return program_start(filter->event, argv, text, NFT_USEC, on_nft, filter, &filter->nft);
}

static int on_turn(sd_event_source *source, void *data)
{
    struct packet_filter *filter = data;

    (void)source;
    if (filter->nft != NULL)
        return 0; /* its end leads here again */
    int r = run_nft(filter);
    if (r > 0)
        answer(filter, NULL);
    else if (r < 0)
        on_nft(r, strerror(-r), filter);
    return 0;
}

/* --- exported -------------------------------------------------------------------------------- */

void packet_filter_change(struct packet_filter *filter)
{
    filter->is_stale = true;
    int r = sd_event_source_set_enabled(filter->turn, SD_EVENT_ONESHOT);
    assert(r >= 0);
}

struct packet_filter_op *packet_filter_await(struct packet_filter *filter,
                                             packet_filter_done_fn done, void *data)
{
    struct packet_filter_op *op = ALLOC_NEW(struct packet_filter_op);

    op->done = done;
    op->data = data;
    LIST_INSERT_HEAD(&filter->ops, op, link);
    packet_filter_change(filter);
    return op;
}

struct packet_filter_op *packet_filter_op_free(struct packet_filter_op *op)
{
    if (op == NULL)
        return NULL;
    LIST_REMOVE(op, link);
    free(op);
    return NULL;
}

struct packet_filter *packet_filter_new(sd_event *event, packet_filter_make_fn make,
                                        packet_filter_changed_fn changed, void *data)
{
    struct packet_filter *filter = ALLOC_NEW(struct packet_filter);

    filter->event = event;
    filter->make = make;
    filter->changed = changed;
    filter->data = data;
    filter->is_in_force = true; /* an earlier plugin's */
    LIST_INIT(&filter->ops);
    int r = sd_event_add_defer(event, &filter->turn, on_turn, filter);
    assert(r >= 0);
    r = sd_event_source_set_enabled(filter->turn, SD_EVENT_OFF);
    assert(r >= 0);
    (void)sd_event_source_set_description(filter->turn, "packet-filter");
    return filter;
}

struct packet_filter *packet_filter_free(struct packet_filter *filter)
{
    if (filter == NULL)
        return NULL;
    assert(LIST_EMPTY(&filter->ops));
    filter->nft = program_free(filter->nft);
    filter->host_addresses = address_watch_free(filter->host_addresses);
    filter->turn = sd_event_source_disable_unref(filter->turn);
    free(filter->content);
    free(filter);
    return NULL;
}
