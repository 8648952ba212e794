#include "tasks/systemd/unit_properties.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

/* --- the list -------------------------------------------------------------------------------- */

static struct unit_property *add(struct unit_properties *properties, const char *name,
                                 enum unit_property_type type)
{
    size_t n = properties->n_items + 1;

    properties->items = alloc_grow(properties->items, n, sizeof(properties->items[0]));
    struct unit_property *property = &properties->items[properties->n_items++];
    *property = (struct unit_property){ .name = name, .type = type, .fd = -EBADF };
    return property;
}

void unit_properties_add_bool(struct unit_properties *properties, const char *name, bool value)
{
    add(properties, name, UNIT_PROPERTY_BOOL)->number = value;
}

void unit_properties_add_u64(struct unit_properties *properties, const char *name, uint64_t value)
{
    add(properties, name, UNIT_PROPERTY_U64)->number = value;
}

void unit_properties_add_string(struct unit_properties *properties, const char *name,
                                const char *value)
{
    add(properties, name, UNIT_PROPERTY_STRING)->string = alloc_strdup(value);
}

void unit_properties_add_strings(struct unit_properties *properties, const char *name,
                                 const struct strv *values)
{
    strv_copy(&add(properties, name, UNIT_PROPERTY_STRINGS)->strings, values);
}

void unit_properties_add_bytes(struct unit_properties *properties, const char *name,
                               const uint8_t *bytes, size_t n_bytes)
{
    struct unit_property *property = add(properties, name, UNIT_PROPERTY_BYTES);

    property->bytes = alloc_memdup(bytes, n_bytes);
    property->n_bytes = n_bytes;
}

int unit_properties_add_fd(struct unit_properties *properties, const char *name, int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

    if (copy < 0)
        return -errno;
    add(properties, name, UNIT_PROPERTY_FD)->fd = copy;
    return 0;
}

void unit_properties_add_exec(struct unit_properties *properties, const struct strv *argv)
{
    strv_copy(&add(properties, "ExecStartEx", UNIT_PROPERTY_EXEC)->strings, argv);
}

void unit_properties_add_exit_codes(struct unit_properties *properties)
{
    (void)add(properties, "SuccessExitStatus", UNIT_PROPERTY_EXIT_CODES);
}

void unit_properties_add_listen(struct unit_properties *properties, const struct strv *addresses)
{
    strv_copy(&add(properties, "Listen", UNIT_PROPERTY_LISTEN)->strings, addresses);
}

void unit_properties_take(struct unit_properties *to, struct unit_properties *from)
{
    for (size_t i = 0; i < from->n_items; i++)
        *add(to, from->items[i].name, from->items[i].type) = from->items[i];
    free(from->items);
    *from = (struct unit_properties){};
}

void unit_properties_done(struct unit_properties *properties)
{
    for (size_t i = 0; i < properties->n_items; i++) {
        struct unit_property *property = &properties->items[i];

        free(property->string);
        strv_done(&property->strings);
        free(property->bytes);
        (void)close_fd(property->fd);
    }
    free(properties->items);
    *properties = (struct unit_properties){};
}

/* --- as a message ---------------------------------------------------------------------------- */

static int write_bool(sd_bus_message *m, const struct unit_property *property)
{
    return sd_bus_message_append(m, "b", property->number != 0);
}

static int write_u64(sd_bus_message *m, const struct unit_property *property)
{
    return sd_bus_message_append(m, "t", property->number);
}

static int write_string(sd_bus_message *m, const struct unit_property *property)
{
    return sd_bus_message_append(m, "s", property->string);
}

static int write_strings(sd_bus_message *m, const struct unit_property *property)
{
    return sd_bus_message_append_strv(m, property->strings.items);
}

static int write_bytes(sd_bus_message *m, const struct unit_property *property)
{
    return sd_bus_message_append_array(m, 'y', property->bytes, property->n_bytes);
}

static int write_fd(sd_bus_message *m, const struct unit_property *property)
{
    return sd_bus_message_append(m, "h", property->fd);
}

static int write_exec(sd_bus_message *m, const struct unit_property *property)
{
    int r = sd_bus_message_open_container(m, 'a', "(sasas)");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'r', "sasas");
    if (r >= 0)
        r = sd_bus_message_append(m, "s", property->strings.items[0]);
    if (r >= 0)
        r = sd_bus_message_append_strv(m, property->strings.items);
    if (r >= 0)
        r = sd_bus_message_append(m, "as", 1, "no-env-expand");
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int write_exit_codes(sd_bus_message *m, const struct unit_property *property)
{
    int32_t codes[256];

    (void)property;
    for (int32_t i = 0; i < 256; i++)
        codes[i] = i;
    int r = sd_bus_message_open_container(m, 'r', "aiai");
    if (r >= 0)
        r = sd_bus_message_append_array(m, 'i', codes, sizeof(codes));
    if (r >= 0)
        r = sd_bus_message_append_array(m, 'i', NULL, 0);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int write_listen(sd_bus_message *m, const struct unit_property *property)
{
    int r = sd_bus_message_open_container(m, 'a', "(ss)");
    for (size_t i = 0; r >= 0 && i < property->strings.n_items; i++)
        r = sd_bus_message_append(m, "(ss)", "Stream", property->strings.items[i]);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static const struct {
    const char *signature;
    int (*write)(sd_bus_message *m, const struct unit_property *property);
} types[UNIT_PROPERTY_TYPE_MAX] = {
    [UNIT_PROPERTY_BOOL] = { "b", write_bool },
    [UNIT_PROPERTY_U64] = { "t", write_u64 },
    [UNIT_PROPERTY_STRING] = { "s", write_string },
    [UNIT_PROPERTY_STRINGS] = { "as", write_strings },
    [UNIT_PROPERTY_BYTES] = { "ay", write_bytes },
    [UNIT_PROPERTY_FD] = { "h", write_fd },
    [UNIT_PROPERTY_EXEC] = { "a(sasas)", write_exec },
    [UNIT_PROPERTY_EXIT_CODES] = { "(aiai)", write_exit_codes },
    [UNIT_PROPERTY_LISTEN] = { "a(ss)", write_listen },
};

static int append(const struct unit_property *property, sd_bus_message *m)
{
    assert(property->type < UNIT_PROPERTY_TYPE_MAX);
    int r = sd_bus_message_open_container(m, 'r', "sv");
    if (r >= 0)
        r = sd_bus_message_append(m, "s", property->name);
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'v', types[property->type].signature);
    if (r >= 0)
        r = types[property->type].write(m, property);
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

int unit_properties_append(const struct unit_properties *properties, sd_bus_message *message)
{
    int r = sd_bus_message_open_container(message, 'a', "(sv)");
    for (size_t i = 0; r >= 0 && i < properties->n_items; i++)
        r = append(&properties->items[i], message);
    return r < 0 ? r : sd_bus_message_close_container(message);
}
