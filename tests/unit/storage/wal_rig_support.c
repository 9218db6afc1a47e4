#include "tests/unit/storage/wal_rig_support.h"

#include "base/macros.h"

/* What every record begins with; the rest follows from it. */
struct rig_record {
    uint32_t batch;
    uint32_t index;
    uint32_t count;
    uint32_t len; /* of the whole record */
};

void rig_init(struct wal_rig *rig, uint64_t segment_bytes)
{
    *rig = (struct wal_rig){.log = NULL};
    faulty_files_init(&rig->faulty);
    rig->config = (struct wal_log_config){.dir = RIG_DIR,
                                          .segment_bytes = segment_bytes,
                                          .first = 1,
                                          .damage = DAMAGE_QUARANTINE,
                                          .no_background = true,
                                          .files = &rig->faulty.files,
                                          .stats = &rig->stats};
}

void rig_init_filled(struct wal_rig *rig, unsigned batches)
{
    rig_init(rig, 12288);
    assert_int_equal(rig_open(rig), ERR_OK);
    rig_fill(rig, 1, batches, 20);
    rig_close(rig);
}

void rig_fini(struct wal_rig *rig)
{
    rig_close(rig);
    faulty_files_fini(&rig->faulty);
}

static void fill_record(uint8_t *at, const struct rig_record *record)
{
    memcpy(at, record, sizeof(*record));
    for (size_t i = sizeof(*record); i < record->len; i++) {
        at[i] = (uint8_t)(record->batch * 31 + record->index * 7 + i);
    }
}

static enum err take_record(void *context, struct wal_place place, struct slice bytes)
{
    struct wal_rig *rig = context;
    struct rig_record record;
    assert_true(bytes.len >= sizeof(record));
    assert_int_equal(place.len, bytes.len);
    memcpy(&record, bytes.data, sizeof(record));
    assert_int_equal(record.len, bytes.len);
    uint8_t *expected = malloc(bytes.len);
    assert_non_null(expected);
    fill_record(expected, &record);
    assert_memory_equal(expected, bytes.data, bytes.len);
    free(expected);

    assert_int_equal(record.index, rig->partial); /* in order, none left out */
    if (rig->found_count == 0 && record.index == 0) {
        rig->first_place = place;
    }
    rig->partial++;
    if (rig->partial == record.count) {
        assert_true(rig->found_count < RIG_BATCHES_MAX);
        rig->found[rig->found_count++] = record.batch;
        rig->partial = 0;
    }
    return ERR_OK;
}

static void take_damage(void *context, uint64_t segment, uint64_t offset, uint64_t len,
                        const char *path)
{
    struct wal_rig *rig = context;
    assert_true(rig->damage_count < RIG_DAMAGES_MAX);
    struct rig_damage *damage = &rig->damages[rig->damage_count++];
    *damage = (struct rig_damage){.segment = segment, .offset = offset, .len = len};
    damage->is_cut = path != NULL && path[0] == '\0';
    (void)snprintf(damage->path, sizeof(damage->path), "%s", path != NULL ? path : "");
}

static struct wal_log_reader reader_of(struct wal_rig *rig)
{
    rig->found_count = 0;
    rig->partial = 0;
    rig->damage_count = 0;
    return (struct wal_log_reader){.context = rig, .record = take_record, .damage = take_damage};
}

enum err rig_open(struct wal_rig *rig)
{
    memset(&rig->stats, 0, sizeof(rig->stats));
    struct wal_log_reader reader = reader_of(rig);
    enum err err = wal_log_open(&rig->config, &rig->log);
    if (err != ERR_OK) {
        rig->log = NULL;
        return err;
    }
    err = wal_log_read(rig->log, &reader);
    if (err == ERR_OK) {
        assert_int_equal(rig->partial, 0);
    } else {
        rig_close(rig);
    }
    return err;
}

void rig_close(struct wal_rig *rig)
{
    wal_log_close(rig->log);
    rig->log = NULL;
}

void rig_kill(struct wal_rig *rig, enum faulty_loss loss, uint64_t seed)
{
    faulty_files_freeze(&rig->faulty, 1);
    rig_close(rig);
    faulty_files_restart(&rig->faulty, loss, seed);
}

enum err rig_scan(struct wal_rig *rig, const struct wal_scan *scan)
{
    struct wal_log_reader reader = reader_of(rig);
    return wal_log_scan(scan, &reader);
}

enum err rig_append(struct wal_rig *rig, unsigned batch, unsigned count, size_t len)
{
    ASSERT(len >= sizeof(struct rig_record));
    uint8_t *records = malloc(count * (len + count) + 1);
    size_t *ends = malloc((count + 1) * sizeof(*ends));
    assert_true(records != NULL && ends != NULL);
    size_t end = 0;
    for (unsigned i = 0; i < count; i++) {
        struct rig_record record = {.batch = batch, .index = i, .count = count};
        record.len = (uint32_t)(len + i);
        fill_record(records + end, &record);
        end += record.len;
        ends[i] = end;
    }
    enum err err = wal_log_append(rig->log, slice_of(records, end), ends, count);
    free(records);
    free(ends);
    return err;
}

void rig_fill(struct wal_rig *rig, unsigned from, unsigned to, size_t len)
{
    for (unsigned batch = from; batch <= to; batch++) {
        assert_int_equal(rig_append(rig, batch, 2, len), ERR_OK);
        assert_int_equal(wal_log_sync(rig->log), ERR_OK);
    }
}

void assert_found(const struct wal_rig *rig, unsigned from, unsigned to)
{
    assert_int_equal(rig->found_count, to + 1 - from);
    for (size_t i = 0; i < rig->found_count; i++) {
        assert_int_equal(rig->found[i], from + i);
    }
}

unsigned rig_missing(const struct wal_rig *rig, unsigned count)
{
    assert_in_range(rig->found_count, count - 1, count);
    for (size_t i = 0; i < rig->found_count; i++) {
        if (rig->found[i] != i + 1) {
            for (size_t k = i; k < rig->found_count; k++) {
                assert_int_equal(rig->found[k], k + 2);
            }
            return (unsigned)i + 1;
        }
    }
    return rig->found_count == count ? 0 : count;
}

const char *rig_path(uint64_t segment)
{
    static char path[64];
    (void)snprintf(path, sizeof(path), RIG_DIR "/log.%016llu", (unsigned long long)segment);
    return path;
}
