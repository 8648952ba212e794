#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tasks/spec/capability_name.h"
#include "tests/support/fd_leak.h"

/* The header of the kernel that this was built with is the judge: each of its names must be known. */
static void test_every_name_of_the_kernel_is_known(void **state)
{
    FILE *header = fopen("/usr/include/linux/capability.h", "re");
    char line[256], name[64];
    unsigned number, last = 0, n_names = 0;

    (void)state;
    assert_non_null(header);
    while (fgets(line, sizeof(line), header) != NULL) {
        if (sscanf(line, "#define %63[A-Z_] %u", name, &number) != 2 ||
            strncmp(name, "CAP_", 4) != 0)
            continue;
        if (!capability_name_is_valid(name))
            fail_msg("'%s' is not known", name);
        last = number > last ? number : last;
        n_names++;
    }
    (void)fclose(header);
    assert_true(n_names > 40);
    assert_int_equal(n_names, last + 1);
}

static void test_case_does_not_matter(void **state)
{
    (void)state;
    assert_true(capability_name_is_valid("cap_net_admin"));
    assert_true(capability_name_is_valid("Cap_Chown"));
}

static void test_anything_else_is_none(void **state)
{
    static const char *const wrong[] = {
        "",          "CAP_",           "NET_ADMIN",     "CAP_NET_ADMINX", "CAP_NET_ADMI",
        "all",       "CAP_LAST_CAP",   " CAP_CHOWN",    "CAP_CHOWN ",     "CAP_CHOWN,CAP_KILL",
        "CAP-CHOWN", "CAP_CHOWN\xff",  "1",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        if (capability_name_is_valid(wrong[i]))
            fail_msg("'%s' is taken for a capability", wrong[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_every_name_of_the_kernel_is_known),
        FD_LEAK_TEST(test_case_does_not_matter),
        FD_LEAK_TEST(test_anything_else_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
