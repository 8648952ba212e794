#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "reactor/hash.h"
#include "tests/support/fd_leak.h"

/* Of the authors of FNV: what an earlier version named is found again. */
static void test_values_are_those_of_fnv_1a(void **state)
{
    (void)state;
    assert_true(hash_bytes(NULL, 0) == UINT64_C(0xcbf29ce484222325));
    assert_true(hash_bytes("a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
    assert_true(hash_bytes("foobar", 6) == UINT64_C(0x85944171f73967e8));
    assert_true(hash_bytes("foobar", 7) != hash_bytes("foobar", 6));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_values_are_those_of_fnv_1a),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
