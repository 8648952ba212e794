#include "tasks/fingerprint/fingerprint_query.h"

#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/bus_op.h"

#define SYSTEMD_NAME    "org.freedesktop.systemd1"
#define SYSTEMD_PATH    "/org/freedesktop/systemd1"

static const struct bus_object manager = { SYSTEMD_NAME, SYSTEMD_PATH, SYSTEMD_NAME ".Manager" };

static const struct bus_object machined = {
    SYSTEMD_NAME,
    SYSTEMD_PATH "/unit/systemd_2dmachined_2eservice",
    SYSTEMD_NAME ".Unit",
};

enum { CALL_SUBSCRIBE, CALL_VERSION, CALL_MACHINED, CALL_MAX };

struct fingerprint_query {
    struct bus_op *calls[CALL_MAX]; /* NULL: answered */
    struct fingerprint_answers answers;
    fingerprint_query_fn done;
    void *data;
};

void fingerprint_answers_done(struct fingerprint_answers *answers)
{
    free(answers->version);
    free(answers->machined_load);
    free(answers->trouble);
    *answers = (struct fingerprint_answers){0};
}

struct fingerprint_query *fingerprint_query_free(struct fingerprint_query *query)
{
    if (!query)
        return NULL;
    for (int i = 0; i < CALL_MAX; i++)
        bus_op_free(query->calls[i]);
    fingerprint_answers_done(&query->answers);
    free(query);
    return NULL;
}

static void set_trouble(struct fingerprint_query *query, const char *why)
{
    if (!query->answers.trouble)
        query->answers.trouble =
                alloc_printf("systemd does not answer on the system bus: %s", why);
}

static void close_call(struct fingerprint_query *query, int call)
{
    query->calls[call] = NULL;
    for (int i = 0; i < CALL_MAX; i++)
        if (query->calls[i])
            return;
    struct fingerprint_answers answers = query->answers;
    query->answers = (struct fingerprint_answers){0};
    fingerprint_query_fn done = query->done;
    void *data = query->data;
    fingerprint_query_free(query);
    done(&answers, data);
    fingerprint_answers_done(&answers);
}

static void on_subscribed(sd_bus_message *reply, const sd_bus_error *error, void *data)
{
    (void)reply;
    struct fingerprint_query *query = data;
    /* Whoever else in this process came first on the same connection has done it for us. */
    if (error && !sd_bus_error_has_name(error, SYSTEMD_NAME ".AlreadySubscribed"))
        set_trouble(query, error->message ?: error->name);
    close_call(query, CALL_SUBSCRIBE);
}

static void take_answer(struct fingerprint_query *query, sd_bus_message *reply,
                        const sd_bus_error *error, char **ret)
{
    const char *text;
    int r = error ? 0 : sd_bus_message_read(reply, "v", "s", &text);
    if (error)
        set_trouble(query, error->message ?: error->name);
    else if (r < 0)
        set_trouble(query, "its reply is malformed");
    else
        *ret = alloc_strdup(text);
}

static void on_version(sd_bus_message *reply, const sd_bus_error *error, void *data)
{
    struct fingerprint_query *query = data;
    take_answer(query, reply, error, &query->answers.version);
    close_call(query, CALL_VERSION);
}

static void on_machined(sd_bus_message *reply, const sd_bus_error *error, void *data)
{
    struct fingerprint_query *query = data;
    take_answer(query, reply, error, &query->answers.machined_load);
    close_call(query, CALL_MACHINED);
}

struct fingerprint_query *fingerprint_query_start(struct bus *bus, fingerprint_query_fn done,
                                                  void *data)
{
    struct fingerprint_query *query = ALLOC_NEW(struct fingerprint_query);
    query->done = done;
    query->data = data;
    query->calls[CALL_SUBSCRIBE] = bus_op_call(bus, &manager, "Subscribe", on_subscribed, query,
                                               "");
    query->calls[CALL_VERSION] = bus_op_get(bus, &manager, "Version", on_version, query);
    /* Of a unit that is not loaded systemd loads it first: the answer is what activation by the bus
     * would find. */
    query->calls[CALL_MACHINED] = bus_op_get(bus, &machined, "LoadState", on_machined, query);
    return query;
}
