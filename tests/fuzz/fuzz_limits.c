/* A whole connection, step by step (play.h), in large steps: every limit there is. */
#include "tests/fuzz/play.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    play(bytes, n, (struct play_size){ .fill_max = 1 << 20, .flood_max = 1 << 16 });
    return 0;
}
