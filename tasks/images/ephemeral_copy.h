/* Copies that nspawn makes of ephemeral images and removes at its end: one that is killed leaves
 * its own behind. */
#pragma once

#include <stdbool.h>

/* Whether there may be any. Fast. */
bool ephemeral_copy_exists(const char *image);
/* Removes those that no nspawn holds. It blocks for as long as removing trees takes. `image` is
 * absolute. Answers 0, or the first negative errno, which ends it. */
int ephemeral_copy_remove(const char *image);
