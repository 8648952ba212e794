/* What can be asked of the program by hand. */
#pragma once

/* Answers the status that the process ends with. What is not understood is told on stderr, with
 * how the program is used. */
int command_run(int argc, char **argv);
