#include "storage/wal_tool.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/text.h"
#include "storage/wal_check.h"
#include "storage/wal_dir.h"
#include "storage/wal_engine_priv.h"
#include "storage/wal_record.h"
#include "storage/wal_snapshot.h"

#define ATTEMPTS 3 /* beside a broker that compacts meanwhile */
#define REPAIR_SEGMENT_BYTES (16u << 20)

const char wal_tool_help[] =
    "usage: pulse wal inspect DIR [--records]\n"
    "       pulse wal verify DIR\n"
    "       pulse wal repair DIR\n"
    "\n"
    "Looks into DIR, the folder of a write-ahead log (storage.wal_dir). inspect says what is in\n"
    "it, with --records also every record; verify checks all of it; repair sets what is damaged\n"
    "aside, so that the broker starts. Only repair changes anything, and needs the broker\n"
    "stopped. Exit codes: 0 all is well, 1 damage was found (and by repair set aside) or it can't\n"
    "be read, 2 wrong usage.\n";

/* ---- pieces of output ------------------------------------------------------------------------ */

static void print_file(uint64_t segment)
{
    if (wal_place_in_snapshot(segment)) {
        (void)printf("snapshot %" PRIu64, wal_place_snapshot(segment));
    } else {
        (void)printf("segment %" PRIu64, segment);
    }
}

static void print_damages(const struct wal_check *check)
{
    if (check->err == ERR_OK && !check->empty && !check->manifest_sound) {
        (void)printf("damage: the manifest is %s\n", check->manifest_found ? "damaged" : "missing");
    }
    for (uint64_t i = 0; i < check->damage_count && i < WAL_CHECK_DAMAGES; i++) {
        const struct wal_damage *damage = &check->damages[i];
        (void)printf("damage: ");
        print_file(damage->segment);
        if (damage->len > 0) {
            (void)printf(", %" PRIu64 " bytes at %" PRIu64 "\n", damage->len, damage->offset);
        } else {
            (void)printf(", it is missing, or its end\n");
        }
    }
    if (check->damage_count > WAL_CHECK_DAMAGES) {
        (void)printf("damage: %" PRIu64 " more\n", check->damage_count - WAL_CHECK_DAMAGES);
    }
    if (check->missing > 0) {
        (void)printf("lost: %" PRIu64 " messages\n", check->missing);
    }
    if (check->err != ERR_OK) {
        (void)printf("can't read it: %s\n", err_text(check->err));
    }
}

static int print_verdict(const struct wal_check *check)
{
    print_damages(check);
    if (!wal_check_fine(check)) {
        return WAL_TOOL_DAMAGE;
    }
    (void)printf(check->empty ? "fine: there is no wal yet\n" : "fine\n");
    return WAL_TOOL_FINE;
}

static void print_moment(uint64_t ms)
{
    char text[32];
    time_t seconds = (time_t)(ms / 1000);
    struct tm moment;
    if (ms == 0 || gmtime_r(&seconds, &moment) == NULL ||
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &moment) == 0) {
        (void)printf("last written   never\n");
        return;
    }
    (void)printf("last written   %s\n", text);
}

static void print_contents(const struct wal_check *check)
{
    (void)printf("snapshot       %" PRIu64 "\n", check->manifest.snapshot);
    (void)printf("first segment  %" PRIu64 "\n", check->manifest.first);
    (void)printf("kept segments  %zu\n", check->manifest.keep_count);
    for (uint32_t i = 0; i < check->file_count; i++) {
        const struct wal_check_file *file = &check->files[i];
        (void)printf("read           ");
        print_file(file->segment);
        (void)printf(": %" PRIu64 " records, %" PRIu64 " bytes\n", file->records, file->bytes);
    }
    (void)printf("sessions       %" PRIu64 "\n", check->counts.sessions);
    (void)printf("subscriptions  %" PRIu64 "\n", check->counts.subscriptions);
    (void)printf("queue entries  %" PRIu64 "\n", check->counts.queued);
    (void)printf("messages       %" PRIu64 "\n", check->counts.messages);
    (void)printf("inbound ids    %" PRIu64 "\n", check->counts.inbound_ids);
    (void)printf("retained       %" PRIu64 "\n", check->counts.retained);
    (void)printf("next id        %" PRIu64 "\n", check->clock.next_id);
    print_moment(check->clock.now_ms);
}

/* ---- records --------------------------------------------------------------------------------- */

struct record_printer {
    struct text line;
    uint32_t ids[WAL_RECORD_IDS_MAX];
};

static void add_slice(struct text *line, const struct operation_field *field, struct slice value)
{
    if (field->kind == OPERATION_BYTES) {
        text_printf(line, "%zu bytes", value.len); /* what clients send isn't for everybody */
    } else {
        text_add(line, "\"");
        text_add_escaped(line, value);
        text_add(line, "\"");
    }
}

static void add_ids(struct text *line, const struct operation *operation)
{
    for (size_t i = 0; i < operation->subscription_id_count; i++) {
        text_printf(line, i == 0 ? "%" PRIu32 : ",%" PRIu32, operation->subscription_ids[i]);
    }
}

static void add_number(struct text *line, uint64_t value, uint64_t never)
{
    if (value == never) {
        text_add(line, "max");
    } else {
        text_printf(line, "%" PRIu64, value);
    }
}

static void add_field(struct text *line, const struct operation *operation,
                      const struct operation_field *field)
{
    const void *at = (const uint8_t *)operation + field->offset;
    text_printf(line, " %s=", field->name);
    switch (field->kind) {
    case OPERATION_U8:
        text_printf(line, "%u", *(const uint8_t *)at);
        return;
    case OPERATION_BOOL:
        text_add(line, *(const bool *)at ? "true" : "false");
        return;
    case OPERATION_U16:
        text_printf(line, "%u", *(const uint16_t *)at);
        return;
    case OPERATION_U32:
        add_number(line, *(const uint32_t *)at, UINT32_MAX);
        return;
    case OPERATION_U64:
        add_number(line, *(const uint64_t *)at, UINT64_MAX);
        return;
    case OPERATION_TEXT:
    case OPERATION_BYTES:
        add_slice(line, field, *(const struct slice *)at);
        return;
    case OPERATION_IDS:
        add_ids(line, operation);
        return;
    }
}

static void add_run(struct text *line, struct slice record)
{
    bool bodies = record.data[0] == WAL_PACKED_BODIES;
    struct wal_run_reader run;
    uint64_t count = 0;
    enum err err = wal_run_open(record, &run);
    while (err == ERR_OK && run.rest.len > 0) {
        struct wal_body_ref ref;
        struct wal_queued entry;
        err = bodies ? wal_bodies_next(&run, &ref) : wal_queued_next(&run, &entry);
        count++;
    }
    if (err != ERR_OK) {
        text_add(line, "not a record");
    } else if (bodies) {
        text_printf(line, "bodies segment=%" PRIu64 " count=%" PRIu64, run.owner, count);
    } else {
        text_printf(line, "queue session=%" PRIu64 " count=%" PRIu64, run.owner, count);
    }
}

static void add_record(struct record_printer *printer, struct slice record)
{
    struct text *line = &printer->line;
    struct wal_clock clock;
    struct operation operation;
    size_t len;
    if (wal_clock_decode(record, &clock) == ERR_OK) {
        text_printf(line, "clock now_ms=%" PRIu64 " next_id=%" PRIu64, clock.now_ms, clock.next_id);
    } else if (record.len > 0 && record.data[0] >= WAL_PACKED_MIN) {
        add_run(line, record);
    } else if (wal_record_decode(record, &operation, printer->ids, &len) != ERR_OK) {
        text_add(line, "not a record");
    } else {
        const struct operation_info *info = operation_info(operation.type);
        text_add(line, info->name);
        for (size_t i = 0; i < info->field_count; i++) {
            add_field(line, &operation, &info->fields[i]);
        }
    }
}

static void print_record(void *context, struct wal_place place, struct slice record)
{
    struct record_printer *printer = context;
    printer->line.len = 0;
    add_record(printer, record);
    print_file(place.segment);
    uint64_t high = wal_place_in_snapshot(place.segment) ? place.segment << 1 >> 33 : 0;
    (void)printf(" at %" PRIu64 ": %s\n", high << 32 | place.offset, printer->line.data);
}

/* ---- what there is to do --------------------------------------------------------------------- */

/* Checks it, again while a broker changes it. */
static void check(const char *dir, struct wal_check *result)
{
    bool busy = wal_dir_in_use(&files_system, dir);
    if (busy) {
        (void)printf("in use: what is shown changes while it is read\n");
    }
    wal_check_init(result, &files_system, dir, NULL);
    for (int i = 1; busy && !wal_check_fine(result) && i < ATTEMPTS; i++) {
        wal_check_fini(result);
        wal_check_init(result, &files_system, dir, NULL);
    }
}

static int verify(const char *dir)
{
    struct wal_check result;
    check(dir, &result);
    int code = print_verdict(&result);
    wal_check_fini(&result);
    return code;
}

static int inspect(const char *dir, bool records)
{
    if (records) {
        struct record_printer *printer = mem_alloc(sizeof(*printer));
        const struct wal_check_sink sink = {.context = printer, .seen = print_record};
        struct wal_check all;
        wal_check_init(&all, &files_system, dir, &sink);
        wal_check_fini(&all);
        text_fini(&printer->line);
        mem_free(printer);
    }
    struct wal_check result;
    check(dir, &result);
    if (result.err == ERR_OK && !result.empty) {
        print_contents(&result);
    }
    int code = print_verdict(&result);
    wal_check_fini(&result);
    return code;
}

static enum err drop_operation(void *context, const struct operation *operation)
{
    (void)context;
    (void)operation;
    return ERR_OK;
}

/* Starts as a broker does, with the damage set aside, and makes a snapshot of what is left. */
static enum err repair_store(const char *dir)
{
    const struct storage_config config = {.engine = STORAGE_WAL,
                                          .wal_dir = dir,
                                          .wal_segment_bytes = REPAIR_SEGMENT_BYTES,
                                          .wal_damage = DAMAGE_QUARANTINE};
    const struct operation_sink sink = {.take = drop_operation};
    static struct storage_stats stats;
    struct engine *engine;
    struct engine_loaded loaded;
    enum err err = engine_wal.open(&config, &stats, &engine);
    if (err != ERR_OK) {
        return err;
    }
    err = engine_wal.load(engine, &sink, &loaded);
    if (err == ERR_OK) {
        err = wal_engine__compact(wal_engine__of(engine));
    }
    if (err == ERR_OK) {
        wal_engine__end_compaction(wal_engine__of(engine), false);
        err = stat_get(&stats, STAT_COMPACTIONS) > 0 ? ERR_OK : ERR_IO;
    }
    engine_wal.close(engine);
    return err;
}

static void count_quarantine(void *argument, const char *name)
{
    *(uint64_t *)argument += strncmp(name, "quarantine.", strlen("quarantine.")) == 0 ? 1 : 0;
}

static uint64_t quarantine_files(const char *dir)
{
    uint64_t count = 0;
    (void)files_system.list(files_system.context, dir, count_quarantine, &count); /* or none */
    return count;
}

/* A file that is lost altogether leaves nothing to set aside. */
static void print_repaired(uint64_t set_aside)
{
    if (set_aside > 0) {
        (void)printf("repaired: what was damaged, and what can't be used without it, is in "
                     "%" PRIu64 " new quarantine.* files\n",
                     set_aside);
    } else {
        (void)printf("repaired: there was nothing to set aside\n");
    }
}

static int repair(const char *dir)
{
    struct wal_check before;
    uint64_t quarantined = quarantine_files(dir);
    if (wal_dir_in_use(&files_system, dir)) {
        (void)printf("not repaired: %s\n", err_text(ERR_LOCKED));
        return WAL_TOOL_DAMAGE;
    }
    wal_check_init(&before, &files_system, dir, NULL);
    if (wal_check_fine(&before)) {
        wal_check_fini(&before);
        (void)printf("fine: nothing to repair\n");
        return WAL_TOOL_FINE;
    }
    print_damages(&before);
    wal_check_fini(&before);
    enum err err = repair_store(dir);
    if (err == ERR_OK) {
        print_repaired(quarantine_files(dir) - quarantined);
    } else {
        (void)printf("not repaired: %s\n", err_text(err));
    }
    return WAL_TOOL_DAMAGE;
}

int wal_tool_main(int argc, char **argv)
{
    bool records = argc == 4 && strcmp(argv[3], "--records") == 0;
    if (argc == 3 && strcmp(argv[1], "verify") == 0) {
        return verify(argv[2]);
    }
    if (argc == 3 && strcmp(argv[1], "repair") == 0) {
        return repair(argv[2]);
    }
    if ((argc == 3 || records) && strcmp(argv[1], "inspect") == 0) {
        return inspect(argv[2], records);
    }
    (void)fputs(wal_tool_help, stderr);
    return WAL_TOOL_USAGE;
}
