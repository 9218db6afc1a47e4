/*
 * report: what a test program in C says about its checks. The first difference ends the program.
 *
 * Thread    any.
 * Errors    a difference prints a line and ends the process with status 1.
 */
#ifndef TESTS_INTEROP_REPORT_H
#define TESTS_INTEROP_REPORT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* Ends the process unless `is_so`; silent otherwise. The format says what should be so. */
__attribute__((format(printf, 2, 3))) static inline void must(bool is_so, const char *format, ...)
{
    if (is_so) {
        return;
    }
    va_list args;
    va_start(args, format);
    fputs("DIFFERENT, expected: ", stdout);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
    fflush(stdout);
    _Exit(1);
}

/* Says what was verified. */
__attribute__((format(printf, 1, 2))) static inline void verified(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("ok ", stdout);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
    fflush(stdout);
}

#endif
