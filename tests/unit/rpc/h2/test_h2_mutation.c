/* Sessions that are right but for some bytes, at random: none may crash, trip an assertion, leave
 * memory behind or make the connection queue without a limit. They are the same each time: seed and
 * rounds are printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/fd_leak.h"
#include "tests/support/rpc/h2/h2_fixture.h"
#include "tests/support/rpc/h2/hpack.h"

#define SEED   UINT64_C(0x6e7370617776)
#define ROUNDS 6000

#define FRAMES_MAX  64
#define PAYLOAD_MAX 512

struct frame {
    uint8_t header[H2_FRAME_HEADER_SIZE];
    uint8_t payload[PAYLOAD_MAX];
    size_t n;
};

static struct session {
    struct frame frames[FRAMES_MAX];
    size_t n;
} original;

/* --- chance ---------------------------------------------------------------------------------- */

static uint64_t random_state;

static uint32_t below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)((random_state >> 32) % n);
}

/* --- the session ----------------------------------------------------------------------------- */

static void add(enum h2_frame_type type, uint8_t flags, uint32_t id, const void *payload, size_t n)
{
    assert_true(original.n < FRAMES_MAX && n <= PAYLOAD_MAX);
    struct frame *frame = &original.frames[original.n++];

    (void)h2_codec_encode_frame_header(frame->header, n, type, flags, id);
    if (n > 0)
        memcpy(frame->payload, payload, n);
    frame->n = n;
}

static void add_request(struct hpack *hpack, uint32_t id, const char *lines, bool continued)
{
    uint8_t block[PAYLOAD_MAX];
    size_t n = hpack_encode(hpack, lines, block, sizeof(block));

    if (!continued) {
        add(H2_HEADERS, H2_FLAG_END_HEADERS, id, block, n);
        return;
    }
    add(H2_HEADERS, 0, id, block, 3);
    add(H2_CONTINUATION, 0, id, block + 3, 7);
    add(H2_CONTINUATION, H2_FLAG_END_HEADERS, id, block + 10, n - 10);
}

#define GRPC(path)                                                                  \
    ":method: POST\n:scheme: http\n:path: " path "\n:authority: unused\n"           \
    "content-type: application/grpc\nuser-agent: grpc-go/1.58.0\nte: trailers\n"

static void make_session(void)
{
    struct hpack hpack;

    hpack_init(&hpack);
    add(H2_SETTINGS, 0, 0, "\0\3\0\0\0\144\0\4\0\0\0\12\0\5\0\0\100\0", 18);
    add(H2_WINDOW_UPDATE, 0, 0, "\0\1\0\0", 4);
    for (uint32_t id = 1; id < 14; id += 4) {
        add_request(&hpack, id, GRPC("/plugin.GRPCController/Shutdown"), false);
        add(H2_DATA, 0, id, "\0\0\0\0\12hello", 10);
        add(H2_DATA, H2_FLAG_PADDED | H2_FLAG_END_STREAM, id, "\2world\0\0", 8);
        add_request(&hpack, id + 2, GRPC("/grpc.health.v1.Health/Watch"), id % 8 == 1);
        add(H2_PING, 0, 0, "12345678", 8);
        add(H2_WINDOW_UPDATE, 0, id + 2, "\0\0\0\100", 4);
        add(H2_SETTINGS, 0, 0, "\0\4\0\0\0\144", 6);
        add(H2_PRIORITY, 0, id, "\0\0\0\0\7", 5);
        add(H2_DATA, H2_FLAG_END_STREAM, id + 2, "x", 1);
        add(H2_SETTINGS, H2_FLAG_ACK, 0, NULL, 0);
        add(H2_RST_STREAM, 0, id, "\0\0\0\10", 4);
    }
    add(H2_GOAWAY, 0, 0, "\0\0\0\0\0\0\0\0", 8);
    hpack_done(&hpack);
}

/* --- what is wrong with it ------------------------------------------------------------------- */

static void set_length(struct frame *frame, size_t n)
{
    frame->n = n;
    frame->header[0] = 0;
    frame->header[1] = (uint8_t)(n >> 8);
    frame->header[2] = (uint8_t)n;
}

static void change_header(struct frame *frame)
{
    uint8_t *byte = &frame->header[below(H2_FRAME_HEADER_SIZE)];

    *byte = (uint8_t)(below(2) == 0 ? *byte ^ 1u << below(8) : below(256));
}

static void change_payload(struct frame *frame)
{
    if (frame->n == 0)
        return;
    uint8_t *byte = &frame->payload[below((uint32_t)frame->n)];

    *byte = (uint8_t)(below(2) == 0 ? *byte ^ 1u << below(8) : below(256));
}

static void resize(struct frame *frame)
{
    set_length(frame, below(2) == 0 ? below((uint32_t)frame->n + 1) : below(PAYLOAD_MAX));
}

static void mutate(struct session *session)
{
    struct frame *frame = &session->frames[below((uint32_t)session->n)];
    struct frame *other = &session->frames[below((uint32_t)session->n)];
    const struct frame kept = *frame;

    switch (below(7)) {
    case 0:
        change_header(frame);
        break;
    case 1:
    case 2:
        change_payload(frame);
        break;
    case 3:
        resize(frame);
        break;
    case 4: /* twice */
        *other = *frame;
        break;
    case 5: /* in another order */
        *frame = *other;
        *other = kept;
        break;
    default: /* another stream's, or another flag */
        frame->header[4] = (uint8_t)(frame->header[4] ^ 1u << below(6));
        frame->header[8] = (uint8_t)below(20);
        break;
    }
}

/* --- a user that does anything it may -------------------------------------------------------- */

static void act(struct h2_fixture *f, struct h2_stream *stream)
{
    uint32_t id = h2_stream_id(stream);

    switch (below(8)) {
    case 0:
        h2_fixture_end(f, id);
        break;
    case 1:
        h2_fixture_reset(f, id, H2_CANCEL);
        break;
    case 2:
        h2_fixture_send(f, id, 1 + below(300));
        break;
    case 3:
        h2_fixture_send(f, id, 1 + below(300));
        h2_fixture_end(f, id);
        break;
    default:
        break;
    }
}

static void act_on_all(struct h2_fixture *f)
{
    for (uint32_t id = 0; id < 32; id++)
        if (f->streams[id] != NULL)
            act(f, f->streams[id]);
    if (below(200) == 0)
        h2_conn_shutdown(f->conn);
}

static void check(struct h2_fixture *f, size_t n_in)
{
    enum h2_error error;

    /* 17 bytes for an answer to 9 at most, answers of 300 and GOAWAY */
    assert_true(f->n_out <= 1000 + 2 * n_in + 100 * FRAMES_MAX * 300);
    assert_true(h2_conn_n_streams(f->conn) <= FRAMES_MAX);
    if (h2_conn_failure(f->conn, &error) == NULL)
        return;
    assert_true(error > H2_NO_ERROR && error < H2_ERROR_MAX);
    assert_true(h2_conn_is_done(f->conn));
    assert_int_equal(h2_conn_n_streams(f->conn), 0);
    assert_int_equal(evbuffer_get_length(h2_conn_input(f->conn)), 0);
}

static void put(struct h2_fixture *f, const uint8_t *bytes, size_t n, size_t *n_in)
{
    while (n > 0) {
        size_t part = 1 + below((uint32_t)n);

        h2_fixture_put(f, bytes, part);
        *n_in += part;
        if (below(2) == 0) {
            h2_fixture_run(f);
            act_on_all(f);
            check(f, *n_in);
        }
        bytes += part;
        n -= part;
    }
}

/* A frame whose length was changed in its header has the payload that it had. */
static bool run_round(unsigned n_mutations)
{
    static struct session session;
    struct h2_fixture f;
    size_t n_in = 0;
    enum h2_error error;

    session = original;
    for (; n_mutations > 0; n_mutations--)
        mutate(&session);
    h2_fixture_init(&f);
    f.on_request = act;
    f.on_data = act;
    f.on_end = act;
    h2_fixture_put_preface(&f);
    for (size_t i = 0; i < session.n; i++) {
        put(&f, session.frames[i].header, H2_FRAME_HEADER_SIZE, &n_in);
        put(&f, session.frames[i].payload, session.frames[i].n, &n_in);
    }
    h2_fixture_run(&f);
    check(&f, n_in);
    bool failed = h2_conn_failure(f.conn, &error) != NULL;
    h2_fixture_done(&f);
    return failed;
}

static unsigned n_rounds, n_failed;

static void tell(void)
{
    print_message("seed %#llx: %u rounds survived, in %u of them the connection failed\n",
                  (unsigned long long)SEED, n_rounds, n_failed);
}

/* Called by the address sanitizer, if there is one, before it ends the process. */
void __asan_on_error(void);
void __asan_on_error(void)
{
    tell();
}

static int teardown(void **state)
{
    tell();
    return fd_leak_teardown(state);
}

static void test_mutated_sessions_are_survived(void **state)
{
    (void)state;
    make_session();
    for (; n_rounds < ROUNDS; n_rounds++) {
        random_state = SEED + n_rounds * UINT64_C(0x9e3779b97f4a7c15);
        unsigned n_mutations = below(4);
        bool failed = run_round(n_mutations);
        assert_false(failed && n_mutations == 0);
        n_failed += failed;
    }
    /* Both kinds are there, or this tests little. */
    assert_in_range(n_failed, ROUNDS / 4, ROUNDS * 3 / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_mutated_sessions_are_survived, fd_leak_setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
