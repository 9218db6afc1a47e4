/*
 * secret_file: a small file that holds a key or a token.
 *
 * Owns      its bytes, which are wiped when it ends.
 * Thread    any.
 * Errors    ERR_IO, ERR_RANGE (too large), ERR_MEMORY, with one line for people. Never shows what
 *           is in the file.
 */
#ifndef PULSE_NODE_AUTH_SECRET_FILE_H
#define PULSE_NODE_AUTH_SECRET_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "base/text.h"

#define SECRET_FILE_MAX (256u * 1024)

struct secret_file {
    uint8_t *data;
    size_t len;
    bool open_to_all; /* everybody on this machine may read it */
};

/* Reads the file `path`. End with secret_file_fini. */
must_check enum err secret_file_read(struct secret_file *file, const char *path,
                                     struct text *error);
/* A zeroed one may be ended, too. */
void secret_file_fini(struct secret_file *file);

/* What is in the file without the line ends behind it. */
struct slice secret_file_line(const struct secret_file *file);

/* One warning in the log when everybody may read the file. */
void secret_file_warn(const struct secret_file *file, const char *path);

#endif
