#include "storage/wal_packed.h"

#include <string.h>

#define VARINT_BYTES_MAX 10u
#define ITEM_BYTES_MAX (3 * VARINT_BYTES_MAX + 6) /* three varints, flags, an identifier */

/* Flags of a queue entry. */
#define QUEUED_QOS 0x03u
#define QUEUED_RETAIN 0x04u
#define QUEUED_SHARED 0x08u
#define QUEUED_RELEASED 0x10u /* no message follows */
#define QUEUED_ID 0x20u       /* a subscription identifier follows */
#define QUEUED_ALL 0x3fu

/* ---- bytes ----------------------------------------------------------------------------------- */

static void put_u64(uint8_t *at, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++) {
        value |= (uint64_t)at[i] << (8 * i);
    }
    return value;
}

static void put_varint(struct wal_run *run, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) {
        run->data[run->len++] = (uint8_t)(value | 0x80);
    }
    run->data[run->len++] = (uint8_t)value;
}

static enum err get_varint(struct slice *rest, uint64_t *value)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < VARINT_BYTES_MAX && i < rest->len; i++) {
        uint8_t byte = rest->data[i];
        if (i == VARINT_BYTES_MAX - 1 && byte > 1) {
            return ERR_DAMAGED; /* more than 64 bits */
        }
        sum |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *rest = slice_from(*rest, i + 1);
            *value = sum;
            return ERR_OK;
        }
    }
    return ERR_DAMAGED;
}

/* The difference to `previous`, small whether up or down. */
static void put_step(struct wal_run *run, uint64_t previous, uint64_t value)
{
    uint64_t step = value - previous;
    put_varint(run, (step << 1) ^ (0 - (step >> 63)));
}

static enum err get_step(struct slice *rest, uint64_t *value)
{
    uint64_t folded = 0;
    enum err err = get_varint(rest, &folded);
    if (err == ERR_OK) {
        *value += (folded >> 1) ^ (0 - (folded & 1));
    }
    return err;
}

static enum err get_u32(struct slice *rest, uint32_t *value)
{
    uint64_t wide = 0;
    enum err err = get_varint(rest, &wide);
    if (err == ERR_OK && wide > UINT32_MAX) {
        return ERR_DAMAGED;
    }
    *value = (uint32_t)wide;
    return err;
}

/* ---- the clock ------------------------------------------------------------------------------- */

void wal_clock_encode(struct wal_clock clock, uint8_t *at)
{
    at[0] = WAL_PACKED_CLOCK;
    put_u64(at + 1, clock.now_ms);
    put_u64(at + 9, clock.next_id);
}

enum err wal_clock_decode(struct slice record, struct wal_clock *clock)
{
    if (record.len != WAL_CLOCK_BYTES || record.data[0] != WAL_PACKED_CLOCK) {
        return ERR_DAMAGED;
    }
    *clock =
        (struct wal_clock){.now_ms = get_u64(record.data + 1), .next_id = get_u64(record.data + 9)};
    return ERR_OK;
}

/* ---- runs ------------------------------------------------------------------------------------ */

static void begin(struct wal_run *run, enum wal_packed_type type, uint64_t owner)
{
    run->position = run->message = run->offset = 0;
    run->data[0] = (uint8_t)type;
    run->len = 1;
    put_varint(run, owner);
}

bool wal_run_full(const struct wal_run *run)
{
    return run->len + ITEM_BYTES_MAX > WAL_RUN_BYTES;
}

void wal_bodies_begin(struct wal_run *run, uint64_t segment)
{
    begin(run, WAL_PACKED_BODIES, segment);
}

void wal_bodies_add(struct wal_run *run, struct wal_body_ref ref)
{
    ASSERT(!wal_run_full(run));
    put_step(run, run->message, ref.message);
    put_step(run, run->offset, ref.offset);
    put_varint(run, ref.len);
    run->message = ref.message;
    run->offset = ref.offset;
}

void wal_queued_begin(struct wal_run *run, uint64_t session)
{
    begin(run, WAL_PACKED_QUEUE, session);
}

void wal_queued_add(struct wal_run *run, const struct wal_queued *entry)
{
    ASSERT(!wal_run_full(run) && entry->position > run->position);
    put_varint(run, entry->position - run->position);
    run->position = entry->position;
    run->data[run->len++] =
        (uint8_t)((entry->qos & QUEUED_QOS) | (entry->retain ? QUEUED_RETAIN : 0) |
                  (entry->shared ? QUEUED_SHARED : 0) | (entry->released ? QUEUED_RELEASED : 0) |
                  (entry->subscription_id != 0 ? QUEUED_ID : 0));
    if (!entry->released) {
        put_step(run, run->message, entry->message);
        run->message = entry->message;
    }
    if (entry->subscription_id != 0) {
        put_varint(run, entry->subscription_id);
    }
}

enum err wal_run_open(struct slice record, struct wal_run_reader *reader)
{
    if (record.len == 0) {
        return ERR_DAMAGED;
    }
    *reader = (struct wal_run_reader){.rest = slice_from(record, 1)};
    return get_varint(&reader->rest, &reader->owner);
}

enum err wal_bodies_next(struct wal_run_reader *reader, struct wal_body_ref *ref)
{
    if (get_step(&reader->rest, &reader->message) != ERR_OK ||
        get_step(&reader->rest, &reader->offset) != ERR_OK ||
        get_u32(&reader->rest, &ref->len) != ERR_OK || reader->offset > UINT32_MAX) {
        return ERR_DAMAGED;
    }
    ref->message = reader->message;
    ref->offset = (uint32_t)reader->offset;
    return ERR_OK;
}

enum err wal_queued_next(struct wal_run_reader *reader, struct wal_queued *entry)
{
    uint64_t step = 0;
    if (get_varint(&reader->rest, &step) != ERR_OK || reader->rest.len == 0 || step == 0 ||
        step > UINT64_MAX - reader->position) {
        return ERR_DAMAGED;
    }
    reader->position += step;
    uint8_t flags = reader->rest.data[0];
    reader->rest = slice_from(reader->rest, 1);
    *entry = (struct wal_queued){.position = reader->position,
                                 .qos = flags & QUEUED_QOS,
                                 .retain = (flags & QUEUED_RETAIN) != 0,
                                 .shared = (flags & QUEUED_SHARED) != 0,
                                 .released = (flags & QUEUED_RELEASED) != 0};
    enum err err = (flags & ~QUEUED_ALL) == 0 ? ERR_OK : ERR_DAMAGED;
    if (err == ERR_OK && !entry->released) {
        err = get_step(&reader->rest, &reader->message);
        entry->message = reader->message;
    }
    if (err == ERR_OK && (flags & QUEUED_ID) != 0) {
        err = get_u32(&reader->rest, &entry->subscription_id);
    }
    return err;
}
