/*
 * transfer: what export and import share: opening a store for one of them, a temporary file, lines.
 *
 * Thread    the caller's.
 * Errors    with one line for people added to `error`.
 */
#ifndef PULSE_STORAGE_TRANSFER_PRIV_H
#define PULSE_STORAGE_TRANSFER_PRIV_H

#include "base/slice.h"
#include "storage/engine.h"
#include "storage/transfer.h"

/* Longer lines are refused: no operation needs so much. */
#define TRANSFER_LINE_MAX (768u * 1024 * 1024)

/* Gives the engine of `config`. ERR_INVALID: it keeps nothing. */
must_check enum err transfer__find_engine(const struct storage_config *config,
                                          const struct engine_type **type, struct text *error);

/* Is the store there, so far as that can be seen without opening (which would make it)? */
must_check enum err transfer__find_store(const struct storage_config *config, struct text *error);

/* Opens the store. `stats` (zeroed) must live as long. End with its `close`. */
must_check enum err transfer__open(const struct engine_type *type,
                                   const struct storage_config *config, struct storage_stats *stats,
                                   struct engine **out, struct text *error);

/* Adds what went wrong when `engine` was asked to `verb`. */
void transfer__add_trouble(const struct engine *engine, const char *verb, enum err err,
                           struct text *error);

/* Gives an empty file without a name, or NULL. End with fclose. */
FILE *transfer__spool(struct text *error);

/* Adds the reason in errno. Gives ERR_FULL or ERR_IO. */
enum err transfer__io_error(const char *what, struct text *error);

/* Lines of a file, one after the other. */
struct transfer_reader {
    FILE *in;
    char *data;
    size_t cap;
    uint64_t number; /* of the line that was asked for last; the first is 1 */
};

/* Reads a line, without its end, into `*line`: borrowed until the next call. At the end `*line` has
 * a NULL for data. */
must_check enum err transfer__read_line(struct transfer_reader *reader, struct slice *line,
                                        struct text *error);

void transfer__reader_fini(struct transfer_reader *reader);

/* As transfer_export and transfer_import, whatever engine `config` names. */
must_check enum err transfer__export(const struct engine_type *type,
                                     const struct storage_config *config, FILE *out,
                                     struct transfer_counts *counts, struct text *error);
must_check enum err transfer__import(const struct engine_type *type,
                                     const struct storage_config *config, FILE *in,
                                     struct transfer_counts *counts, struct text *error);

#endif
