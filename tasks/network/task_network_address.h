/* Where a task is reached, as Nomad wants to hear it: for services with address_mode = "driver". */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct task_network_address {
    const char *address; /* NULL: nothing is to be told, the network is the host's or Nomad's */
    const struct task_network_port {
        const char *label;
        uint16_t port; /* inside */
    } * ports;
    size_t n_ports;
    bool auto_advertise; /* also for services that leave it to Nomad (address_mode = "auto") */
};
