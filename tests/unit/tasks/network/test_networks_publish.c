/* When the registry tells the packet filter what, and whom it answers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/network/networks.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/network/networks_fixture.h"

#define CLEANUP_FIXTURE CLEANUP(networks_fixture_done)

struct asker {
    struct packet_filter_op *op;
    bool was_answered;
    struct fail fail;
    struct asker *frees; /* what it frees when it is answered */
};

static void on_answer(const struct fail *fail, void *data)
{
    struct asker *asker = data;

    assert_false(asker->was_answered);
    asker->was_answered = true;
    asker->op = NULL;
    if (fail != NULL)
        fail_copy(&asker->fail, fail);
    if (asker->frees != NULL)
        asker->frees->op = packet_filter_op_free(asker->frees->op);
}

static void ask(struct networks_fixture *f, struct asker *asker)
{
    asker->op = networks_publish(f->networks, on_answer, asker);
    assert_false(asker->was_answered);
}

static void await(struct networks_fixture *f, const struct asker *asker)
{
    assert_true(event_run_until_set(f->event, &asker->was_answered));
}

static void ask_and_await(struct networks_fixture *f)
{
    struct asker asker = {};

    ask(f, &asker);
    await(f, &asker);
    assert_int_equal(asker.fail.error, 0);
}

/* Of a machine with this address, the port `host_port` is published. */
static void set(struct networks_fixture *f, const char *machine, const char *address,
                const char *host, uint16_t host_port)
{
    struct network_record record = networks_fixture_record(f, machine, NULL);

    assert_int_equal(address_parse(address, &record.addresses[NETWORK_RECORD_IPV4]), 0);
    networks_fixture_port(&record, host, host_port, 80);
    networks_fixture_set(f, &record);
}

static void expect_said(const struct networks_fixture *f, size_t n, const char *part, bool is_in)
{
    CLEANUP_FREE char *said = networks_fixture_said(f, n);

    if ((strstr(said, part) != NULL) != is_in)
        fail_msg("'%s' is %s what nft was told:\n%s", part, is_in ? "not in" : "in", said);
}

/* --- what is told ---------------------------------------------------------------------------- */

static void test_ports_are_told_before_the_answer(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;

    (void)state;
    networks_fixture_init(&f);
    set(&f, "web-1", "10.187.0.2/30", NULL, 8080);
    ask_and_await(&f);
    assert_int_equal(networks_fixture_n_said(&f), 1);
    expect_said(&f, 1, "tcp . 8080 comment \"web-1 http\" : 10.187.0.2 . 80", true);
    expect_said(&f, 1, "udp . 8080 comment \"web-1 http\" : 10.187.0.2 . 80", true);
    expect_said(&f, 1, "10.187.0.0/16", false);
}

static void test_leases_alone_are_told(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;
    struct address address;

    (void)state;
    networks_fixture_init(&f);
    networks_fixture_lease(&f, "web-1", NULL, &address);
    ask_and_await(&f);
    expect_said(&f, 1, "10.187.0.0/16", true);
    expect_said(&f, 1, "fd00:187::/96", true);
}

static void test_what_is_removed_is_told_without_being_asked(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;

    (void)state;
    networks_fixture_init(&f);
    set(&f, "web-1", "10.187.0.2/30", NULL, 8080);
    set(&f, "web-2", "10.187.0.6/30", NULL, 8081);
    ask_and_await(&f);
    networks_remove(f.networks, "web-1");
    networks_fixture_await_said(&f, 2);
    expect_said(&f, 2, "web-1", false);
    expect_said(&f, 2, "web-2", true);
    networks_remove(f.networks, "web-2");
    networks_fixture_await_said(&f, 3);
    expect_said(&f, 3, "delete table inet nomad_nspawn", true);
    expect_said(&f, 3, "chain", false);
}

static void test_a_machine_without_ports_and_lease_is_not_told(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;

    (void)state;
    networks_fixture_init(&f);
    for (unsigned i = 0; i < 2; i++) {
        struct network_record record = networks_fixture_record(&f, "web-1", NULL);
        networks_fixture_set(&f, &record);
    }
    networks_remove(f.networks, "web-1");
    assert_int_equal(event_count_during(f.event, 50000), 0);
    assert_int_equal(networks_fixture_n_said(&f), 0);
}

/* Rules may be there of an earlier plugin, or none: the first to ask makes sure. */
static void test_the_first_question_is_told_whatever_is_there(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;

    (void)state;
    networks_fixture_init(&f);
    set(&f, "web-1", "10.187.0.2/30", NULL, 8080);
    ask_and_await(&f);
    networks_fixture_restart(&f);
    ask_and_await(&f);
    assert_int_equal(networks_fixture_n_said(&f), 2);
    CLEANUP_FREE char *before = networks_fixture_said(&f, 1);
    CLEANUP_FREE char *after = networks_fixture_said(&f, 2);
    assert_string_equal(before, after);
}

/* So that no connection comes in between. */
static void test_a_table_that_is_there_is_changed_and_not_replaced(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;

    (void)state;
    networks_fixture_init(&f);
    set(&f, "web-1", "10.187.0.2/30", NULL, 8080);
    ask_and_await(&f);
    expect_said(&f, 1, "delete table inet nomad_nspawn", false); /* an earlier plugin's, too */
    set(&f, "web-2", "10.187.0.6/30", NULL, 8081);
    ask_and_await(&f);
    assert_int_equal(networks_fixture_n_said(&f), 2);
    expect_said(&f, 2, "delete table inet nomad_nspawn", false);
    expect_said(&f, 2, "web-1", true);
    expect_said(&f, 2, "web-2", true);
    /* After the last has gone there is none. */
    networks_remove(f.networks, "web-1");
    networks_remove(f.networks, "web-2");
    ask_and_await(&f);
    set(&f, "web-3", "10.187.0.2/30", NULL, 8080);
    ask_and_await(&f);
    assert_int_equal(networks_fixture_n_said(&f), 4);
    expect_said(&f, 4, "delete table inet nomad_nspawn", true);
}

static void test_a_table_that_somebody_has_removed_is_made_anew(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;

    (void)state;
    networks_fixture_init(&f);
    set(&f, "web-1", "10.187.0.2/30", NULL, 8080);
    ask_and_await(&f);
    networks_fixture_fail(&f, "Error: No such file or directory\n", 1);
    set(&f, "web-2", "10.187.0.6/30", NULL, 8081);
    ask_and_await(&f);
    assert_int_equal(networks_fixture_n_said(&f), 3);
    expect_said(&f, 2, "delete table inet nomad_nspawn", false);
    expect_said(&f, 3, "delete table inet nomad_nspawn", true);
    expect_said(&f, 3, "web-1", true);
    expect_said(&f, 3, "web-2", true);
}

/* An address of documentation, which no host has. */
static void test_a_port_at_one_address_is_published_there_and_on_the_loopback(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;

    (void)state;
    networks_fixture_init(&f);
    set(&f, "web-1", "10.187.0.2/30", "192.0.2.1", 8080);
    ask_and_await(&f);
    expect_said(&f, 1, "192.0.2.1 . tcp . 8080 comment \"web-1 http\" : 10.187.0.2 . 80", true);
    expect_said(&f, 1, "127.0.0.1 . tcp . 8080 comment \"web-1 http\" : 10.187.0.2 . 80", true);
}

/* --- one at a time --------------------------------------------------------------------------- */

static void test_changes_of_one_turn_are_told_at_once(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;
    struct asker askers[5] = {};

    (void)state;
    networks_fixture_init(&f);
    for (uint16_t i = 0; i < 5; i++) {
        CLEANUP_FREE char *machine = alloc_printf("web-%u", i);
        CLEANUP_FREE char *address = alloc_printf("10.187.0.%u/30", 4 * i + 2);
        set(&f, machine, address, NULL, (uint16_t)(8080 + i));
        ask(&f, &askers[i]);
    }
    for (size_t i = 0; i < 5; i++)
        await(&f, &askers[i]);
    assert_int_equal(networks_fixture_n_said(&f), 1);
    expect_said(&f, 1, "web-0", true);
    expect_said(&f, 1, "web-4", true);
}

static void test_changes_while_nft_runs_wait_for_the_next(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;
    struct asker first = {}, second = {}, third = {};

    (void)state;
    networks_fixture_init(&f);
    networks_fixture_hold(&f);
    set(&f, "web-1", "10.187.0.2/30", NULL, 8080);
    ask(&f, &first);
    networks_fixture_await_said(&f, 1);
    set(&f, "web-2", "10.187.0.6/30", NULL, 8081);
    ask(&f, &second);
    event_run_pending(f.event);
    set(&f, "web-3", "10.187.0.10/30", NULL, 8082);
    ask(&f, &third);
    event_run_pending(f.event);
    assert_false(first.was_answered);
    networks_fixture_release(&f);
    await(&f, &first);
    assert_false(second.was_answered);
    networks_fixture_await_said(&f, 2);
    assert_false(second.was_answered || third.was_answered);
    networks_fixture_release(&f);
    await(&f, &second);
    await(&f, &third);
    assert_int_equal(networks_fixture_n_said(&f), 2);
    expect_said(&f, 1, "web-2", false);
    expect_said(&f, 2, "web-2", true);
    expect_said(&f, 2, "web-3", true);
}

/* --- who is answered ------------------------------------------------------------------------- */

static void test_who_has_gone_is_not_answered(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;
    struct asker gone = {}, stays = {};

    (void)state;
    networks_fixture_init(&f);
    set(&f, "web-1", "10.187.0.2/30", NULL, 8080);
    ask(&f, &gone);
    ask(&f, &stays);
    gone.op = packet_filter_op_free(gone.op);
    await(&f, &stays);
    event_run_pending(f.event);
    assert_false(gone.was_answered);
}

/* Whichever of the two comes first ends the other. */
static void test_an_answer_may_free_another_question(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;
    struct asker askers[2] = {}, last = {};

    (void)state;
    networks_fixture_init(&f);
    set(&f, "web-1", "10.187.0.2/30", NULL, 8080);
    for (size_t i = 0; i < 2; i++) {
        askers[i].frees = &askers[1 - i];
        ask(&f, &askers[i]);
    }
    ask(&f, &last);
    await(&f, &last);
    event_run_pending(f.event);
    assert_int_equal(askers[0].was_answered + askers[1].was_answered, 1);
    assert_true(askers[0].op == NULL && askers[1].op == NULL);
}

static void test_a_failure_is_told_and_the_next_change_tries_again(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;
    struct asker first = {}, second = {};

    (void)state;
    networks_fixture_init(&f);
    networks_fixture_fail(&f, "Error: Could not process rule: Operation not permitted\n", 2);
    set(&f, "web-1", "10.187.0.2/30", NULL, 8080);
    ask(&f, &first);
    ask(&f, &second);
    await(&f, &first);
    await(&f, &second);
    assert_string_equal(fail_text(&first.fail),
                        "the packet filter's rules cannot be made: 'nft' exited with status 1: "
                        "Error: Could not process rule: Operation not permitted");
    assert_int_equal(second.fail.error, -EIO);
    ask_and_await(&f);
    assert_int_equal(networks_fixture_n_said(&f), 3); /* to change it, to make it anew; again */
    fail_done(&first.fail);
    fail_done(&second.fail);
}

static void test_a_registry_that_ends_takes_its_nft_along(void **state)
{
    CLEANUP_FIXTURE struct networks_fixture f;
    struct asker asker = {};

    (void)state;
    networks_fixture_init(&f);
    networks_fixture_hold(&f);
    set(&f, "web-1", "10.187.0.2/30", NULL, 8080);
    ask(&f, &asker);
    networks_fixture_await_said(&f, 1);
    asker.op = packet_filter_op_free(asker.op);
    f.networks = networks_free(f.networks);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_ports_are_told_before_the_answer),
        FD_LEAK_TEST(test_leases_alone_are_told),
        FD_LEAK_TEST(test_what_is_removed_is_told_without_being_asked),
        FD_LEAK_TEST(test_a_machine_without_ports_and_lease_is_not_told),
        FD_LEAK_TEST(test_the_first_question_is_told_whatever_is_there),
        FD_LEAK_TEST(test_a_table_that_is_there_is_changed_and_not_replaced),
        FD_LEAK_TEST(test_a_table_that_somebody_has_removed_is_made_anew),
        FD_LEAK_TEST(test_a_port_at_one_address_is_published_there_and_on_the_loopback),
        FD_LEAK_TEST(test_changes_of_one_turn_are_told_at_once),
        FD_LEAK_TEST(test_changes_while_nft_runs_wait_for_the_next),
        FD_LEAK_TEST(test_who_has_gone_is_not_answered),
        FD_LEAK_TEST(test_an_answer_may_free_another_question),
        FD_LEAK_TEST(test_a_failure_is_told_and_the_next_change_tries_again),
        FD_LEAK_TEST(test_a_registry_that_ends_takes_its_nft_along),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
