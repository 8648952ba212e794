#include "tests/support/tasks/security/filter_list.h"

#include <linux/seccomp.h>
#include <string.h>

void filter_list_append(struct filter_list *list, const struct sock_filter *code, uint32_t n)
{
    memcpy(list->bytes + list->n, &n, sizeof(n));
    memcpy(list->bytes + list->n + sizeof(n), code, n * sizeof(*code));
    list->n += sizeof(n) + n * sizeof(*code);
}

void filter_list_append_refusal(struct filter_list *list, unsigned call, unsigned error)
{
    const struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };

    filter_list_append(list, code, 4);
}
