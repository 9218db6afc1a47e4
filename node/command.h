/*
 * command: what pulse does instead of serving, when its first word is the name of a command.
 *
 * Thread    main, before anything is started.
 * Errors    told on stderr, in one line; the exit code is 1, or 2 when the command line or the
 *           configuration is wrong.
 */
#ifndef PULSE_NODE_COMMAND_H
#define PULSE_NODE_COMMAND_H

#include <stdbool.h>

/* X(name, words behind it, what it does) */
#define COMMANDS(X)                                                                               \
    X(export, "[--OPTION VALUE]... > FILE",                                                       \
      "write all that the configured store holds, as lines of JSON")                              \
    X(import, "[--OPTION VALUE]... [FILE]",                                                       \
      "fill the configured store, which must be empty, from such lines")                          \
    X(wal, "inspect|verify|repair DIR",                                                           \
      "look into the folder of a write-ahead log, check it, set damage aside")                    \
    X(passwd, "[--OPTION]... FILE USER", "add a user to a password file, or change its password") \
    X(ctl, "VERB [--OPTION VALUE]...",                                                            \
      "ask the admin API of a running broker; pulse ctl --help lists the verbs")

/* Runs the command that `argv[1]` names, and writes its exit code. False: it names none. */
bool command_run(int argc, char **argv, char **environment, int *exit_code);

#endif
