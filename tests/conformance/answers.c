#include "tests/conformance/answers.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

/* All payloads are cut out of it. */
static uint8_t zeroes[ANSWERS_PAYLOAD_BYTES_MAX];

struct answer {
    ProtobufCBinaryData body;
    uint64_t interval_usec; /* 0: it has passed */
};

struct answers {
    sd_event *event;
    struct call *call;
    sd_event_source *timer;
    struct answer *waiting; /* from `first` on */
    size_t first, n_waiting;
    bool is_last; /* nothing will be added */
};

static int on_interval(sd_event_source *source, uint64_t usec, void *data);

struct answers *answers_new(sd_event *event, struct call *call)
{
    struct answers *answers = ALLOC_NEW(struct answers);

    answers->event = sd_event_ref(event);
    answers->call = call;
    return answers;
}

struct answers *answers_free(struct answers *answers)
{
    if (answers == NULL)
        return NULL;
    sd_event_source_disable_unref(answers->timer);
    sd_event_unref(answers->event);
    free(answers->waiting);
    free(answers);
    return NULL;
}

int answers_payload(int32_t size, ProtobufCBinaryData *ret_body, struct fail *reterr)
{
    if (size < 0 || size > ANSWERS_PAYLOAD_BYTES_MAX)
        return fail_set(reterr, -EINVAL, "no payload of %d bytes can be given", size);
    *ret_body = (ProtobufCBinaryData){ .data = zeroes, .len = (size_t)size };
    return 0;
}

static void send_one(struct answers *answers)
{
    Grpc__Testing__StreamingOutputCallResponse message =
            GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;

    payload.body = answers->waiting[answers->first++].body;
    message.payload = &payload;
    call_send(answers->call, &message.base);
}

static void wait_interval(struct answers *answers, uint64_t usec)
{
    assert(answers->timer == NULL);
    int r = sd_event_add_time_relative(answers->event, &answers->timer, CLOCK_MONOTONIC, usec, 1,
                                       on_interval, answers);
    assert(r >= 0);
    (void)sd_event_source_set_description(answers->timer, "answer-interval");
}

/* May free the answers. */
static void pump(struct answers *answers)
{
    while (answers->first < answers->n_waiting) {
        const struct answer *next = &answers->waiting[answers->first];
        if (answers->timer != NULL || call_queued_bytes(answers->call) > ANSWERS_QUEUED_BYTES_MAX)
            return;
        if (next->interval_usec > 0) {
            wait_interval(answers, next->interval_usec);
            return;
        }
        send_one(answers);
    }
    answers->first = answers->n_waiting = 0;
    if (answers->is_last) {
        call_finish(answers->call);
        answers_free(answers);
    }
}

static int on_interval(sd_event_source *source, uint64_t usec, void *data)
{
    struct answers *answers = data;

    (void)source;
    (void)usec;
    answers->timer = sd_event_source_disable_unref(answers->timer);
    answers->waiting[answers->first].interval_usec = 0;
    pump(answers);
    return 0;
}

static void on_drain(struct call *call, void *data)
{
    (void)call;
    pump(data);
}

int answers_add(struct answers *answers, Grpc__Testing__ResponseParameters *const *parameters,
                size_t n, struct fail *reterr)
{
    size_t n_waiting = answers->n_waiting;

    if (n > ANSWERS_MAX - n_waiting)
        return fail_set(reterr, -ENOBUFS, "more than %d answers are waiting", ANSWERS_MAX);
    answers->waiting = alloc_grow(answers->waiting, n_waiting + n + 1, sizeof(struct answer));
    for (size_t i = 0; i < n; i++) {
        struct answer *answer = &answers->waiting[n_waiting + i];
        *answer = (struct answer){};
        int r = answers_payload(parameters[i]->size, &answer->body, reterr);
        if (r < 0)
            return r;
        if (parameters[i]->interval_us > 0)
            answer->interval_usec = (uint64_t)parameters[i]->interval_us;
    }
    answers->n_waiting += n;
    return 0;
}

void answers_start(struct answers *answers)
{
    call_on_drain(answers->call, on_drain);
    pump(answers);
}

void answers_finish(struct answers *answers)
{
    answers->is_last = true;
    answers_start(answers);
}
