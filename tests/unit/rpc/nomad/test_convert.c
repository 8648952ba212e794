#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/cleanup.h"
#include "reactor/utf8.h"
#include "rpc/nomad/convert.h"
#include "rpc/nomad/convert_fingerprint.h"
#include "rpc/nomad/convert_stats.h"
#include "rpc/nomad/convert_topology.h"

#define CLEANUP_STRV CLEANUP(strv_done)

static uint64_t duration(int64_t seconds, int32_t nanos)
{
    Google__Protobuf__Duration message = GOOGLE__PROTOBUF__DURATION__INIT;

    message.seconds = seconds;
    message.nanos = nanos;
    return convert_duration_usec(&message);
}

static void test_any_duration_becomes_a_time_to_wait(void **state)
{
    (void)state;
    assert_int_equal(convert_duration_usec(NULL), 0);
    assert_int_equal(duration(0, 0), 0);
    assert_int_equal(duration(5, 0), 5000000);
    assert_int_equal(duration(1, 500000000), 1500000);
    assert_int_equal(duration(0, 999), 0);
    assert_int_equal(duration(-1, 0), 0);
    assert_int_equal(duration(0, -1), 0);
    assert_int_equal(duration(INT64_MIN, INT32_MIN), 0);
    assert_int_equal(duration(INT64_MAX, INT32_MAX), CONVERT_DURATION_USEC_MAX);
}

static void test_a_time_not_yet_there_is_gos_zero_time(void **state)
{
    (void)state;
    Google__Protobuf__Timestamp timestamp;

    convert_timestamp(0, &timestamp);
    assert_int_equal(timestamp.seconds, INT64_C(-62135596800));
    assert_int_equal(timestamp.nanos, 0);
    convert_timestamp(1700000000123456, &timestamp);
    assert_int_equal(timestamp.seconds, 1700000000);
    assert_int_equal(timestamp.nanos, 123456000);
}

static void test_exit_keeps_code_signal_and_oom(void **state)
{
    (void)state;
    const struct task_exit exit = { .exit_code = 137, .signal = 9, .oom_killed = true };
    Nomad__ExitResult result;

    convert_exit(&exit, &result);
    assert_int_equal(result.exit_code, 137);
    assert_int_equal(result.signal, 9);
    assert_true(result.oom_killed);
}

static void test_every_phase_has_a_state(void **state)
{
    (void)state;
    assert_int_equal(convert_phase(TASK_PHASE_UNKNOWN), NOMAD__TASK_STATE__UNKNOWN);
    assert_int_equal(convert_phase(TASK_PHASE_RUNNING), NOMAD__TASK_STATE__RUNNING);
    assert_int_equal(convert_phase(TASK_PHASE_EXITED), NOMAD__TASK_STATE__EXITED);
}

static void test_text_that_is_not_utf8_is_cleaned(void **state)
{
    (void)state;
    CLEANUP_STRV struct strv texts = {};
    const char *good = "gr\xc3\xbc\xc3\x9f dich";

    assert_ptr_equal(convert_text(&texts, good), good);
    assert_string_equal(convert_text(&texts, NULL), "");
    assert_int_equal(texts.n_items, 0);
    const char *cleaned = convert_text(&texts, "a\xff" "b");
    assert_true(utf8_is_valid(cleaned, strlen(cleaned)));
    assert_string_equal(cleaned, "a\xef\xbf\xbd" "b");
}

/* --- topology -------------------------------------------------------------------------------- */

static double mhz_of(size_t n, const uint64_t (*speeds)[3], uint64_t override)
{
    Nomad__ClientTopology topology = NOMAD__CLIENT_TOPOLOGY__INIT;
    Nomad__ClientTopologyCore cores[4], *list[4];

    for (size_t i = 0; i < n; i++) {
        cores[i] = (Nomad__ClientTopologyCore)NOMAD__CLIENT_TOPOLOGY_CORE__INIT;
        cores[i].base_speed = speeds[i][0];
        cores[i].max_speed = speeds[i][1];
        cores[i].guess_speed = speeds[i][2];
        list[i] = &cores[i];
    }
    topology.n_cores = n;
    topology.cores = list;
    topology.override_total_compute = override;
    return convert_core_mhz(&topology);
}

static void test_a_core_is_as_fast_as_the_agent_says(void **state)
{
    (void)state;
    const uint64_t speeds[][3] = { { 2000, 4000, 1 }, { 0, 3000, 1 }, { 0, 0, 1000 } };
    const uint64_t huge[][3] = { { UINT64_MAX, 0, 0 }, { UINT64_MAX, 0, 0 } };

    assert_float_equal(convert_core_mhz(NULL), 0, 0);
    assert_float_equal(mhz_of(0, NULL, 5000), 0, 0);
    assert_float_equal(mhz_of(3, speeds, 0), 2000, 0.001);
    assert_float_equal(mhz_of(3, speeds, 9000), 3000, 0.001);
    assert_true(mhz_of(2, huge, 0) > 1e19);
}

/* --- statistics ------------------------------------------------------------------------------ */

static void test_stats_name_what_was_measured_and_nothing_else(void **state)
{
    (void)state;
    const struct task_stats stats = {
        .timestamp_usec = 1700000000000000,
        .measured = TASK_STATS_CPU_PERCENT | TASK_STATS_CPU_USER | TASK_STATS_MEMORY_USAGE |
                    TASK_STATS_MEMORY_SWAP,
        .percent = 50,
        .user_percent = 30,
        .usage_bytes = 4096,
        .swap_bytes = 1,
    };
    struct stats_message message;

    convert_stats("id", &stats, &message);
    const Nomad__TaskStats *out = message.response.stats;
    assert_string_equal(out->id, "id");
    assert_int_equal(out->timestamp->seconds, 1700000000);
    const Nomad__CPUUsage *cpu = out->agg_resource_usage->cpu;
    assert_int_equal(cpu->n_measured_fields, 2);
    assert_int_equal(cpu->measured_fields[0], NOMAD__CPUUSAGE__FIELDS__USER_MODE);
    assert_int_equal(cpu->measured_fields[1], NOMAD__CPUUSAGE__FIELDS__PERCENT);
    assert_float_equal(cpu->percent, 50, 0);
    const Nomad__MemoryUsage *memory = out->agg_resource_usage->memory;
    assert_int_equal(memory->n_measured_fields, 2);
    assert_int_equal(memory->measured_fields[0], NOMAD__MEMORY_USAGE__FIELDS__USAGE);
    assert_int_equal(memory->measured_fields[1], NOMAD__MEMORY_USAGE__FIELDS__SWAP);
    assert_int_equal(memory->usage, 4096);
}

static void test_every_measured_bit_is_told(void **state)
{
    (void)state;
    for (int bit = 0; bit <= 10; bit++) {
        const struct task_stats stats = { .measured = 1U << bit };
        struct stats_message message;
        convert_stats("id", &stats, &message);
        assert_int_equal(message.cpu.n_measured_fields + message.memory.n_measured_fields, 1);
    }
}

static void test_stats_of_nothing_still_hold_what_the_agent_needs(void **state)
{
    (void)state;
    const struct task_stats stats = {};
    struct stats_message message;

    convert_stats("", &stats, &message);
    size_t n_bytes = nomad__task_stats_response__get_packed_size(&message.response);
    CLEANUP_FREE uint8_t *bytes = malloc(n_bytes);
    nomad__task_stats_response__pack(&message.response, bytes);
    Nomad__TaskStatsResponse *out = nomad__task_stats_response__unpack(NULL, n_bytes, bytes);
    assert_non_null(out->stats->timestamp);
    assert_non_null(out->stats->agg_resource_usage->cpu);
    assert_non_null(out->stats->agg_resource_usage->memory);
    nomad__task_stats_response__free_unpacked(out, NULL);
}

/* --- fingerprint ----------------------------------------------------------------------------- */

/* Packs, as a call does, so that the test sees what the agent sees. */
static void on_message(const ProtobufCMessage *message, void *data)
{
    Nomad__FingerprintResponse **ret = data;
    size_t n_bytes = protobuf_c_message_get_packed_size(message);
    CLEANUP_FREE uint8_t *bytes = malloc(n_bytes + 1);

    protobuf_c_message_pack(message, bytes);
    *ret = nomad__fingerprint_response__unpack(NULL, n_bytes, bytes);
    assert_non_null(*ret);
}

static const Nomad__Attribute *find(const Nomad__FingerprintResponse *message, const char *key)
{
    for (size_t i = 0; i < message->n_attributes; i++)
        if (strcmp(message->attributes[i]->key, key) == 0)
            return message->attributes[i]->value;
    return NULL;
}

static void test_fingerprint_tells_attributes_and_takes_them_back(void **state)
{
    (void)state;
    const struct driver_attribute attributes[] = {
        { .key = "driver.nspawn", .boolean = true },
        { .key = "driver.nspawn.machined", .boolean = false },
        { .key = "driver.nspawn.version", .string = "252" },
    };
    const struct driver_fingerprint healthy = {
        .health = DRIVER_HEALTHY,
        .description = "Healthy",
        .attributes = attributes,
        .n_attributes = 3,
    };
    const struct driver_fingerprint lost = {
        .health = DRIVER_UNDETECTED,
        .description = "gone \xff",
        .attributes = attributes,
        .n_attributes = 1,
    };
    struct fingerprint_told told = {};
    Nomad__FingerprintResponse *message = NULL;

    convert_fingerprint(&healthy, &told, on_message, &message);
    assert_int_equal(message->health, NOMAD__FINGERPRINT_RESPONSE__HEALTH_STATE__HEALTHY);
    assert_string_equal(message->health_description, "Healthy");
    assert_int_equal(message->n_attributes, 3);
    assert_true(find(message, "driver.nspawn")->bool_val);
    assert_int_equal(find(message, "driver.nspawn.machined")->value_case,
                     NOMAD__ATTRIBUTE__VALUE_BOOL_VAL);
    assert_false(find(message, "driver.nspawn.machined")->bool_val);
    assert_string_equal(find(message, "driver.nspawn.version")->string_val, "252");
    nomad__fingerprint_response__free_unpacked(message, NULL);

    convert_fingerprint(&lost, &told, on_message, &message);
    assert_int_equal(message->health, NOMAD__FINGERPRINT_RESPONSE__HEALTH_STATE__UNDETECTED);
    assert_string_equal(message->health_description, "gone \xef\xbf\xbd");
    assert_int_equal(message->n_attributes, 3);
    assert_true(find(message, "driver.nspawn")->bool_val);
    assert_int_equal(find(message, "driver.nspawn.version")->value_case,
                     NOMAD__ATTRIBUTE__VALUE_STRING_VAL);
    assert_string_equal(find(message, "driver.nspawn.version")->string_val, "");
    nomad__fingerprint_response__free_unpacked(message, NULL);
    fingerprint_told_done(&told);
}

static void test_fingerprint_without_attributes(void **state)
{
    (void)state;
    const struct driver_fingerprint none = { .health = DRIVER_UNHEALTHY, .description = NULL };
    struct fingerprint_told told = {};
    Nomad__FingerprintResponse *message = NULL;

    convert_fingerprint(&none, &told, on_message, &message);
    assert_int_equal(message->health, NOMAD__FINGERPRINT_RESPONSE__HEALTH_STATE__UNHEALTHY);
    assert_int_equal(message->n_attributes, 0);
    nomad__fingerprint_response__free_unpacked(message, NULL);
    fingerprint_told_done(&told);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_duration_becomes_a_time_to_wait),
        cmocka_unit_test(test_a_time_not_yet_there_is_gos_zero_time),
        cmocka_unit_test(test_exit_keeps_code_signal_and_oom),
        cmocka_unit_test(test_every_phase_has_a_state),
        cmocka_unit_test(test_text_that_is_not_utf8_is_cleaned),
        cmocka_unit_test(test_a_core_is_as_fast_as_the_agent_says),
        cmocka_unit_test(test_stats_name_what_was_measured_and_nothing_else),
        cmocka_unit_test(test_every_measured_bit_is_told),
        cmocka_unit_test(test_stats_of_nothing_still_hold_what_the_agent_needs),
        cmocka_unit_test(test_fingerprint_tells_attributes_and_takes_them_back),
        cmocka_unit_test(test_fingerprint_without_attributes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
