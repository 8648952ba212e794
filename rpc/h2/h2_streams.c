/* The streams of a connection that have not ended, by id. */
#include <assert.h>
#include <string.h>

#include "reactor/alloc.h"
#include "rpc/h2/h2_private.h"

/* Where `id` is, or would be. */
static size_t position(const struct h2_conn *conn, uint32_t id)
{
    size_t low = 0, high = conn->n_streams;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (conn->streams[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct h2_stream *h2_streams_find(const struct h2_conn *conn, uint32_t id)
{
    size_t i = position(conn, id);
    return i < conn->n_streams && conn->streams[i].id == id ? conn->streams[i].stream : NULL;
}

void h2_streams_add(struct h2_conn *conn, struct h2_stream *stream)
{
    assert(conn->n_streams < H2_STREAMS_MAX);
    assert(conn->n_streams == 0 || conn->streams[conn->n_streams - 1].id < stream->id);
    if (conn->n_streams == conn->n_allocated) {
        conn->n_allocated = conn->n_allocated > 0 ? conn->n_allocated * 2 : 8;
        conn->streams = alloc_grow(conn->streams, conn->n_allocated, sizeof(*conn->streams));
    }
    conn->streams[conn->n_streams++] = (struct h2_entry){ stream->id, stream };
}

void h2_streams_remove(struct h2_conn *conn, struct h2_stream *stream)
{
    /* Short calls sit at the end, behind those that wait for hours: little is moved. */
    size_t i = position(conn, stream->id);
    assert(i < conn->n_streams && conn->streams[i].stream == stream);
    memmove(&conn->streams[i], &conn->streams[i + 1],
            (conn->n_streams - i - 1) * sizeof(*conn->streams));
    conn->n_streams--;
    TAILQ_INSERT_TAIL(&conn->ended, stream, link);
}
