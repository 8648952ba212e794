/* From msgpack, as Nomad encodes a config, to the struct that an option table describes. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "reactor/fail.h"
#include "tasks/spec/option.h"

/* `base` is a zero-filled struct; no bytes at all are an empty map. Nothing (nil) and the empty
 * string are the same as not written. The maps of a list(map) are put together, the later wins.
 * -EINVAL and a message that names the option: an unknown one, a wrong type, one that is missing,
 * text that is no text. On error `base` is zero-filled but for the schema's defaults. */
int option_decode(const struct option_row *options, void *base, const uint8_t *bytes,
                  size_t n_bytes, struct fail *reterr);

/* Of a list or map: pairs are searched one by one. */
#define OPTION_DECODE_ITEMS_MAX 1024
