/* A whole connection, byte by byte as it comes from the wire, from the preface on: the first byte
 * tells in pieces of which size (0: in one), the rest is what the peer sends. */
#include "tests/fuzz/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct session session;
    struct input input = { bytes, n };
    size_t step = input_u8(&input);

    session_init(&session, 64 * 1024);
    while (input.n > 0) {
        struct input piece = input_piece(&input, step == 0 ? input.n : step);

        session_put(&session, piece.bytes, piece.n);
        session_work(&session);
    }
    session_pass(&session, 1);
    session_done(&session);
    return 0;
}
