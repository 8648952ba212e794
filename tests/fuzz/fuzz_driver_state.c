/* What RecoverTask gets back. What is taken must come out the same when it is written again. */
#include <stdlib.h>
#include <string.h>

#include "reactor/cleanup.h"
#include "tasks/persist/driver_state.h"
#include "tests/fuzz/input.h"

static void check_again(const struct driver_state *state)
{
    CLEANUP_FREE uint8_t *first = NULL, *second = NULL;
    size_t n_first, n_second;
    struct driver_state again = {};
    CLEANUP_FAIL struct fail fail = {};

    driver_state_encode(state, &first, &n_first);
    MUST(driver_state_decode(&again, first, n_first, &fail) == 0);
    driver_state_encode(&again, &second, &n_second);
    MUST(n_first == n_second && memcmp(first, second, n_first) == 0);
    driver_state_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct driver_state state = {};
    CLEANUP_FAIL struct fail fail = {};
    int r = driver_state_decode(&state, bytes, n, &fail);

    MUST(r <= 0 && (r < 0) == (fail.message != NULL));
    if (r == 0)
        check_again(&state);
    driver_state_done(&state);
    return 0;
}
