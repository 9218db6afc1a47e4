/*
 * An engine gives its operations in whatever order suits it. They are written to a temporary file
 * (in the form of the WAL's records), sorted by what they are about, and written out from there, so
 * that equal states give equal bytes:
 *
 *     sessions, subscriptions, wills, queue entries, packet ids of QoS 2, retained messages,
 *
 * each by session, then by position, packet id or text. A message stands directly before the first
 * line that refers to it. Ids are only names: sessions, and behind them messages, are numbered anew
 * in the order of the lines.
 */
#include "storage/transfer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "storage/transfer_json.h"
#include "storage/transfer_priv.h"
#include "storage/wal_record.h"

/* Messages come last in the sorted index, and are written where they are needed. */
enum rank {
    RANK_SESSION,
    RANK_SUBSCRIPTION,
    RANK_WILL,
    RANK_QUEUE,
    RANK_INBOUND_QOS2,
    RANK_RETAINED,
    RANK_MESSAGE,
    RANK_NONE
};

/* An operation in the temporary file. */
struct entry {
    uint64_t major;   /* the session; of a message its id */
    uint64_t minor;   /* the position or packet id */
    uint64_t message; /* that is referred to; 0: none. Of a message: its number, once written */
    uint64_t offset;
    enum rank rank;
};

struct exporter {
    FILE *spool;
    const uint8_t *records; /* the temporary file, once it is complete */
    uint64_t len;           /* of it */
    uint8_t *buffer;        /* for one record */
    size_t buffer_len;
    uint32_t *ids; /* subscription identifiers of the record at hand */
    struct entry *entries;
    size_t count;
    size_t cap;
    size_t first_message; /* index, once sorted */
    uint64_t last_number; /* of sessions and messages */
    struct transfer_counts counts;
    struct text *error;
};

/* ---- gathering ------------------------------------------------------------------------------- */

static enum err reserve(struct exporter *exporter)
{
    if (exporter->count < exporter->cap) {
        return ERR_OK;
    }
    size_t cap = exporter->cap == 0 ? 1024 : exporter->cap * 2;
    struct entry *entries = mem_try_resize(exporter->entries, cap * sizeof(entries[0]));
    if (entries == NULL) {
        text_add(exporter->error, err_text(ERR_MEMORY));
        return ERR_MEMORY;
    }
    exporter->entries = entries;
    exporter->cap = cap;
    return ERR_OK;
}

/* What the line of `operation` is sorted by; RANK_NONE: it is no part of a state. */
static struct entry entry_of(const struct operation *operation)
{
    struct entry entry = {.major = operation->session, .rank = RANK_NONE};
    switch (operation->type) {
    case OPERATION_SESSION_PUT:
        entry.rank = RANK_SESSION;
        break;
    case OPERATION_SUBSCRIPTION_PUT:
        entry.rank = RANK_SUBSCRIPTION;
        break;
    case OPERATION_WILL_PUT:
        entry.rank = RANK_WILL;
        entry.message = operation->message;
        break;
    case OPERATION_MESSAGE_PUT:
        entry.rank = RANK_MESSAGE;
        entry.major = operation->message;
        break;
    case OPERATION_QUEUE_PUSH:
        entry.rank = RANK_QUEUE;
        entry.minor = operation->position;
        entry.message = operation->message;
        break;
    case OPERATION_INBOUND_QOS2_PUT:
        entry.rank = RANK_INBOUND_QOS2;
        entry.minor = operation->packet_id;
        break;
    case OPERATION_RETAINED_PUT:
        entry.rank = RANK_RETAINED;
        break;
    case OPERATION_SESSION_DROP:
    case OPERATION_SUBSCRIPTION_DROP:
    case OPERATION_WILL_DROP:
    case OPERATION_MESSAGE_DROP:
    case OPERATION_QUEUE_RELEASE:
    case OPERATION_QUEUE_POP:
    case OPERATION_INBOUND_QOS2_DROP:
    case OPERATION_RETAINED_DROP:
    case OPERATION_TYPES:
        break;
    }
    return entry;
}

/* Makes `buffer` long enough for a record. */
static enum err reserve_buffer(struct exporter *exporter, size_t len)
{
    if (len <= exporter->buffer_len) {
        return ERR_OK;
    }
    uint8_t *buffer = mem_try_resize(exporter->buffer, len);
    if (buffer == NULL) {
        text_add(exporter->error, err_text(ERR_MEMORY));
        return ERR_MEMORY;
    }
    exporter->buffer = buffer;
    exporter->buffer_len = len;
    return ERR_OK;
}

static enum err spool(struct exporter *exporter, const struct operation *operation)
{
    size_t len = wal_record_size(operation);
    enum err err = reserve_buffer(exporter, len);
    if (err != ERR_OK) {
        return err;
    }
    wal_record_encode(operation, exporter->buffer);
    if (fwrite(exporter->buffer, 1, len, exporter->spool) != len) {
        return transfer__io_error("can't write a temporary file", exporter->error);
    }
    exporter->len += len;
    return ERR_OK;
}

static enum err take(void *context, const struct operation *operation)
{
    struct exporter *exporter = context;
    struct entry entry = entry_of(operation);
    if (entry.rank == RANK_NONE) {
        text_printf(exporter->error, "the store gave a %s", operation_info(operation->type)->name);
        return ERR_DAMAGED;
    }
    entry.offset = exporter->len;
    enum err err = reserve(exporter);
    if (err == ERR_OK) {
        err = spool(exporter, operation);
    }
    if (err == ERR_OK) {
        exporter->entries[exporter->count++] = entry;
        exporter->counts.by_type[operation->type]++;
    }
    return err;
}

/* ---- sorting --------------------------------------------------------------------------------- */

static int order(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* Reads the operation of `entry` again. ERR_DAMAGED: the store gave something that can't be. */
static enum err operation_at(const struct exporter *exporter, const struct entry *entry,
                             struct operation *operation)
{
    size_t len = 0;
    struct slice rest = slice_of(exporter->records + entry->offset, exporter->len - entry->offset);
    return wal_record_decode(rest, operation, exporter->ids, &len);
}

static int compare_slices(struct slice a, struct slice b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int result = common == 0 ? 0 : memcmp(a.data, b.data, common);
    return result != 0 ? result : order(a.len, b.len);
}

/* What has the same numbers differs in its filter or its topic. */
static int compare_texts(const struct exporter *exporter, const struct entry *a,
                         const struct entry *b)
{
    struct operation left = {0};
    struct operation right = {0};
    if (operation_at(exporter, a, &left) != ERR_OK || operation_at(exporter, b, &right) != ERR_OK) {
        return 0; /* the error comes to light when it is to be written */
    }
    return a->rank == RANK_SUBSCRIPTION ? compare_slices(left.filter, right.filter)
                                        : compare_slices(left.topic, right.topic);
}

static int compare(const void *left, const void *right, void *context)
{
    const struct entry *a = left;
    const struct entry *b = right;
    int result = order(a->rank, b->rank);
    if (result == 0) {
        result = order(a->major, b->major);
    }
    if (result == 0) {
        result = order(a->minor, b->minor);
    }
    return result == 0 ? compare_texts(context, a, b) : result;
}

static int compare_major(const void *key, const void *element)
{
    const uint64_t *id = key;
    const struct entry *entry = element;
    return order(*id, entry->major);
}

/* Maps the temporary file and sorts the index. */
static enum err sort(struct exporter *exporter)
{
    if (fflush(exporter->spool) != 0) {
        return transfer__io_error("can't write a temporary file", exporter->error);
    }
    if (exporter->count == 0) {
        return ERR_OK;
    }
    void *map = mmap(NULL, exporter->len, PROT_READ, MAP_PRIVATE, fileno(exporter->spool), 0);
    if (map == MAP_FAILED) {
        return transfer__io_error("can't map a temporary file", exporter->error);
    }
    exporter->records = map;
    qsort_r(exporter->entries, exporter->count, sizeof(struct entry), compare, exporter);
    exporter->first_message = exporter->count - exporter->counts.by_type[OPERATION_MESSAGE_PUT];
    exporter->last_number = exporter->counts.by_type[OPERATION_SESSION_PUT];
    return ERR_OK;
}

/* ---- writing --------------------------------------------------------------------------------- */

static enum err write_line(FILE *out, const char *line, struct text *error)
{
    bool written = fputs(line, out) != EOF && putc('\n', out) != EOF;
    return written ? ERR_OK : transfer__io_error("can't write", error);
}

/* Writes the line of `entry`, with these numbers in place of ids. */
static enum err write_operation(struct exporter *exporter, const struct entry *entry,
                                uint64_t session, uint64_t message, FILE *out)
{
    char *line = NULL;
    struct operation operation = {0};
    enum err err = operation_at(exporter, entry, &operation);
    if (err != ERR_OK) {
        text_add(exporter->error, err_text(err));
        return err;
    }
    operation.session = session;
    operation.message = message;
    err = transfer_json_operation(&operation, &line, exporter->error);
    if (err == ERR_OK) {
        err = write_line(out, line, exporter->error);
        exporter->counts.operations++;
    }
    free(line);
    return err;
}

/* Writes the message that `entry` refers to, unless it is there already; gives its number. */
static enum err write_message(struct exporter *exporter, const struct entry *entry, FILE *out,
                              uint64_t *number)
{
    enum err err = ERR_OK;
    struct entry *message =
        bsearch(&entry->message, exporter->entries + exporter->first_message,
                exporter->count - exporter->first_message, sizeof(struct entry), compare_major);
    if (message == NULL) {
        text_printf(exporter->error,
                    "session %" PRIu64 " refers to message %" PRIu64
                    ", which the store did not give",
                    entry->major, entry->message);
        return ERR_DAMAGED;
    }
    if (message->message == 0) {
        message->message = ++exporter->last_number;
        err = write_operation(exporter, message, 0, message->message, out);
    }
    *number = message->message;
    return err;
}

/* Gives the number of the session that `entry` belongs to; 0: it belongs to none. */
static enum err number_session(const struct exporter *exporter, const struct entry *entry,
                               uint64_t *number)
{
    const struct entry *session =
        bsearch(&entry->major, exporter->entries, exporter->counts.by_type[OPERATION_SESSION_PUT],
                sizeof(struct entry), compare_major);
    if (session == NULL && entry->rank != RANK_RETAINED) {
        text_printf(exporter->error, "the store did not give session %" PRIu64, entry->major);
        return ERR_DAMAGED;
    }
    *number = session == NULL ? 0 : (uint64_t)(session - exporter->entries) + 1;
    return ERR_OK;
}

static enum err write_entry(struct exporter *exporter, const struct entry *entry, FILE *out)
{
    uint64_t message = 0;
    uint64_t session = 0;
    enum err err = number_session(exporter, entry, &session);
    if (err == ERR_OK && entry->message != 0) {
        err = write_message(exporter, entry, out, &message);
    }
    return err == ERR_OK ? write_operation(exporter, entry, session, message, out) : err;
}

static enum err write_entries(struct exporter *exporter, FILE *out)
{
    enum err err = ERR_OK;
    for (size_t i = 0; i < exporter->first_message && err == ERR_OK; i++) {
        err = write_entry(exporter, &exporter->entries[i], out);
    }
    /* Messages that nothing refers to are left out. */
    exporter->counts.by_type[OPERATION_MESSAGE_PUT] =
        exporter->last_number - exporter->counts.by_type[OPERATION_SESSION_PUT];
    return err;
}

/* Writes a line that was made, and frees it. */
static enum err write_made(enum err err, char *line, FILE *out, struct text *error)
{
    if (err == ERR_OK) {
        err = write_line(out, line, error);
    }
    free(line);
    return err;
}

static enum err write_all(struct exporter *exporter, FILE *out)
{
    char *line = NULL;
    enum err err = transfer_json_header(&line, exporter->error);
    err = write_made(err, line, out, exporter->error);
    if (err == ERR_OK) {
        err = write_entries(exporter, out);
    }
    if (err == ERR_OK) {
        line = NULL;
        err = transfer_json_end(exporter->counts.operations, &line, exporter->error);
        err = write_made(err, line, out, exporter->error);
    }
    if (err == ERR_OK && fflush(out) != 0) {
        err = transfer__io_error("can't write", exporter->error);
    }
    return err;
}

static void exporter_fini(struct exporter *exporter)
{
    if (exporter->records != NULL) {
        munmap((void *)exporter->records, exporter->len);
    }
    mem_free(exporter->buffer);
    mem_free(exporter->ids);
    mem_free(exporter->entries);
    fclose(exporter->spool);
}

static enum err gather(struct exporter *exporter, struct engine *engine)
{
    const struct operation_sink sink = {.context = exporter, .take = take};
    struct engine_loaded loaded = {0};
    enum err err = engine->type->load(engine, &sink, &loaded);
    if (err != ERR_OK && exporter->error->len == 0) {
        transfer__add_trouble(engine, "read", err, exporter->error);
    }
    return err;
}

static enum err export_from(struct engine *engine, FILE *out, struct transfer_counts *counts,
                            struct text *error)
{
    struct exporter exporter = {.spool = transfer__spool(error), .error = error};
    if (exporter.spool == NULL) {
        return ERR_IO;
    }
    exporter.ids = mem_alloc_array(WAL_RECORD_IDS_MAX, sizeof(exporter.ids[0]));
    enum err err = gather(&exporter, engine);
    if (err == ERR_OK) {
        err = sort(&exporter);
    }
    if (err == ERR_OK) {
        err = write_all(&exporter, out);
    }
    if (err == ERR_OK) {
        *counts = exporter.counts;
    }
    exporter_fini(&exporter);
    return err;
}

enum err transfer__export(const struct engine_type *type, const struct storage_config *config,
                          FILE *out, struct transfer_counts *counts, struct text *error)
{
    struct storage_stats *stats = mem_alloc(sizeof(*stats));
    struct engine *engine = NULL;
    enum err err = transfer__open(type, config, stats, &engine, error);
    if (err == ERR_OK) {
        err = export_from(engine, out, counts, error);
        engine->type->close(engine);
    }
    mem_free(stats);
    return err;
}

enum err transfer_export(const struct storage_config *config, FILE *out,
                         struct transfer_counts *counts, struct text *error)
{
    const struct engine_type *type = NULL;
    enum err err = transfer__find_engine(config, &type, error);
    if (err == ERR_OK) {
        err = transfer__find_store(config, error);
    }
    return err == ERR_OK ? transfer__export(type, config, out, counts, error) : err;
}
