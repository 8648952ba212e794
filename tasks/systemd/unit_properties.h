/* What is asked of systemd for a transient unit: a list of properties {name, type, value}, to which
 * each room adds what it knows of (limits, devices, filters), and which unit_call writes out as it
 * is, in this order.
 *
 * In memory of the caller; zero-filled is empty. Names are literals, values are owned copies. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "reactor/strv.h"

enum unit_property_type {
    UNIT_PROPERTY_BOOL,
    UNIT_PROPERTY_U64,
    UNIT_PROPERTY_STRING,
    UNIT_PROPERTY_STRINGS,
    UNIT_PROPERTY_BYTES,
    UNIT_PROPERTY_FD,
    UNIT_PROPERTY_EXEC,
    UNIT_PROPERTY_EXIT_CODES,
    UNIT_PROPERTY_LISTEN,
    UNIT_PROPERTY_TYPE_MAX
};

struct unit_property {
    const char *name;
    enum unit_property_type type;
    uint64_t number;     /* BOOL, U64 */
    char *string;        /* STRING */
    struct strv strings; /* STRINGS, EXEC, LISTEN */
    uint8_t *bytes;      /* BYTES */
    size_t n_bytes;
    int fd; /* FD */
};

struct unit_properties {
    struct unit_property *items;
    size_t n_items;
};

void unit_properties_add_bool(struct unit_properties *properties, const char *name, bool value);
void unit_properties_add_u64(struct unit_properties *properties, const char *name, uint64_t value);
void unit_properties_add_string(struct unit_properties *properties, const char *name,
                                const char *value);
void unit_properties_add_strings(struct unit_properties *properties, const char *name,
                                 const struct strv *values);
/* A bit mask, as AllowedCPUs= takes one. */
void unit_properties_add_bytes(struct unit_properties *properties, const char *name,
                               const uint8_t *bytes, size_t n_bytes);
/* A duplicate of `fd`, which stays with the caller. Negative errno: there is none. */
int unit_properties_add_fd(struct unit_properties *properties, const char *name, int fd);

/* As ExecStart=, but that each argument is taken as it is: otherwise systemd puts variables of its
 * own in for $NAME and ${NAME}, which here are the job's and mean those inside. */
void unit_properties_add_exec(struct unit_properties *properties, const struct strv *argv);
/* All codes are a success and no signal is: the unit then stays "active (exited)" with its result
 * and descriptors until we fetched them, while a killed nspawn still makes systemd kill what it
 * left behind. */
void unit_properties_add_exit_codes(struct unit_properties *properties);
/* As ListenStream=: "127.0.0.1:80". */
void unit_properties_add_listen(struct unit_properties *properties, const struct strv *addresses);

/* Puts all of `from` at the end of `to`; `from` is empty afterwards. */
void unit_properties_take(struct unit_properties *to, struct unit_properties *from);
/* Writes them as one a(sv). */
int unit_properties_append(const struct unit_properties *properties, sd_bus_message *message);
void unit_properties_done(struct unit_properties *properties);
