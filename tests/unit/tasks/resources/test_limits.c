#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/cleanup.h"
#include "tasks/resources/limits.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"

#define MIB (UINT64_C(1) << 20)

static const struct unit_property *find(const struct unit_properties *properties, const char *name)
{
    for (size_t i = 0; i < properties->n_items; i++)
        if (strcmp(properties->items[i].name, name) == 0)
            return &properties->items[i];
    return NULL;
}

/* 0: not set; to set a limit of nothing is never asked for. */
static uint64_t number_of(const struct unit_properties *properties, const char *name)
{
    const struct unit_property *property = find(properties, name);

    if (property == NULL)
        return 0;
    assert_int_equal(property->type, UNIT_PROPERTY_U64);
    assert_true(property->number > 0);
    return property->number;
}

static void expect_limits(int64_t memory_mb, int64_t memory_max_mb, uint64_t max, uint64_t high,
                          uint64_t low)
{
    const struct task_resources resources = { .memory_mb = memory_mb,
                                              .memory_max_mb = memory_max_mb };
    CLEANUP(unit_properties_done) struct unit_properties properties = {};

    assert_int_equal(limits_add(&resources, &properties, NULL), 0);
    assert_true(number_of(&properties, "MemoryMax") == max);
    assert_true(number_of(&properties, "MemoryHigh") == high);
    assert_true(number_of(&properties, "MemoryLow") == low);
    assert_int_equal(properties.n_items, (max > 0) + (high > 0) + (low > 0));
}

static void test_memory_is_limited_as_nomad_says(void **state)
{
    (void)state;
    expect_limits(300, 0, 300 * MIB, 0, 0);
    expect_limits(300, 500, 500 * MIB, 300 * MIB, 0);
    expect_limits(300, -1, 0, 0, 300 * MIB);
    expect_limits(1, 0, MIB, 0, 0);
}

static void test_maximum_that_is_none_leaves_the_memory_as_limit(void **state)
{
    (void)state;
    expect_limits(300, 300, 300 * MIB, 0, 0);
    expect_limits(300, 299, 300 * MIB, 0, 0);
    expect_limits(300, INT64_MAX, 300 * MIB, 0, 0);
}

static void test_memory_that_is_not_known_is_not_limited(void **state)
{
    (void)state;
    expect_limits(0, 0, 0, 0, 0);
    expect_limits(0, 500, 0, 0, 0);
    expect_limits(-1, 0, 0, 0, 0);
    expect_limits(INT64_MIN, INT64_MIN, 0, 0, 0);
    expect_limits(INT64_MAX, 0, 0, 0, 0); /* more bytes than can be written */
    expect_limits((int64_t)1 << 44, 0, 0, 0, 0);
    expect_limits(((int64_t)1 << 44) - 1, 0, (((uint64_t)1 << 44) - 1) * MIB, 0, 0);
}

static uint64_t weight_of(int64_t shares)
{
    const struct task_resources resources = { .cpu_shares = shares };
    CLEANUP(unit_properties_done) struct unit_properties properties = {};

    assert_int_equal(limits_add(&resources, &properties, NULL), 0);
    return number_of(&properties, "CPUWeight");
}

static void test_shares_become_a_weight_that_systemd_takes(void **state)
{
    (void)state;
    assert_true(weight_of(0) == 0);
    assert_true(weight_of(-5) == 0);
    assert_true(weight_of(1) == 1);
    assert_true(weight_of(2) == 1);
    assert_true(weight_of(1024) == 39);
    assert_true(weight_of(262144) == 10000);
    assert_true(weight_of(INT64_MAX) == 10000);
    for (int64_t shares = 3; shares < 300000; shares += 7) {
        assert_in_range(weight_of(shares), 1, 10000);
        assert_true(weight_of(shares) >= weight_of(shares - 1));
    }
}

static int add_cpus(const char *list, struct unit_properties *properties, struct fail *reterr)
{
    CLEANUP_FREE char *cpus = strdup(list);
    const struct task_resources resources = { .cpuset_cpus = cpus };

    return limits_add(&resources, properties, reterr);
}

static void test_cpus_become_a_bit_mask(void **state)
{
    CLEANUP(unit_properties_done) struct unit_properties properties = {}, any = {};

    (void)state;
    assert_int_equal(add_cpus("0,2-3,9", &properties, NULL), 0);
    const struct unit_property *cpus = find(&properties, "AllowedCPUs");
    assert_non_null(cpus);
    assert_int_equal(cpus->type, UNIT_PROPERTY_BYTES);
    assert_int_equal(cpus->n_bytes, 2);
    assert_memory_equal(cpus->bytes, ((const uint8_t[]){ 0x0d, 0x02 }), 2);
    assert_int_equal(add_cpus("", &any, NULL), 0);
    assert_int_equal(any.n_items, 0);
}

static void test_cpuset_that_is_none_is_refused_by_name(void **state)
{
    CLEANUP(unit_properties_done) struct unit_properties properties = {};
    CLEANUP_FAIL struct fail fail = {};

    (void)state;
    int r = add_cpus("0-", &properties, &fail);
    expect_fail(r, &fail, -EINVAL, "cpuset '0-': expected a list like 0,2-3");
    assert_null(find(&properties, "AllowedCPUs"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_memory_is_limited_as_nomad_says),
        FD_LEAK_TEST(test_maximum_that_is_none_leaves_the_memory_as_limit),
        FD_LEAK_TEST(test_memory_that_is_not_known_is_not_limited),
        FD_LEAK_TEST(test_shares_become_a_weight_that_systemd_takes),
        FD_LEAK_TEST(test_cpus_become_a_bit_mask),
        FD_LEAK_TEST(test_cpuset_that_is_none_is_refused_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
