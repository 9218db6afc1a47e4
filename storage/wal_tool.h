/*
 * wal_tool: `pulse wal inspect | verify | repair DIR`, for operators.
 *
 * inspect and verify change nothing and can be used on a copy, or beside a broker that runs: then
 * what they see may change under them, and a check that fails is made again. repair takes the lock.
 *
 * Thread    main.
 */
#ifndef PULSE_STORAGE_WAL_TOOL_H
#define PULSE_STORAGE_WAL_TOOL_H

enum wal_tool_exit {
    WAL_TOOL_FINE = 0,
    WAL_TOOL_DAMAGE = 1, /* damage was found (repair: and set aside), or it can't be read at all */
    WAL_TOOL_USAGE = 2
};

/* What there is to do, and the exit codes. */
extern const char wal_tool_help[];

/* argv[1] says what to do, the rest is for that. Writes to stdout, and to stderr in a case of wrong
 * usage. Returns the exit code. */
int wal_tool_main(int argc, char **argv);

#endif
