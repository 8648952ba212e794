#include "rpc/h2/h2_bucket.h"

#define USEC_PER_SEC 1000000u

void h2_bucket_init(struct h2_bucket *bucket, uint32_t burst, uint32_t per_second,
                    uint64_t now_usec)
{
    *bucket = (struct h2_bucket){
        .burst = burst,
        .per_second = per_second,
        .tokens = burst,
        .filled_usec = now_usec,
    };
}

void h2_bucket_give(struct h2_bucket *bucket, uint32_t n)
{
    uint32_t room = bucket->burst - bucket->tokens;
    bucket->tokens += n < room ? n : room;
}

static void refill(struct h2_bucket *bucket, uint64_t now_usec)
{
    if (now_usec <= bucket->filled_usec)
        return;
    uint64_t passed = now_usec - bucket->filled_usec;
    if (passed >= (uint64_t)USEC_PER_SEC * 3600) {
        bucket->tokens = bucket->burst;
        bucket->filled_usec = now_usec;
        return;
    }
    uint64_t earned = passed * bucket->per_second / USEC_PER_SEC;
    if (earned == 0)
        return;
    h2_bucket_give(bucket, earned > UINT32_MAX ? UINT32_MAX : (uint32_t)earned);
    bucket->filled_usec = now_usec;
}

bool h2_bucket_take(struct h2_bucket *bucket, uint32_t n, uint64_t now_usec)
{
    if (bucket->tokens < n)
        refill(bucket, now_usec);
    if (bucket->tokens < n)
        return false;
    bucket->tokens -= n;
    return true;
}
