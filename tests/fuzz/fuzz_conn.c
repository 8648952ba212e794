/* A whole connection, step by step (play.h), in small steps: every state there is. */
#include "tests/fuzz/play.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    play(bytes, n, (struct play_size){ .fill_max = 64 * 1024, .flood_max = 64 });
    return 0;
}
