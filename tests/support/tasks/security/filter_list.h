/* Seccomp programs as tasks/inside/shared/inside_filters.h has them. */
#pragma once

#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>

struct filter_list {
    uint8_t bytes[512];
    size_t n;
};

void filter_list_append(struct filter_list *list, const struct sock_filter *code, uint32_t n);
/* A call with a number of its own fails with an error of its own. */
void filter_list_append_refusal(struct filter_list *list, unsigned call, unsigned error);
