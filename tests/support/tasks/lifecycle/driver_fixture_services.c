#include "tests/support/tasks/lifecycle/driver_fixture_services.h"

#include <errno.h>
#include <string.h>

#define MACHINED "org.freedesktop.machine1"
#define SYSTEMD  "org.freedesktop.systemd1"

/* The one image that machined knows is the fixture's, whatever its name is. */
static int on_get_image(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                        sd_bus_error *error, void *data)
{
    (void)fake, (void)call, (void)error, (void)data;
    return sd_bus_message_append(reply, "o", "/org/freedesktop/machine1/image/it");
}

static int on_get_machine(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                          sd_bus_error *error, void *data)
{
    const struct driver_fixture *f = data;

    (void)fake, (void)call;
    if (fake_systemd_main_pid(f->systemd, DRIVER_FIXTURE_UNIT) == 0)
        return sd_bus_error_set(error, MACHINED ".NoSuchMachine", "no such machine");
    return sd_bus_message_append(reply, "o", "/org/freedesktop/machine1/machine/it");
}

static int on_get(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                  sd_bus_error *error, void *data)
{
    struct driver_fixture *f = data;
    const char *interface, *property;

    (void)fake;
    int r = sd_bus_message_read(call, "ss", &interface, &property);
    if (r < 0)
        return r;
    if (strcmp(interface, MACHINED ".Image") == 0)
        return sd_bus_message_append(reply, "v", "s", f->image);
    if (strcmp(interface, MACHINED ".Machine") == 0)
        return sd_bus_message_append(reply, "v", "u", (uint32_t)fake_nspawn_leader(f->nspawn));
    if (strcmp(property, "ActiveState") == 0)
        return sd_bus_message_append(reply, "v", "s", f->networkd_state);
    if (strcmp(property, "LoadState") == 0)
        return sd_bus_message_append(reply, "v", "s", "loaded");
    if (strcmp(property, "Version") == 0)
        return sd_bus_message_append(reply, "v", "s", "252");
    return sd_bus_error_set(error, SD_BUS_ERROR_UNKNOWN_PROPERTY, property);
}

static int on_reload(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                     sd_bus_error *error, void *data)
{
    (void)fake, (void)call, (void)reply, (void)error, (void)data;
    return 0;
}

void driver_fixture_answer(struct driver_fixture *f)
{
    fake_bus_method(f->fake, "GetImage", on_get_image, f);
    fake_bus_method(f->fake, "GetMachine", on_get_machine, f);
    fake_bus_method(f->fake, "Get", on_get, f);
    fake_bus_method(f->fake, "Reload", on_reload, f);
}
