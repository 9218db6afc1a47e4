/*
 * whole_file: a file that is read at once, such as a key, a token or a list of rules.
 *
 * Owns      its bytes, which are wiped when it ends: they may be a secret.
 * Thread    any. Blocks as long as the disk does.
 * Errors    ERR_IO (none, not a file, can't be read), ERR_RANGE (too large), ERR_MEMORY, with one
 *           line for people. It never shows what is in the file.
 */
#ifndef PULSE_BASE_WHOLE_FILE_H
#define PULSE_BASE_WHOLE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "base/text.h"

struct whole_file {
    uint8_t *data; /* a NUL is behind it */
    size_t len;
    bool open_to_all; /* everybody on this machine may read it */
};

/* Reads the file `path` of at most `bytes_max` bytes. End with whole_file_fini. */
must_check enum err whole_file_read(struct whole_file *file, const char *path, size_t bytes_max,
                                    struct text *error);
/* A zeroed one, or one that could not be read, may be ended, too. */
void whole_file_fini(struct whole_file *file);

/* What is in the file, without the line ends behind it. */
struct slice whole_file_line(const struct whole_file *file);

#endif
