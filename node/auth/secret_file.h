/*
 * secret_file: a small file that holds a key or a token.
 *
 * Thread    any.
 * Errors    those of base/whole_file.h.
 */
#ifndef PULSE_NODE_AUTH_SECRET_FILE_H
#define PULSE_NODE_AUTH_SECRET_FILE_H

#include "base/whole_file.h"

/* Reads the file `path`, of at most 256 KiB. End with whole_file_fini. */
must_check enum err secret_file_read(struct whole_file *file, const char *path, struct text *error);

/* One warning in the log when everybody on this machine may read the file. */
void secret_file_warn(const struct whole_file *file, const char *path);

#endif
