/* What the program is asked to be: Nomad's plugin, or by hand a command. */
#include <stdlib.h>

#include "rpc/command.h"
#include "rpc/handshake.h"
#include "rpc/plugin.h"

int main(int argc, char **argv)
{
    if (!handshake_is_launched())
        return command_run(argc, argv);
    return handshake_check(argc, argv) < 0 ? EXIT_FAILURE : plugin_run();
}
