#include "rpc/h2/h2_streams.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "rpc/h2/h2_limits.h"

/* Where `id` is, or would be. */
static size_t position(const struct h2_streams *streams, uint32_t id)
{
    size_t low = 0, high = streams->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (streams->entries[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct h2_stream *h2_streams_find(const struct h2_streams *streams, uint32_t id)
{
    size_t i = position(streams, id);
    return i < streams->n && streams->entries[i].id == id ? streams->entries[i].stream : NULL;
}

void h2_streams_add(struct h2_streams *streams, uint32_t id, struct h2_stream *stream)
{
    assert(streams->n < H2_STREAMS_MAX);
    assert(streams->n == 0 || streams->entries[streams->n - 1].id < id);
    if (streams->n == streams->n_allocated) {
        streams->n_allocated = streams->n_allocated > 0 ? streams->n_allocated * 2 : 8;
        streams->entries = alloc_grow(streams->entries, streams->n_allocated,
                                      sizeof(*streams->entries));
    }
    streams->entries[streams->n++] = (struct h2_entry){ id, stream };
}

void h2_streams_remove(struct h2_streams *streams, uint32_t id)
{
    /* Short calls sit at the end, behind those that wait for hours: little is moved. */
    size_t i = position(streams, id);
    assert(i < streams->n && streams->entries[i].id == id);
    memmove(&streams->entries[i], &streams->entries[i + 1],
            (streams->n - i - 1) * sizeof(*streams->entries));
    streams->n--;
}

void h2_streams_done(struct h2_streams *streams)
{
    free(streams->entries);
    *streams = (struct h2_streams){};
}
