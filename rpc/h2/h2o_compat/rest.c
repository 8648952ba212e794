/* What libh2o's codec names of the rest of it, for when it is compiled from its source: the
 * rest needs OpenSSL and is of no use here. */

#include <h2o.h>
#include <h2o/http2.h>
#include <h2o/http2_internal.h>
#include <stdlib.h>

/* RFC 9113, 5.3.2. */
const h2o_http2_priority_t h2o_http2_default_priority = { .weight = 16 };

/* The decoder calls it only for who wants digests. */
void h2o_cache_digests_load_header(h2o_cache_digests_t **digests, const char *value, size_t length)
{
    (void)digests;
    (void)value;
    (void)length;
    abort();
}
