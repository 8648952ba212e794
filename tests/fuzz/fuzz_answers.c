/* What the task side tells, of any value, as messages for the agent: which refuses the whole answer
 * for one byte that is not UTF-8, and crashes without a sub-message. */
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/utf8.h"
#include "rpc/nomad/convert.h"
#include "rpc/nomad/convert_fingerprint.h"
#include "rpc/nomad/convert_schema.h"
#include "rpc/nomad/convert_stats.h"
#include "tasks/spec/plugin_options.h"
#include "tasks/spec/task_options.h"
#include "tests/fuzz/input.h"

#define FINGERPRINTS_MAX 8

/* What is packed can be unpacked. */
static void check_packing(const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    CLEANUP_FREE uint8_t *packed = alloc_zero(size + 1, 1);

    MUST(protobuf_c_message_pack(message, packed) == size);
    ProtobufCMessage *again = protobuf_c_message_unpack(message->descriptor, NULL, size, packed);
    MUST(again != NULL);
    protobuf_c_message_free_unpacked(again, NULL);
}

static void on_fingerprint(const ProtobufCMessage *message, void *data)
{
    const Nomad__FingerprintResponse *answer = (const Nomad__FingerprintResponse *)message;

    (void)data;
    check_packing(message);
    MUST(utf8_is_valid(answer->health_description, strlen(answer->health_description)));
    for (size_t i = 0; i < answer->n_attributes; i++) {
        const char *key = answer->attributes[i]->key;
        const Nomad__Attribute *value = answer->attributes[i]->value;

        MUST(utf8_is_valid(key, strlen(key)));
        MUST(value->value_case != NOMAD__ATTRIBUTE__VALUE_STRING_VAL ||
             utf8_is_valid(value->string_val, strlen(value->string_val)));
    }
}

static void tell_fingerprint(struct input *input, struct fingerprint_told *told)
{
    CLEANUP(pairs_done) struct pairs pairs = {};
    CLEANUP_FREE char *description = input_optional(input);
    struct driver_attribute attributes[17];
    struct driver_fingerprint fingerprint = {
        .health = (enum driver_health)(input_u8(input) % DRIVER_HEALTH_MAX),
        .description = description,
        .attributes = attributes,
    };

    input_pairs(input, &pairs);
    for (; fingerprint.n_attributes < pairs.n_items; fingerprint.n_attributes++) {
        const struct pair *pair = &pairs.items[fingerprint.n_attributes];

        attributes[fingerprint.n_attributes] = (struct driver_attribute){
            .key = pair->key, .string = pair->value[0] != '\0' ? pair->value : NULL
        };
    }
    convert_fingerprint(&fingerprint, told, on_fingerprint, NULL);
}

static void tell_stats(struct input *input)
{
    struct task_stats stats = { .timestamp_usec = input_number(input, 8) };
    struct stats_message message;

    stats.measured = (unsigned)input_number(input, 2);
    stats.percent = (double)input_number(input, 8);
    stats.rss_bytes = input_number(input, 8);
    convert_stats("id", &stats, &message);
    MUST(message.cpu.n_measured_fields + message.memory.n_measured_fields ==
         (size_t)__builtin_popcount(stats.measured & ((TASK_STATS_MEMORY_SWAP << 1) - 1U)));
    check_packing(&message.response.base);
}

static void tell_exit(struct input *input)
{
    CLEANUP(strv_done) struct strv texts = {};
    Nomad__ExitResult result;
    Google__Protobuf__Timestamp at;
    CLEANUP_FREE char *error = input_optional(input);

    (void)convert_phase((enum task_phase)(input_u8(input) % TASK_PHASE_MAX));
    convert_exit(&(struct task_exit){ .exit_code = input_u8(input), .signal = input_u8(input) },
                 &result);
    check_packing(&result.base);
    convert_timestamp(input_number(input, 8), &at);
    MUST(at.nanos >= 0 && at.nanos < 1000000000);
    const char *text = convert_text(&texts, error);
    MUST(utf8_is_valid(text, strlen(text)));
}

static void tell_schema(const struct option_row *options)
{
    Hcl__Spec *spec = convert_schema(options);

    check_packing(&spec->base);
    hcl__spec__free_unpacked(spec, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct input input = { bytes, n };
    struct fingerprint_told told = {};

    switch (input_u8(&input)) {
    case 'f':
        for (size_t i = 0; i < FINGERPRINTS_MAX && input.n > 0; i++)
            tell_fingerprint(&input, &told);
        fingerprint_told_done(&told);
        break;
    case 's':
        tell_stats(&input);
        break;
    case 'o':
        tell_schema(input_u8(&input) % 2 == 0 ? task_option_rows : plugin_options);
        break;
    default:
        tell_exit(&input);
    }
    return 0;
}
