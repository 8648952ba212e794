/* What the program is asked to be: Nomad's plugin, or by hand one of handshake.c's commands. */
#include <stdlib.h>

#include "rpc/handshake.h"
#include "rpc/plugin.h"

int main(int argc, char **argv)
{
    switch (handshake_check(argc, argv)) {
    case HANDSHAKE_GO_ON:
        return plugin_run();
    case HANDSHAKE_DONE:
        return EXIT_SUCCESS;
    default:
        return EXIT_FAILURE;
    }
}
