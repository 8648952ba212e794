#include "rpc/grpc/memory.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>

#include "reactor/alloc.h"

struct memory {
    sd_event *event;
    uint64_t trim_usec;
    sd_event_source *trim; /* NULL: there is nothing to give back */
    bool (*is_held)(void *data);
    void *data;
};

/* The memory of a large message is taken from the heap and goes back there: taken from the system
 * anew each time, it costs more than all else (half the speed of a stream). */
void memory_set_limits(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, 16 * 1024 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, 64 * 1024 * 1024);
    (void)mallopt(M_TOP_PAD, 16 * 1024);
}

/* What a burst took stays with malloc otherwise, for good. */
static int on_trim(sd_event_source *source, uint64_t usec, void *data)
{
    struct memory *memory = data;

    (void)source;
    (void)usec;
    memory->trim = sd_event_source_disable_unref(memory->trim);
    if (memory->is_held(memory->data))
        memory_note_burst(memory);
    else
        (void)malloc_trim(0);
    return 0;
}

void memory_note_burst(struct memory *memory)
{
    if (memory->trim != NULL)
        return;
    int r = sd_event_add_time_relative(memory->event, &memory->trim, CLOCK_MONOTONIC,
                                       memory->trim_usec, 0, on_trim, memory);
    assert(r >= 0);
    (void)sd_event_source_set_description(memory->trim, "rpc-trim");
}

struct memory *memory_new(sd_event *event, uint64_t trim_usec, bool (*is_held)(void *data),
                          void *data)
{
    struct memory *memory = ALLOC_NEW(struct memory);

    memory->event = sd_event_ref(event);
    memory->trim_usec = trim_usec;
    memory->is_held = is_held;
    memory->data = data;
    return memory;
}

struct memory *memory_free(struct memory *memory)
{
    if (memory == NULL)
        return NULL;
    memory->trim = sd_event_source_disable_unref(memory->trim);
    sd_event_unref(memory->event);
    free(memory);
    return NULL;
}
