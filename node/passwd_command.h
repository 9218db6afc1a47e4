/*
 * passwd_command: `pulse passwd`, which makes and changes the entries of a password file.
 *
 * Thread    main, with nothing else running.
 * Errors    told on stderr, in one line; the exit code is 1, or 2 when the command line is wrong.
 */
#ifndef PULSE_NODE_PASSWD_COMMAND_H
#define PULSE_NODE_PASSWD_COMMAND_H

extern const char passwd_command_help[];

/* `argv[0]` is skipped. Gives the exit code. */
int passwd_command_run(int argc, char **argv);

#endif
