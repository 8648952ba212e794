#include "tests/conformance/test_service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "grpc_testing.pb-c.h"
#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "rpc/grpc/grpc_status.h"
#include "tests/conformance/answers.h"

/* --- what is sent back ----------------------------------------------------------------------- */

#define INITIAL_KEY  "x-grpc-test-echo-initial"
#define TRAILING_KEY "x-grpc-test-echo-trailing-bin"

static void echo_metadata(struct call *call)
{
    const struct grpc_metadatum *initial = call_metadata(call, INITIAL_KEY, 0);
    const struct grpc_metadatum *trailing = call_metadata(call, TRAILING_KEY, 0);
    int r = 0;

    if (initial != NULL)
        r = call_add_initial(call, INITIAL_KEY, initial->value, initial->n);
    if (r >= 0 && trailing != NULL)
        r = call_add_trailing(call, TRAILING_KEY, trailing->value, trailing->n);
    if (r < 0)
        log_warn("cannot send the metadata back: %s, ignoring", strerror(-r));
}

static bool is_failure(const Grpc__Testing__EchoStatus *status)
{
    return status != NULL && status->code != GRPC_OK;
}

static void echo_status(struct call *call, const Grpc__Testing__EchoStatus *echo)
{
    CLEANUP_GRPC_STATUS struct grpc_status status = {};

    grpc_status_set(&status, (enum grpc_code)echo->code, "%s", echo->message);
    call_end(call, &status);
}

/* --- unary ----------------------------------------------------------------------------------- */

static void test_empty_call(struct call *call, const ProtobufCMessage *request, void *context)
{
    const Grpc__Testing__Empty empty = GRPC__TESTING__EMPTY__INIT;

    (void)request;
    (void)context;
    call_reply(call, &empty.base);
}

static void test_unary_call(struct call *call, const ProtobufCMessage *request, void *context)
{
    const Grpc__Testing__SimpleRequest *simple = (const Grpc__Testing__SimpleRequest *)request;
    Grpc__Testing__SimpleResponse response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
    CLEANUP_FAIL struct fail fail = {};

    (void)context;
    echo_metadata(call);
    if (is_failure(simple->response_status)) {
        echo_status(call, simple->response_status);
        return;
    }
    if (answers_payload(simple->response_size, &payload.body, &fail) < 0) {
        call_fail(call, &fail);
        return;
    }
    response.payload = &payload;
    call_reply(call, &response.base);
}

/* --- streams of the caller ------------------------------------------------------------------- */

struct sum {
    uint64_t bytes;
};

static void on_input(struct call *call, const ProtobufCMessage *message, void *data)
{
    const Grpc__Testing__StreamingInputCallRequest *input =
            (const Grpc__Testing__StreamingInputCallRequest *)message;
    Grpc__Testing__StreamingInputCallResponse response =
            GRPC__TESTING__STREAMING_INPUT_CALL_RESPONSE__INIT;
    struct sum *sum = data;

    if (input != NULL) {
        sum->bytes += input->payload != NULL ? input->payload->body.len : 0;
        return;
    }
    response.aggregated_payload_size = (int32_t)(sum->bytes & INT32_MAX);
    free(sum);
    call_reply(call, &response.base);
}

static void test_streaming_input_call(struct call *call, const ProtobufCMessage *request,
                                      void *context)
{
    (void)request;
    (void)context;
    call_set_data(call, ALLOC_NEW(struct sum));
    call_on_message(call, on_input);
}

static void test_streaming_input_cancel(struct call *call, void *data)
{
    (void)call;
    free(data);
}

/* --- streams of ours ------------------------------------------------------------------------- */

/* 0: the call goes on. */
static int take_request(struct call *call, struct answers *answers,
                        const Grpc__Testing__StreamingOutputCallRequest *request)
{
    CLEANUP_FAIL struct fail fail = {};

    if (is_failure(request->response_status)) {
        answers_free(answers);
        echo_status(call, request->response_status);
        return -ECANCELED;
    }
    int r = answers_add(answers, request->response_parameters, request->n_response_parameters,
                        &fail);
    if (r < 0) {
        answers_free(answers);
        call_fail(call, &fail);
    }
    return r;
}

static struct answers *open_answers(struct call *call, const struct test_service *service)
{
    struct answers *answers = answers_new(service->event, call);

    call_set_data(call, answers);
    echo_metadata(call);
    return answers;
}

static void test_streaming_output_call(struct call *call, const ProtobufCMessage *request,
                                       void *context)
{
    struct answers *answers = open_answers(call, context);

    if (take_request(call, answers,
                     (const Grpc__Testing__StreamingOutputCallRequest *)request) >= 0)
        answers_finish(answers);
}

static void on_full_duplex(struct call *call, const ProtobufCMessage *message, void *data)
{
    struct answers *answers = data;

    if (message == NULL)
        answers_finish(answers);
    else if (take_request(call, answers,
                          (const Grpc__Testing__StreamingOutputCallRequest *)message) >= 0)
        answers_start(answers);
}

static void test_full_duplex_call(struct call *call, const ProtobufCMessage *request, void *context)
{
    (void)request;
    (void)open_answers(call, context);
    call_on_message(call, on_full_duplex);
}

static void on_half_duplex(struct call *call, const ProtobufCMessage *message, void *data)
{
    struct answers *answers = data;

    if (message == NULL)
        answers_finish(answers);
    else
        (void)take_request(call, answers,
                           (const Grpc__Testing__StreamingOutputCallRequest *)message);
}

static void test_half_duplex_call(struct call *call, const ProtobufCMessage *request, void *context)
{
    (void)request;
    (void)open_answers(call, context);
    call_on_message(call, on_half_duplex);
}

static void test_answers_cancel(struct call *call, void *data)
{
    (void)call;
    answers_free(data);
}

/* --- table ----------------------------------------------------------------------------------- */

#define METHOD(name, call_kind, takes, gives, function, on_cancel) \
    {                                                              \
        .path = "/grpc.testing.TestService/" #name,                \
        .kind = (call_kind),                                       \
        .request = &grpc__testing__##takes##__descriptor,          \
        .response = &grpc__testing__##gives##__descriptor,         \
        .handle = (function),                                      \
        .cancel = (on_cancel),                                     \
    }

const struct rpc_method test_methods[] = {
    METHOD(EmptyCall, RPC_UNARY, empty, empty, test_empty_call, NULL),
    METHOD(UnaryCall, RPC_UNARY, simple_request, simple_response, test_unary_call, NULL),
    METHOD(StreamingInputCall, RPC_CLIENT_STREAM, streaming_input_call_request,
           streaming_input_call_response, test_streaming_input_call, test_streaming_input_cancel),
    METHOD(StreamingOutputCall, RPC_SERVER_STREAM, streaming_output_call_request,
           streaming_output_call_response, test_streaming_output_call, test_answers_cancel),
    METHOD(FullDuplexCall, RPC_BIDI_STREAM, streaming_output_call_request,
           streaming_output_call_response, test_full_duplex_call, test_answers_cancel),
    METHOD(HalfDuplexCall, RPC_BIDI_STREAM, streaming_output_call_request,
           streaming_output_call_response, test_half_duplex_call, test_answers_cancel),
    {},
};
