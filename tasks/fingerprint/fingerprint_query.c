#include "tasks/fingerprint/fingerprint_query.h"

#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

#define SYSTEMD_NAME    "org.freedesktop.systemd1"
#define SYSTEMD_PATH    "/org/freedesktop/systemd1"
#define SYSTEMD_MANAGER SYSTEMD_NAME ".Manager"
#define MACHINED_UNIT   SYSTEMD_PATH "/unit/systemd_2dmachined_2eservice"
#define PROPERTIES      "org.freedesktop.DBus.Properties"

enum { CALL_SUBSCRIBE, CALL_VERSION, CALL_MACHINED, CALL_MAX };

struct fingerprint_query {
    sd_bus_slot *calls[CALL_MAX]; /* NULL: answered */
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
        sd_bus_slot_unref(query->calls[i]);
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
    query->calls[call] = sd_bus_slot_unref(query->calls[call]);
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

static int on_subscribed(sd_bus_message *reply, void *data, sd_bus_error *ret)
{
    (void)ret;
    struct fingerprint_query *query = data;
    const sd_bus_error *error = sd_bus_message_get_error(reply);
    /* Whoever else in this process came first on the same connection has done it for us. */
    if (error && !sd_bus_error_has_name(error, SYSTEMD_NAME ".AlreadySubscribed"))
        set_trouble(query, error->message ?: error->name);
    close_call(query, CALL_SUBSCRIBE);
    return 0;
}

static void take_answer(struct fingerprint_query *query, sd_bus_message *reply, char **ret)
{
    const sd_bus_error *error = sd_bus_message_get_error(reply);
    const char *text;
    int r = error ? 0 : sd_bus_message_read(reply, "v", "s", &text);
    if (error)
        set_trouble(query, error->message ?: error->name);
    else if (r < 0)
        set_trouble(query, "its reply is malformed");
    else
        *ret = alloc_strdup(text);
}

static int on_version(sd_bus_message *reply, void *data, sd_bus_error *ret)
{
    (void)ret;
    struct fingerprint_query *query = data;
    take_answer(query, reply, &query->answers.version);
    close_call(query, CALL_VERSION);
    return 0;
}

static int on_machined(sd_bus_message *reply, void *data, sd_bus_error *ret)
{
    (void)ret;
    struct fingerprint_query *query = data;
    take_answer(query, reply, &query->answers.machined_load);
    close_call(query, CALL_MACHINED);
    return 0;
}

static int send_calls(struct fingerprint_query *query, sd_bus *bus)
{
    int r = sd_bus_call_method_async(bus, &query->calls[CALL_SUBSCRIBE], SYSTEMD_NAME, SYSTEMD_PATH,
                                     SYSTEMD_MANAGER, "Subscribe", on_subscribed, query, NULL);
    if (r < 0)
        return r;
    r = sd_bus_call_method_async(bus, &query->calls[CALL_VERSION], SYSTEMD_NAME, SYSTEMD_PATH,
                                 PROPERTIES, "Get", on_version, query, "ss", SYSTEMD_MANAGER,
                                 "Version");
    if (r < 0)
        return r;
    /* Of a unit that is not loaded systemd loads it first: the answer is what activation by the bus
     * would find. */
    return sd_bus_call_method_async(bus, &query->calls[CALL_MACHINED], SYSTEMD_NAME, MACHINED_UNIT,
                                    PROPERTIES, "Get", on_machined, query, "ss",
                                    SYSTEMD_NAME ".Unit", "LoadState");
}

struct fingerprint_query *fingerprint_query_start(sd_bus *bus, fingerprint_query_fn done,
                                                  void *data)
{
    struct fingerprint_query *query = ALLOC_NEW(struct fingerprint_query);
    query->done = done;
    query->data = data;
    return send_calls(query, bus) < 0 ? fingerprint_query_free(query) : query;
}
