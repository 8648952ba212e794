#include "tests/support/tasks/network/networks_fixture.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tests/support/event.h"
#include "tests/support/scratch_dir.h"

#define SCRIPT_BYTES_MAX ((size_t)64 * 1024)

/* What it was told has its name only when it is whole. */
#define NFT                                                                \
    "#!/bin/sh\n"                                                          \
    "cd '%s' || exit 9\n"                                                  \
    "[ \"$*\" = '-f -' ] || { echo \"arguments: $*\" >&2; exit 9; }\n"     \
    "n=$(($(ls said | wc -l) + 1))\n"                                      \
    "cat > told\n"                                                         \
    "mv told said/$n\n"                                                    \
    "[ ! -p hold ] || read -r _ < hold\n"                                  \
    "for f in fail-*; do\n"                                                \
    "  [ ! -e $f ] || { cat $f >&2; rm $f; exit 1; }\n"                    \
    "done\n"

static void make_dir(const char *dir, const char *name)
{
    CLEANUP_FREE char *path = scratch_dir_path(dir, name);

    assert_int_equal(mkdir(path, 0755), 0);
}

/* The one of an earlier test is not before ours. */
static void put_first(const char *dir)
{
    static char *path_before;

    if (path_before == NULL)
        path_before = alloc_strdup(getenv("PATH"));
    CLEANUP_FREE char *path = alloc_printf("%s/bin:%s", dir, path_before);
    assert_int_equal(setenv("PATH", path, true), 0);
}

void networks_fixture_init(struct networks_fixture *f)
{
    *f = (struct networks_fixture){ .dir = scratch_dir_new() };
    CLEANUP_FREE char *program = scratch_dir_path(f->dir, "bin/nft");
    CLEANUP_FREE char *text = alloc_printf(NFT, f->dir);

    make_dir(f->dir, "bin");
    make_dir(f->dir, "said");
    make_dir(f->dir, "run");
    f->root = scratch_dir_path(f->dir, "run");
    scratch_dir_write(f->dir, "bin/nft", text);
    assert_int_equal(chmod(program, 0755), 0);
    put_first(f->dir);
    assert_int_equal(address_parse("10.187.0.0/16", &f->config.pool), 0);
    assert_int_equal(address_parse("fd00:187::/96", &f->config.pool6), 0);
    assert_true(sd_event_new(&f->event) >= 0);
    f->networks = networks_new(f->event, &f->config, f->root);
}

void networks_fixture_done(struct networks_fixture *f)
{
    f->networks = networks_free(f->networks);
    f->event = sd_event_unref(f->event);
    free(f->root);
    scratch_dir_free(f->dir);
}

void networks_fixture_restart(struct networks_fixture *f)
{
    networks_free(f->networks);
    f->networks = networks_new(f->event, &f->config, f->root);
}

struct network_record networks_fixture_record(const struct networks_fixture *f,
                                              const char *machine, const char *share)
{
    CLEANUP_FREE char *path = scratch_dir_path(f->root, machine);

    (void)mkdir(path, 0755); /* may be there */
    return (struct network_record){
        .machine = alloc_strdup(machine),
        .link = alloc_strdup("host0"),
        .share = share != NULL ? alloc_strdup(share) : NULL,
        .is_zone = share != NULL,
    };
}

void networks_fixture_port(struct network_record *record, const char *host, uint16_t host_port,
                           uint16_t port)
{
    struct network_port one = {
        .label = alloc_strdup("http"),
        .host_port = host_port,
        .port = port,
    };

    if (host != NULL)
        assert_int_equal(address_parse(host, &one.host), 0);
    record->ports = alloc_grow(record->ports, record->n_ports + 1, sizeof(*record->ports));
    record->ports[record->n_ports++] = one;
}

void networks_fixture_set(struct networks_fixture *f, struct network_record *record)
{
    CLEANUP_FAIL struct fail fail = {};

    if (networks_set(f->networks, record, &fail) < 0)
        fail_msg("%s", fail_text(&fail));
    assert_null(record->machine);
}

void networks_fixture_lease(struct networks_fixture *f, const char *machine, const char *share,
                            struct address *ret)
{
    struct network_record record = networks_fixture_record(f, machine, share);
    CLEANUP_FAIL struct fail fail = {};

    if (networks_lease(f->networks, share, &record.lease, &fail) < 0)
        fail_msg("%s", fail_text(&fail));
    *ret = record.addresses[NETWORK_RECORD_IPV4] = record.lease;
    networks_fixture_set(f, &record);
}

/* --- nft ------------------------------------------------------------------------------------- */

size_t networks_fixture_n_said(const struct networks_fixture *f)
{
    CLEANUP_FREE char *path = scratch_dir_path(f->dir, "said");

    return scratch_dir_count(path);
}

char *networks_fixture_said(const struct networks_fixture *f, size_t n)
{
    CLEANUP_FREE char *path = alloc_printf("%s/said/%zu", f->dir, n);
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text = alloc_zero(SCRIPT_BYTES_MAX, 1);

    assert_true(fd >= 0);
    assert_true(read(fd, text, SCRIPT_BYTES_MAX - 1) >= 0);
    return text;
}

void networks_fixture_fail(const struct networks_fixture *f, const char *text, unsigned n_times)
{
    for (unsigned i = 0; i < n_times; i++) {
        CLEANUP_FREE char *name = alloc_printf("fail-%u", i);
        scratch_dir_write(f->dir, name, text);
    }
}

void networks_fixture_hold(const struct networks_fixture *f)
{
    CLEANUP_FREE char *path = scratch_dir_path(f->dir, "hold");

    assert_int_equal(mkfifo(path, 0600), 0);
}

/* Waits until nft reads. */
void networks_fixture_release(const struct networks_fixture *f)
{
    CLEANUP_FREE char *path = scratch_dir_path(f->dir, "hold");
    CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, "\n", 1), 1);
}

struct expected {
    const struct networks_fixture *f;
    size_t n;
};

static bool was_said(void *data)
{
    const struct expected *expected = data;

    return networks_fixture_n_said(expected->f) >= expected->n;
}

void networks_fixture_await_said(struct networks_fixture *f, size_t n)
{
    struct expected expected = { f, n };

    assert_true(event_run_until(f->event, was_said, &expected));
}
