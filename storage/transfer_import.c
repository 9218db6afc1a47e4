/*
 * Two passes: the first checks every line and keeps a copy in a temporary file, so that neither a
 * pipe nor a file that changes meanwhile makes a difference; the second fills the store from the
 * copy.
 */
#include "storage/transfer.h"

#include <inttypes.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "storage/transfer_check.h"
#include "storage/transfer_json.h"
#include "storage/transfer_priv.h"

/* A batch ends at the first of these. */
#define BATCH_OPERATIONS 1000
#define BATCH_BYTES (4u * 1024 * 1024)

/* An engine that is out of reach is asked again, in this rhythm. */
#define TRIES 10
#define TRY_AGAIN_MS 500

struct importer {
    struct transfer_reader reader;
    FILE *spool;
    struct transfer_check *check;
    struct transfer_counts counts;
    struct text *error;
};

/* ---- the first pass -------------------------------------------------------------------------- */

static enum err keep_line(struct importer *importer, struct slice line)
{
    bool kept = fwrite(line.data, 1, line.len, importer->spool) == line.len &&
                putc('\n', importer->spool) != EOF;
    return kept ? ERR_OK : transfer__io_error("can't write a temporary file", importer->error);
}

static enum err check_operation(struct importer *importer, struct slice text,
                                const struct operation *operation, struct text *reason)
{
    enum err err = transfer_check_operation(importer->check, operation, reason);
    if (err == ERR_OK) {
        importer->counts.operations++;
        importer->counts.by_type[operation->type]++;
        err = keep_line(importer, text);
    }
    return err;
}

static enum err check_end(struct importer *importer, const struct transfer_line *line,
                          struct text *reason)
{
    enum err err = transfer_check_end(importer->check, reason);
    if (err == ERR_OK && line->operations != importer->counts.operations) {
        text_printf(reason, "%" PRIu64 " operations are announced, but %" PRIu64 " were there",
                    line->operations, importer->counts.operations);
        err = ERR_INVALID;
    }
    return err;
}

/* Judges a line behind the first. */
static enum err check_line(struct importer *importer, struct slice text, bool *end,
                           struct text *reason)
{
    struct transfer_line line;
    enum err err = transfer_json_read(text, &line, reason);
    if (err != ERR_OK) {
        return err;
    }
    *end = line.kind == TRANSFER_END;
    err = *end ? check_end(importer, &line, reason)
               : check_operation(importer, text, &line.operation, reason);
    transfer_line_fini(&line);
    return err;
}

/* Reads a line, or says what is missing. */
static enum err next_line(struct importer *importer, struct slice *text, struct text *reason)
{
    enum err err = transfer__read_line(&importer->reader, text, reason);
    if (err == ERR_OK && text->data == NULL) {
        text_add(reason, "the file is cut: its last line is missing");
        err = ERR_INVALID;
    }
    return err;
}

static enum err check_rest(struct importer *importer, struct text *reason)
{
    struct slice text;
    enum err err = transfer__read_line(&importer->reader, &text, reason);
    if (err == ERR_OK && text.data != NULL) {
        text_add(reason, "nothing is expected after the end");
        err = ERR_INVALID;
    }
    return err;
}

static enum err check_lines(struct importer *importer, struct text *reason)
{
    struct slice text;
    bool end = false;
    enum err err = next_line(importer, &text, reason);
    if (err == ERR_OK) {
        err = transfer_json_read_header(text, reason);
    }
    while (err == ERR_OK && !end) {
        err = next_line(importer, &text, reason);
        if (err == ERR_OK) {
            err = check_line(importer, text, &end, reason);
        }
    }
    return err == ERR_OK ? check_rest(importer, reason) : err;
}

static enum err first_pass(struct importer *importer)
{
    struct text reason = {0};
    enum err err = check_lines(importer, &reason);
    if (err != ERR_OK) {
        text_printf(importer->error, "line %" PRIu64 ": %s", importer->reader.number,
                    reason.data == NULL ? err_text(err) : reason.data);
    } else if (fflush(importer->spool) != 0 || fseeko(importer->spool, 0, SEEK_SET) != 0) {
        err = transfer__io_error("can't write a temporary file", importer->error);
    }
    text_fini(&reason);
    return err;
}

/* ---- the second pass ------------------------------------------------------------------------- */

struct filler {
    struct engine *engine;
    struct transfer_line lines[BATCH_OPERATIONS];
    struct operation operations[BATCH_OPERATIONS];
    size_t count;
    size_t bytes;
    struct transfer_check *check; /* of the first pass */
    uint64_t now_ms;
    uint64_t base; /* ids up to it are taken in the store */
    struct text *error;
};

static enum err refuse_content(void *context, const struct operation *operation)
{
    (void)context;
    (void)operation;
    return ERR_EXISTS;
}

/* Makes sure that the store is empty, and learns from where on ids are free. */
static enum err find_empty(struct filler *filler)
{
    const struct operation_sink sink = {.take = refuse_content};
    struct engine_loaded loaded = {0};
    enum err err = filler->engine->type->load(filler->engine, &sink, &loaded);
    if (err == ERR_EXISTS) {
        text_add(filler->error, "the store is not empty; an import needs an empty one");
    } else if (err != ERR_OK) {
        transfer__add_trouble(filler->engine, "read", err, filler->error);
    }
    filler->base = loaded.next_id > 0 ? loaded.next_id - 1 : 0;
    filler->now_ms = loaded.last_seen_ms > filler->now_ms ? loaded.last_seen_ms : filler->now_ms;
    return err;
}

static void wait_a_little(void)
{
    const struct timespec pause = {.tv_nsec = TRY_AGAIN_MS * 1000000L};
    nanosleep(&pause, NULL);
}

static void clear_batch(struct filler *filler)
{
    for (size_t i = 0; i < filler->count; i++) {
        transfer_line_fini(&filler->lines[i]);
    }
    filler->count = 0;
    filler->bytes = 0;
}

static enum err apply_once(struct filler *filler)
{
    struct array_batch batch;
    array_batch_init(&batch, filler->operations, filler->count);
    batch.batch.now_ms = filler->now_ms;
    batch.batch.next_id = filler->base + transfer_check_numbered(filler->check) + 1;
    return filler->engine->type->apply(filler->engine, &batch.batch);
}

static enum err apply_batch(struct filler *filler)
{
    enum err err = apply_once(filler);
    for (unsigned i = 1; i < TRIES && err == ERR_UNAVAILABLE; i++) {
        wait_a_little();
        err = apply_once(filler);
    }
    clear_batch(filler);
    return err;
}

/* A message and what first refers to it stay in one batch. */
static bool batch_is_full(const struct filler *filler)
{
    bool open =
        filler->count > 0 && filler->operations[filler->count - 1].type == OPERATION_MESSAGE_PUT;
    return filler->count == BATCH_OPERATIONS ||
           (!open && (filler->count >= BATCH_OPERATIONS - 2 || filler->bytes >= BATCH_BYTES));
}

/* Adds the next line of the copy; `*end`: there was none. */
static enum err add_line(struct filler *filler, struct transfer_reader *reader, bool *end)
{
    struct slice text;
    enum err err = transfer__read_line(reader, &text, filler->error);
    *end = err == ERR_OK && text.data == NULL;
    if (err != ERR_OK || *end) {
        return err;
    }
    err = transfer_json_read(text, &filler->lines[filler->count], filler->error);
    if (err != ERR_OK) {
        return err;
    }
    struct operation *operation = &filler->operations[filler->count];
    *operation = filler->lines[filler->count].operation;
    filler->count++;
    filler->bytes += text.len;
    return transfer_check_renumber(filler->check, filler->base, operation);
}

static enum err fill(struct filler *filler, struct transfer_reader *reader)
{
    bool end = false;
    enum err err = ERR_OK;
    while (err == ERR_OK && !end) {
        err = add_line(filler, reader, &end);
        if (err == ERR_OK && filler->count > 0 && (end || batch_is_full(filler))) {
            err = apply_batch(filler);
        }
    }
    clear_batch(filler);
    return err == ERR_OK ? filler->engine->type->sync(filler->engine) : err;
}

static void add_failed_filling(struct filler *filler, enum err err)
{
    if (filler->error->len == 0) {
        transfer__add_trouble(filler->engine, "fill", err, filler->error);
    }
    text_add(filler->error, "; the store holds a part of the state now, and must be emptied before "
                            "the next import");
}

static enum err second_pass(struct importer *importer, struct engine *engine)
{
    struct filler *filler = mem_alloc(sizeof(*filler));
    struct transfer_reader copy = {.in = importer->spool};
    filler->engine = engine;
    filler->now_ms = clock_wall_ms();
    filler->check = importer->check;
    filler->error = importer->error;
    enum err err = find_empty(filler);
    if (err == ERR_OK) {
        err = fill(filler, &copy);
        if (err != ERR_OK) {
            add_failed_filling(filler, err);
        }
    }
    transfer__reader_fini(&copy);
    mem_free(filler);
    return err;
}

static enum err import_into(struct importer *importer, const struct engine_type *type,
                            const struct storage_config *config)
{
    struct storage_stats *stats = mem_alloc(sizeof(*stats));
    struct engine *engine = NULL;
    enum err err = transfer__open(type, config, stats, &engine, importer->error);
    if (err == ERR_OK) {
        err = second_pass(importer, engine);
        engine->type->close(engine);
    }
    mem_free(stats);
    return err;
}

enum err transfer__import(const struct engine_type *type, const struct storage_config *config,
                          FILE *in, struct transfer_counts *counts, struct text *error)
{
    struct importer importer = {.reader = {.in = in}, .error = error};
    importer.check = transfer_check_create();
    importer.spool = importer.check == NULL ? NULL : transfer__spool(error);
    enum err err = importer.check == NULL ? ERR_MEMORY : importer.spool == NULL ? ERR_IO : ERR_OK;
    if (err == ERR_OK) {
        err = first_pass(&importer);
    }
    if (err == ERR_OK) {
        err = import_into(&importer, type, config);
    }
    if (err == ERR_OK) {
        *counts = importer.counts;
    }
    if (importer.spool != NULL) {
        fclose(importer.spool);
    }
    transfer_check_destroy(importer.check);
    transfer__reader_fini(&importer.reader);
    return err;
}

enum err transfer_import(const struct storage_config *config, FILE *in,
                         struct transfer_counts *counts, struct text *error)
{
    const struct engine_type *type = NULL;
    enum err err = transfer__find_engine(config, &type, error);
    return err == ERR_OK ? transfer__import(type, config, in, counts, error) : err;
}
