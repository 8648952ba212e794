/* Stand-in for the hash table header that libh2o's http2_internal.h includes and no package
 * ships. The six names are enough to compile the inline functions there; the codec calls none
 * of those that would look something up. */
#pragma once

#include <stdint.h>

typedef uint32_t khiter_t;

#define KHASH_MAP_INIT_INT64(name, value) \
    struct khash_##name {                 \
        value *values;                    \
    };
#define khash_t(name)          struct khash_##name
#define kh_get(name, map, key) ((void)(map), (void)(key), (khiter_t)0)
#define kh_end(map)            ((void)(map), (khiter_t)0)
#define kh_val(map, i)         ((map)->values[i])
