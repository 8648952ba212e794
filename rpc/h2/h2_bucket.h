/* A token bucket: how much of something a peer may do at once and over time. In memory of the
 * caller; time is an argument. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct h2_bucket {
    uint32_t burst;      /* tokens in a full bucket */
    uint32_t per_second; /* refill */
    uint32_t tokens;
    uint64_t filled_usec; /* up to when the refill was counted */
};

/* Full. */
void h2_bucket_init(struct h2_bucket *bucket, uint32_t burst, uint32_t per_second,
                    uint64_t now_usec);
/* False: there are not that many; nothing is taken then. */
bool h2_bucket_take(struct h2_bucket *bucket, uint32_t n, uint64_t now_usec);
/* Tokens the peer has earned by useful work. */
void h2_bucket_give(struct h2_bucket *bucket, uint32_t n);
