/*
 * process: a child process that may be killed, stopped and looked after. It dies with the driver.
 *
 * Owns      the child, until it has ended.
 * Thread    the driver's.
 * Errors    a program that can't be run is a child that ends with 127.
 */
#ifndef TESTS_CRASH_PROCESS_H
#define TESTS_CRASH_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

struct process {
    pid_t pid; /* 0: none */
    int status;
};

/* Runs argv[0], found by PATH; what it prints is appended to the file `log`. */
void process_start(struct process *process, const char *const *argv, const char *log);

/* Whether it has ended by now. */
bool process_has_ended(struct process *process);

void process_signal(const struct process *process, int signal_number);

/* Signals it and waits for its end. */
void process_end(struct process *process, int signal_number);

/* How it ended, in words. */
void process_explain(const struct process *process, char *text, size_t size);

#endif
