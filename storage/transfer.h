/*
 * transfer: the whole state of a store as lines of JSON, and back: for backups, and to move from
 * one engine to another.
 *
 *     {"format":"pulse-state","version":1}
 *     {"op":"session_put","session":1,"client_id":"a",...}      one line for each operation
 *     {"end":true,"operations":1}
 *
 * Two stores that hold the same give the same bytes, whatever their engines: lines are in the order
 * of transfer_export.c. docs/storage.md describes the format for users.
 *
 * Thread    the caller's; blocks. The store must not be in use.
 * Errors    as engine.h says, and ERR_INVALID, ERR_SYNTAX, ERR_RANGE, ERR_EXISTS, ERR_VERSION for
 *           what is wrong with the lines or the store; always with one line for people added to
 *           `error`.
 */
#ifndef PULSE_STORAGE_TRANSFER_H
#define PULSE_STORAGE_TRANSFER_H

#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/text.h"
#include "storage/config.h"
#include "storage/operation.h"

struct transfer_counts {
    uint64_t operations;
    uint64_t by_type[OPERATION_TYPES];
};

/* Writes all that the store of `config` holds to `out`. The store is left as it is, but for what an
 * engine repairs when it opens it. A store that isn't there is an error. */
must_check enum err transfer_export(const struct storage_config *config, FILE *out,
                                    struct transfer_counts *counts, struct text *error);

/*
 * Puts what `in` says into the store of `config`, which is made or must be empty. All lines are
 * checked before the store is opened; while it is then filled only the engine can fail, and what it
 * took so far stays in it.
 */
must_check enum err transfer_import(const struct storage_config *config, FILE *in,
                                    struct transfer_counts *counts, struct text *error);

#endif
