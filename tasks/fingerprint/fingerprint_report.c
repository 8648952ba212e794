#include "tasks/fingerprint/fingerprint_report.h"

#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "tasks/nspawn/nspawn_argv.h"

/* --- what may be wrong ----------------------------------------------------------------------- */

static bool is_disabled(const struct fingerprint_facts *facts)
{
    return !facts->enabled;
}

static bool is_not_booted(const struct fingerprint_facts *facts)
{
    return !facts->host.booted;
}

static bool is_without_nspawn(const struct fingerprint_facts *facts)
{
    return !facts->host.nspawn;
}

static bool is_not_root(const struct fingerprint_facts *facts)
{
    return !facts->host.root;
}

static bool is_without_cgroup2(const struct fingerprint_facts *facts)
{
    return facts->host.cgroup == CGROUP_VERSION_NONE;
}

static bool is_bus_down(const struct fingerprint_facts *facts)
{
    return !facts->bus_up;
}

static bool is_troubled(const struct fingerprint_facts *facts)
{
    return facts->answers.trouble != NULL;
}

static bool is_machined(const struct fingerprint_facts *facts, const char *load_state)
{
    return facts->answers.machined_load && strcmp(facts->answers.machined_load, load_state) == 0;
}

static bool is_machined_masked(const struct fingerprint_facts *facts)
{
    return is_machined(facts, "masked");
}

static bool is_machined_missing(const struct fingerprint_facts *facts)
{
    return is_machined(facts, "not-found");
}

static bool is_machined_broken(const struct fingerprint_facts *facts)
{
    return facts->answers.machined_load && !is_machined(facts, "loaded");
}

/* The first that applies is told, so what explains others comes before them. "Undetected" is what
 * needs an administrator to become another kind of host, "unhealthy" what may just come back. */
static const struct condition {
    bool (*applies)(const struct fingerprint_facts *facts);
    enum driver_health health;
    const char *text;
} conditions[] = {
    {is_disabled, DRIVER_UNDETECTED,
     "disabled by the plugin option enabled; set enabled = true in the agent's plugin block"},
    {is_not_booted, DRIVER_UNDETECTED,
     "PID 1 of this host is not systemd; run the Nomad agent on a host that systemd booted"},
    {is_without_nspawn, DRIVER_UNDETECTED,
     NSPAWN_ARGV_PROGRAM " is missing; install the package systemd-container"},
    {is_not_root, DRIVER_UNDETECTED,
     "the plugin does not run as root; run the Nomad agent as root"},
    {is_without_cgroup2, DRIVER_UNHEALTHY,
     "no cgroup v2 hierarchy is mounted at /sys/fs/cgroup; boot the host with the kernel argument "
     "systemd.unified_cgroup_hierarchy=1"},
    {is_bus_down, DRIVER_UNHEALTHY,
     "no connection to the system bus; check dbus.socket and dbus.service (systemctl status "
     "dbus.socket dbus.service)"},
    {is_troubled, DRIVER_UNHEALTHY, NULL},
    {is_machined_masked, DRIVER_UNHEALTHY,
     "systemd-machined.service is masked; run systemctl unmask systemd-machined.service"},
    {is_machined_missing, DRIVER_UNHEALTHY,
     "systemd-machined.service is not installed; install the package systemd-container"},
    {is_machined_broken, DRIVER_UNHEALTHY,
     "systemd can't load systemd-machined.service; see systemctl status systemd-machined.service"},
};

static const struct condition *find_condition(const struct fingerprint_facts *facts)
{
    for (size_t i = 0; i < sizeof(conditions) / sizeof(conditions[0]); i++)
        if (conditions[i].applies(facts))
            return &conditions[i];
    return NULL;
}

/* --- attributes ------------------------------------------------------------------------------ */

static void add_string(struct fingerprint_report *report, const char *key, const char *value)
{
    report->attributes[report->fingerprint.n_attributes++] =
            (struct driver_attribute){.key = key, .string = value};
}

static void add_bool(struct fingerprint_report *report, const char *key, bool value)
{
    report->attributes[report->fingerprint.n_attributes++] =
            (struct driver_attribute){.key = key, .boolean = value};
}

static void add_attributes(struct fingerprint_report *report, const struct fingerprint_facts *facts)
{
    add_bool(report, "driver.nspawn", true);
    if (facts->answers.version) {
        /* Distributions put their own versions behind systemd's: "252.39-1~deb12u2". Constraints
         * on the version are written against the first number, as systemctl --version begins. */
        report->version = alloc_strndup(facts->answers.version,
                                        strspn(facts->answers.version, "0123456789"));
        add_string(report, "driver.nspawn.version", report->version);
    }
    if (facts->answers.machined_load)
        add_bool(report, "driver.nspawn.machined", is_machined(facts, "loaded"));
    add_bool(report, "driver.nspawn.user_namespaces", facts->host.user_namespaces);
    add_bool(report, "driver.nspawn.idmapped_mounts", facts->host.idmapped_mounts);
    add_string(report, "driver.nspawn.cgroup", cgroup_version_name(facts->host.cgroup));
}

/* --- exported -------------------------------------------------------------------------------- */

static void set_pointers(struct fingerprint_report *report)
{
    report->fingerprint.description = report->description;
    report->fingerprint.attributes = report->attributes;
}

bool fingerprint_report_make(const struct fingerprint_facts *facts, struct fingerprint_report *ret)
{
    const struct condition *condition = find_condition(facts);
    if (!condition && (!facts->answers.version || !facts->answers.machined_load))
        return false;
    *ret = (struct fingerprint_report){0};
    ret->fingerprint.health = condition ? condition->health : DRIVER_HEALTHY;
    ret->description = !condition         ? alloc_strdup("Healthy")
                       : condition->text  ? alloc_strdup(condition->text)
                                          : alloc_strdup(facts->answers.trouble);
    if (ret->fingerprint.health != DRIVER_UNDETECTED)
        add_attributes(ret, facts);
    set_pointers(ret);
    return true;
}

static bool is_same_attribute(const struct driver_attribute *a, const struct driver_attribute *b)
{
    if (strcmp(a->key, b->key) != 0 || !a->string != !b->string)
        return false;
    return a->string ? strcmp(a->string, b->string) == 0 : a->boolean == b->boolean;
}

static bool is_same(const struct fingerprint_report *a, const struct fingerprint_report *b)
{
    if (!a->description || !b->description)
        return !a->description == !b->description;
    if (a->fingerprint.health != b->fingerprint.health ||
        a->fingerprint.n_attributes != b->fingerprint.n_attributes ||
        strcmp(a->description, b->description) != 0)
        return false;
    for (size_t i = 0; i < a->fingerprint.n_attributes; i++)
        if (!is_same_attribute(&a->attributes[i], &b->attributes[i]))
            return false;
    return true;
}

bool fingerprint_report_replace(struct fingerprint_report *to, struct fingerprint_report *from)
{
    bool differed = !is_same(to, from);
    fingerprint_report_done(to);
    *to = *from;
    set_pointers(to);
    *from = (struct fingerprint_report){0};
    return differed;
}

void fingerprint_report_done(struct fingerprint_report *report)
{
    free(report->description);
    free(report->version);
    *report = (struct fingerprint_report){0};
}
