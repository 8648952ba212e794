/* Tables of options as the schema that the agent decodes configuration with, before the plugin sees
 * it (hclspec). */
#pragma once

#include "hcl_spec.pb-c.h"
#include "tasks/spec/option.h"

/* An object with one entry an option; never fails. The caller frees with
 * hcl__spec__free_unpacked(spec, NULL). */
Hcl__Spec *convert_schema(const struct option_row *options);
