/* Fails a test that leaves a descriptor open:
 *     FD_LEAK_TEST(test_name) in the list of tests, instead of cmocka_unit_test(test_name). */
#pragma once

int fd_leak_setup(void **state);
int fd_leak_teardown(void **state);

#define FD_LEAK_TEST(test) cmocka_unit_test_setup_teardown(test, fd_leak_setup, fd_leak_teardown)
