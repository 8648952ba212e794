#include "rpc/nomad/convert_fingerprint.h"

#include <assert.h>
#include <string.h>

#include "driver.pb-c.h"
#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "rpc/nomad/convert.h"

/* An entry of the map with what it points at. */
struct attribute {
    Nomad__FingerprintResponse__AttributesEntry entry;
    Nomad__Attribute value;
};

static Nomad__FingerprintResponse__HealthState convert_health(enum driver_health health)
{
    static const Nomad__FingerprintResponse__HealthState states[DRIVER_HEALTH_MAX] = {
        [DRIVER_UNDETECTED] = NOMAD__FINGERPRINT_RESPONSE__HEALTH_STATE__UNDETECTED,
        [DRIVER_UNHEALTHY] = NOMAD__FINGERPRINT_RESPONSE__HEALTH_STATE__UNHEALTHY,
        [DRIVER_HEALTHY] = NOMAD__FINGERPRINT_RESPONSE__HEALTH_STATE__HEALTHY,
    };

    assert(health < DRIVER_HEALTH_MAX);
    return states[health];
}

static void attribute_init(struct attribute *attribute, const char *key)
{
    attribute->entry = (Nomad__FingerprintResponse__AttributesEntry)
        NOMAD__FINGERPRINT_RESPONSE__ATTRIBUTES_ENTRY__INIT;
    attribute->value = (Nomad__Attribute)NOMAD__ATTRIBUTE__INIT;
    attribute->entry.key = key;
    attribute->entry.value = &attribute->value;
}

static void set_string(struct attribute *attribute, const char *value)
{
    attribute->value.value_case = NOMAD__ATTRIBUTE__VALUE_STRING_VAL;
    attribute->value.string_val = value;
}

static void set_boolean(struct attribute *attribute, bool value)
{
    attribute->value.value_case = NOMAD__ATTRIBUTE__VALUE_BOOL_VAL;
    attribute->value.bool_val = value;
}

static bool has_key(const struct driver_fingerprint *fingerprint, const char *key)
{
    for (size_t i = 0; i < fingerprint->n_attributes; i++)
        if (strcmp(fingerprint->attributes[i].key, key) == 0)
            return true;
    return false;
}

/* Fills at most n_attributes + told->keys.n_items of `attributes`; answers how many. */
static size_t fill(const struct driver_fingerprint *fingerprint,
                   const struct fingerprint_told *told, struct attribute *attributes,
                   struct strv *texts)
{
    size_t n = 0;

    for (size_t i = 0; i < fingerprint->n_attributes; i++) {
        const struct driver_attribute *from = &fingerprint->attributes[i];
        attribute_init(&attributes[n], convert_text(texts, from->key));
        if (from->string != NULL)
            set_string(&attributes[n++], convert_text(texts, from->string));
        else
            set_boolean(&attributes[n++], from->boolean);
    }
    for (size_t i = 0; i < told->keys.n_items; i++) {
        if (has_key(fingerprint, told->keys.items[i]))
            continue;
        attribute_init(&attributes[n], convert_text(texts, told->keys.items[i]));
        set_string(&attributes[n++], "");
    }
    return n;
}

static void remember(struct fingerprint_told *told, const struct driver_fingerprint *fingerprint)
{
    for (size_t i = 0; i < fingerprint->n_attributes; i++)
        if (!strv_contains(&told->keys, fingerprint->attributes[i].key))
            strv_push(&told->keys, fingerprint->attributes[i].key);
}

void convert_fingerprint(const struct driver_fingerprint *fingerprint,
                         struct fingerprint_told *told,
                         void (*send)(const ProtobufCMessage *message, void *data), void *data)
{
    size_t n_max = fingerprint->n_attributes + told->keys.n_items;
    CLEANUP_FREE struct attribute *attributes = alloc_zero(n_max + 1, sizeof(*attributes));
    CLEANUP_FREE Nomad__FingerprintResponse__AttributesEntry **entries =
        (Nomad__FingerprintResponse__AttributesEntry **)alloc_zero(n_max + 1, sizeof(*entries));
    CLEANUP(strv_done) struct strv texts = {};
    Nomad__FingerprintResponse message = NOMAD__FINGERPRINT_RESPONSE__INIT;

    message.n_attributes = fill(fingerprint, told, attributes, &texts);
    for (size_t i = 0; i < message.n_attributes; i++)
        entries[i] = &attributes[i].entry;
    message.attributes = entries;
    message.health = convert_health(fingerprint->health);
    message.health_description = convert_text(&texts, fingerprint->description);
    remember(told, fingerprint);
    send(&message.base, data);
}

void fingerprint_told_done(struct fingerprint_told *told)
{
    strv_done(&told->keys);
}
