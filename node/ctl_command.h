/*
 * ctl_command: `pulse ctl`: what an operator asks the admin API of a running broker, from a command
 * line. docs/admin-api.md describes it.
 *
 * Thread    main; nothing else runs.
 * Errors    told on stderr, in one line. Exit codes: 0 done, 1 refused or not reachable, 2 the
 *           command line is wrong.
 */
#ifndef PULSE_NODE_CTL_COMMAND_H
#define PULSE_NODE_CTL_COMMAND_H

/* Runs what stands behind `pulse ctl`: argv[0] is its name for messages. */
int ctl_command(int argc, char **argv);

#endif
