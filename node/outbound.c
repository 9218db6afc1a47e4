#include "node/outbound.h"

#include <string.h>

#include "base/mem.h"
#include "base/message.h"

/*
 * Invariants:
 *   inflight <= count <= cap, next <= count;
 *   positions grow from each entry to the next;
 *   entries [0, inflight) are not WAITING and lie within OUTBOUND_INFLIGHT_MAX positions, entries
 *   [inflight, count) are WAITING;
 *   WAITING and SENT entries hold a message, the others do not.
 */

#define RING_MIN 8u
#define EXTRA_MIN 4u

static void free_ids(struct outbound *out, struct outbound_entry *entry)
{
    if (entry->many_ids) {
        mem_free(out->extra[entry->ids_index - 1]);
        out->extra[entry->ids_index - 1] = NULL;
        entry->many_ids = false;
        entry->subscription_id = 0;
    }
}

void outbound_drop_message(struct outbound *out, struct outbound_entry *entry,
                           enum outbound_state state)
{
    if (entry->message != NULL) {
        out->bytes -= message_bytes(entry->message);
        message_unref(entry->message);
        entry->message = NULL;
        free_ids(out, entry);
    }
    entry->state = state;
}

void outbound_fini(struct outbound *out)
{
    for (uint32_t i = 0; i < out->count; i++) {
        outbound_drop_message(out, outbound_at(out, i), OUTBOUND_DONE);
    }
    mem_free(out->ring);
    mem_free(out->extra);
    *out = (struct outbound){0};
}

static enum err grow(struct outbound *out)
{
    uint32_t cap = out->cap > 0 ? out->cap * 2 : RING_MIN;
    struct outbound_entry *ring = mem_try_alloc(cap * sizeof(*ring));
    if (ring == NULL) {
        return ERR_MEMORY;
    }
    for (uint32_t i = 0; i < out->count; i++) {
        ring[i] = *outbound_at(out, i);
    }
    mem_free(out->ring);
    out->ring = ring;
    out->cap = cap;
    out->head = 0;
    return ERR_OK;
}

/* What a burst needed is not kept by an idle session. */
static void shrink_when_empty(struct outbound *out)
{
    if (out->count > 0) {
        return;
    }
    if (out->cap > RING_MIN * 16) {
        mem_free(out->ring);
        out->ring = NULL;
        out->cap = 0;
        out->head = 0;
    }
    if (out->extra_cap > EXTRA_MIN * 16) {
        mem_free(out->extra);
        out->extra = NULL;
        out->extra_cap = 0;
    }
}

static enum err keep_ids(struct outbound *out, struct outbound_entry *entry, const uint32_t *ids,
                         size_t count)
{
    struct subscription_ids *kept = mem_try_alloc(sizeof(*kept) + count * sizeof(ids[0]));
    if (kept == NULL) {
        return ERR_MEMORY;
    }
    kept->count = count;
    memcpy(kept->ids, ids, count * sizeof(ids[0]));
    uint32_t place = 0;
    while (place < out->extra_cap && out->extra[place] != NULL) {
        place++;
    }
    if (place == out->extra_cap) {
        uint32_t cap = out->extra_cap > 0 ? out->extra_cap * 2 : EXTRA_MIN;
        struct subscription_ids **extra = mem_try_resize(out->extra, cap * sizeof(*extra));
        if (extra == NULL) {
            mem_free(kept);
            return ERR_MEMORY;
        }
        memset(extra + out->extra_cap, 0, (cap - out->extra_cap) * sizeof(*extra));
        out->extra = extra;
        out->extra_cap = cap;
    }
    out->extra[place] = kept;
    entry->ids_index = place + 1;
    entry->many_ids = true;
    return ERR_OK;
}

static enum err append(struct outbound *out, struct outbound_entry entry, const uint32_t *ids,
                       size_t id_count)
{
    ASSERT(out->count == 0 || entry.position > outbound_at(out, out->count - 1)->position);
    if (out->count == out->cap && grow(out) != ERR_OK) {
        return ERR_MEMORY;
    }
    entry.many_ids = false;
    if (id_count > 1 && entry.message != NULL && keep_ids(out, &entry, ids, id_count) != ERR_OK) {
        return ERR_MEMORY;
    }
    out->count++;
    *outbound_at(out, out->count - 1) = entry;
    out->last_position = entry.position;
    out->bytes += entry.message != NULL ? message_bytes(entry.message) : 0;
    return ERR_OK;
}

enum err outbound_push(struct outbound *out, struct outbound_entry entry, const uint32_t *ids,
                       size_t id_count)
{
    ASSERT(entry.message != NULL && entry.state == OUTBOUND_WAITING);
    entry.position = (out->last_position + 1) & OUTBOUND_POSITION_MAX;
    return append(out, entry, ids, id_count);
}

enum err outbound_restore(struct outbound *out, struct outbound_entry entry, const uint32_t *ids,
                          size_t id_count)
{
    ASSERT((entry.message != NULL) == (entry.state != OUTBOUND_RELEASED));
    enum err err = append(out, entry, ids, id_count);
    if (err == ERR_OK && entry.state != OUTBOUND_WAITING) {
        while (out->inflight + 1 < out->count) { /* what is before it was sent before */
            outbound_at(out, out->inflight++)->state = OUTBOUND_SENT;
        }
        out->inflight++;
    }
    return err;
}

size_t outbound_ids(const struct outbound *out, const struct outbound_entry *entry,
                    const uint32_t **ids)
{
    if (entry->many_ids) {
        const struct subscription_ids *kept = out->extra[entry->ids_index - 1];
        *ids = kept->ids;
        return kept->count;
    }
    *ids = &entry->subscription_id;
    return entry->subscription_id != 0 ? 1 : 0;
}

bool outbound_may_start(const struct outbound *out)
{
    return out->inflight == 0 ||
           outbound_at(out, out->inflight)->position - outbound_at(out, 0)->position <
               OUTBOUND_INFLIGHT_MAX;
}

struct outbound_entry *outbound_start(struct outbound *out)
{
    ASSERT(outbound_waiting(out) > 0 && outbound_may_start(out));
    struct outbound_entry *entry = outbound_at(out, out->inflight);
    entry->state = OUTBOUND_SENT;
    out->inflight++;
    return entry;
}

/* Among the first `count` entries. Without gaps it is the last that may be. */
static struct outbound_entry *find_among(const struct outbound *out, uint64_t position,
                                         uint32_t count)
{
    uint32_t low = 0;
    uint32_t high = count;
    while (low < high) {
        uint32_t middle = high == count ? high - 1 : low + (high - low) / 2;
        struct outbound_entry *entry = outbound_at(out, middle);
        if (entry->position == position) {
            return entry;
        }
        if (entry->position < position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

struct outbound_entry *outbound_find(const struct outbound *out, uint16_t packet_id)
{
    if (out->inflight == 0 || packet_id == 0) {
        return NULL;
    }
    const struct outbound_entry *first = outbound_at(out, 0);
    uint32_t distance = (packet_id + 65535u - outbound_packet_id(first)) % 65535u;
    uint32_t among = distance < out->inflight ? distance + 1 : out->inflight;
    struct outbound_entry *entry = find_among(out, first->position + distance, among);
    return entry == NULL || entry->state == OUTBOUND_DONE ? NULL : entry;
}

struct outbound_entry *outbound_find_position(const struct outbound *out, uint64_t position)
{
    if (out->count == 0 || position < outbound_at(out, 0)->position) {
        return NULL;
    }
    uint64_t distance = position - outbound_at(out, 0)->position;
    return find_among(out, position, distance < out->count ? (uint32_t)distance + 1 : out->count);
}

void outbound_trim(struct outbound *out)
{
    while (out->inflight > 0 && outbound_at(out, 0)->state == OUTBOUND_DONE) {
        out->head = (out->head + 1) & (out->cap - 1);
        out->count--;
        out->inflight--;
        if (out->next > 0) {
            out->next--;
        }
    }
    shrink_when_empty(out);
}

void outbound_drop_first_waiting(struct outbound *out)
{
    ASSERT(outbound_waiting(out) > 0);
    outbound_drop_message(out, outbound_at(out, out->inflight), OUTBOUND_DONE);
    /* Close the gap from the shorter side. */
    if (out->inflight <= outbound_waiting(out)) {
        for (uint32_t i = out->inflight; i > 0; i--) {
            *outbound_at(out, i) = *outbound_at(out, i - 1);
        }
        out->head = (out->head + 1) & (out->cap - 1);
    } else {
        for (uint32_t i = out->inflight; i + 1 < out->count; i++) {
            *outbound_at(out, i) = *outbound_at(out, i + 1);
        }
    }
    out->count--;
    if (out->next > out->inflight) {
        out->next--;
    }
    shrink_when_empty(out);
}

void outbound_compact_waiting(struct outbound *out)
{
    uint32_t kept = out->inflight;
    for (uint32_t i = out->inflight; i < out->count; i++) {
        struct outbound_entry entry = *outbound_at(out, i);
        if (entry.state == OUTBOUND_WAITING) {
            *outbound_at(out, kept++) = entry;
        }
    }
    out->count = kept;
    if (out->next > kept) {
        out->next = kept;
    }
}

void outbound_rewind(struct outbound *out)
{
    out->next = 0;
    out->window = 0;
}
