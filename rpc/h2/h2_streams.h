/* Streams by their id, which grows: a table that knows nothing of what a stream is. In memory of
 * its user; zero-filled is empty; others read the fields, and write none. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct h2_stream;

struct h2_entry {
    uint32_t id;
    struct h2_stream *stream; /* borrowed */
};

struct h2_streams {
    struct h2_entry *entries; /* sorted */
    size_t n, n_allocated;
};

/* NULL: there is none. */
struct h2_stream *h2_streams_find(const struct h2_streams *streams, uint32_t id);
/* Its id is higher than all that are there, which are less than H2_STREAMS_MAX. */
void h2_streams_add(struct h2_streams *streams, uint32_t id, struct h2_stream *stream);
/* It is there. */
void h2_streams_remove(struct h2_streams *streams, uint32_t id);
void h2_streams_done(struct h2_streams *streams);
