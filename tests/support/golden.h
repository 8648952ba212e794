/* Text that a test compares with a file of the tree, so that a change of what the program says is
 * seen as a diff. GOLDEN_UPDATE=1 in the environment writes the files anew. Tests are run from the
 * top of the tree. */
#pragma once

/* Fails the running cmocka test, showing `text`, when tests/unit/golden/<name> holds another. */
void golden_compare(const char *name, const char *text);
