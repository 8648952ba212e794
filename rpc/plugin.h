/* The plugin as the agent launches it: wires the one loop, the bus, the driver and the server. */
#pragma once

/* Answers the status of the process, when the agent has asked for the end or is gone. */
int plugin_run(void);
