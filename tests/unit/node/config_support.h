/*
 * config_support: calls of config_load as a user makes them, for tests.
 */
#ifndef PULSE_TESTS_UNIT_NODE_CONFIG_SUPPORT_H
#define PULSE_TESTS_UNIT_NODE_CONFIG_SUPPORT_H

#include "node/config.h"

/* One call of config_load, and everything that came of it. */
struct config_run {
    struct config config;
    enum config_action action;
    char *out;
    char *complaints;
};

/* A file with known content; "FILE" stands for its name on a command line and in what is expected.
 */
void config_file_write(const char *content);
void config_file_remove(void);
const char *config_file_name(void);

/* Runs `pulse <arguments>` with the variables of `environment`, both separated by blanks. */
struct config_run config_run(const char *environment, const char *arguments);
void config_run_end(struct config_run *result);

/* Runs what must be good and say nothing. */
struct config_run config_good(const char *environment, const char *arguments);

/* The same with a file of that content, which is gone when it returns; it may warn. */
struct config_run config_run_file(const char *yaml, const char *arguments);
struct config_run config_good_file(const char *yaml, const char *arguments);

/* Runs what must be refused with this line, which begins with "pulse: " and ends with a line end.
 */
void assert_config_refused(const char *environment, const char *arguments, const char *line);

/* With a file of that content: it must be refused, or run with these warnings. Each line begins
 * with "pulse: ", which is left out here, as are line ends behind the last. */
void assert_config_file_refused(const char *yaml, const char *arguments, const char *line);
void assert_config_file_warned(const char *yaml, const char *arguments, const char *lines);

#endif
