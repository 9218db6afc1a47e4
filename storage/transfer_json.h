/*
 * transfer_json: one operation as one line of JSON, and back. What an operation consists of says
 * operations.def.
 *
 *     kind                    in JSON
 *     U8 U16 U32 BOOL IDS     number; true or false; array of numbers
 *     U64                     number up to 2^53, beyond that a string of digits; null: never
 *     TEXT                    string
 *     BYTES                   string with the bytes in base64
 *
 * A line has every field of its operation and no other, and nothing twice. What one value means
 * beside another is not looked at here (transfer_check.h).
 *
 * Thread    any: no state.
 * Errors    ERR_SYNTAX, ERR_RANGE, ERR_INVALID, with the reason added to `error`; ERR_MEMORY.
 */
#ifndef PULSE_STORAGE_TRANSFER_JSON_H
#define PULSE_STORAGE_TRANSFER_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "base/text.h"
#include "storage/operation.h"

#define TRANSFER_FORMAT "pulse-state"
#define TRANSFER_VERSION 1

/* Subscription identifiers of one queue entry. */
#define TRANSFER_IDS_MAX 65535

/* Gives the line of `operation`, without the line's end; free() it. */
must_check enum err transfer_json_operation(const struct operation *operation, char **line,
                                            struct text *error);

/* The same for the first and the last line. */
must_check enum err transfer_json_header(char **line, struct text *error);
must_check enum err transfer_json_end(uint64_t operations, char **line, struct text *error);

enum transfer_line_kind { TRANSFER_OPERATION, TRANSFER_END };

/* A line that was read. */
struct transfer_line {
    enum transfer_line_kind kind;
    struct operation operation; /* its slices and arrays borrow from below */
    uint64_t operations;        /* TRANSFER_END: how many there must have been */

    struct json_t *object;
    void *owned[3]; /* decoded bytes, arrays */
    size_t owned_count;
};

/* Reads a line. `*line` is written on ERR_OK; end it with transfer_line_fini. */
must_check enum err transfer_json_read(struct slice text, struct transfer_line *line,
                                       struct text *error);

void transfer_line_fini(struct transfer_line *line);

/* Checks the first line. ERR_VERSION: a newer pulse has written it. */
must_check enum err transfer_json_read_header(struct slice text, struct text *error);

#endif
