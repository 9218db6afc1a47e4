#include "node/inbound.h"

#include <string.h>

#include "base/mem.h"

/*
 * Invariants:
 *   bitmap == NULL: ids[0..id_count) are distinct; else `ids` is NULL and id_count bits are set.
 */

#define IDS_IN_LIST_MAX 64u
#define BITMAP_BYTES 8192u

void inbound_fini(struct inbound *in)
{
    mem_free(in->ids);
    mem_free(in->bitmap);
    mem_free(in->acks);
    *in = (struct inbound){0};
}

static bool bit_is_set(const struct inbound *in, uint16_t id)
{
    return (in->bitmap[id / 8] >> (id % 8) & 1) != 0;
}

static uint32_t find_in_list(const struct inbound *in, uint16_t id)
{
    uint32_t i = 0;
    while (i < in->id_count && in->ids[i] != id) {
        i++;
    }
    return i;
}

bool inbound_has_id(const struct inbound *in, uint16_t packet_id)
{
    if (in->bitmap != NULL) {
        return bit_is_set(in, packet_id);
    }
    return find_in_list(in, packet_id) < in->id_count;
}

static enum err list_to_bitmap(struct inbound *in)
{
    uint8_t *bitmap = mem_try_alloc(BITMAP_BYTES);
    if (bitmap == NULL) {
        return ERR_MEMORY;
    }
    memset(bitmap, 0, BITMAP_BYTES);
    for (uint32_t i = 0; i < in->id_count; i++) {
        bitmap[in->ids[i] / 8] |= (uint8_t)(1 << in->ids[i] % 8);
    }
    mem_free(in->ids);
    in->ids = NULL;
    in->id_cap = 0;
    in->bitmap = bitmap;
    return ERR_OK;
}

static enum err make_room(struct inbound *in)
{
    if (in->bitmap != NULL || in->id_count < in->id_cap) {
        return ERR_OK;
    }
    if (in->id_count == IDS_IN_LIST_MAX) {
        return list_to_bitmap(in);
    }
    uint32_t cap = in->id_cap > 0 ? in->id_cap * 2 : 8;
    uint16_t *ids = mem_try_resize(in->ids, cap * sizeof(*ids));
    if (ids == NULL) {
        return ERR_MEMORY;
    }
    in->ids = ids;
    in->id_cap = cap;
    return ERR_OK;
}

enum err inbound_add_id(struct inbound *in, uint16_t packet_id)
{
    if (inbound_has_id(in, packet_id)) {
        return ERR_EXISTS;
    }
    if (make_room(in) != ERR_OK) {
        return ERR_MEMORY;
    }
    if (in->bitmap != NULL) {
        in->bitmap[packet_id / 8] |= (uint8_t)(1 << packet_id % 8);
    } else {
        in->ids[in->id_count] = packet_id;
    }
    in->id_count++;
    return ERR_OK;
}

bool inbound_remove_id(struct inbound *in, uint16_t packet_id)
{
    if (in->bitmap != NULL) {
        if (!bit_is_set(in, packet_id)) {
            return false;
        }
        in->bitmap[packet_id / 8] &= (uint8_t) ~(1 << packet_id % 8);
    } else {
        uint32_t at = find_in_list(in, packet_id);
        if (at == in->id_count) {
            return false;
        }
        memmove(in->ids + at, in->ids + at + 1, (in->id_count - at - 1) * sizeof(in->ids[0]));
    }
    in->id_count--;
    if (in->id_count == 0) {
        mem_free(in->bitmap); /* a list again */
        in->bitmap = NULL;
    }
    return true;
}

static struct inbound_ack *ack_at(const struct inbound *in, uint32_t i)
{
    return &in->acks[(in->ack_head + i) & (in->ack_cap - 1)];
}

static enum err grow_acks(struct inbound *in)
{
    uint32_t cap = in->ack_cap > 0 ? in->ack_cap * 2 : 8;
    struct inbound_ack *acks = mem_try_alloc(cap * sizeof(*acks));
    if (acks == NULL) {
        return ERR_MEMORY;
    }
    for (uint32_t i = 0; i < in->ack_count; i++) {
        acks[i] = *ack_at(in, i);
    }
    mem_free(in->acks);
    in->acks = acks;
    in->ack_cap = cap;
    in->ack_head = 0;
    return ERR_OK;
}

enum err inbound_owe(struct inbound *in, struct inbound_ack ack, uint32_t *serial)
{
    if (in->ack_count == in->ack_cap && grow_acks(in) != ERR_OK) {
        return ERR_MEMORY;
    }
    in->ack_count++;
    *ack_at(in, in->ack_count - 1) = ack;
    *serial = in->ack_serial + in->ack_count - 1;
    in->qos1_count += ack.qos == 1;
    return ERR_OK;
}

void inbound_ack_ready(struct inbound *in, uint32_t serial)
{
    uint32_t at = serial - in->ack_serial;
    if (at < in->ack_count) { /* else it was never noted, for lack of memory */
        ack_at(in, at)->ready = true;
    }
}

bool inbound_next_ready(struct inbound *in, struct inbound_ack *out)
{
    if (in->ack_count == 0 || !ack_at(in, 0)->ready) {
        return false;
    }
    *out = *ack_at(in, 0);
    in->ack_head = (in->ack_head + 1) & (in->ack_cap - 1);
    in->ack_count--;
    in->ack_serial++;
    in->qos1_count -= out->qos == 1 && !out->stale;
    return true;
}

static struct inbound_ack *find_owed(const struct inbound *in, uint16_t packet_id)
{
    for (uint32_t i = 0; i < in->ack_count; i++) {
        struct inbound_ack *ack = ack_at(in, i);
        if (ack->qos == 2 && ack->packet_id == packet_id) {
            return ack;
        }
    }
    return NULL;
}

bool inbound_owed_again(struct inbound *in, uint16_t packet_id)
{
    struct inbound_ack *ack = find_owed(in, packet_id);
    if (ack != NULL) {
        ack->stale = false;
    }
    return ack != NULL;
}

bool inbound_owes(const struct inbound *in, uint16_t packet_id)
{
    return find_owed(in, packet_id) != NULL;
}

void inbound_mark_stale(struct inbound *in)
{
    for (uint32_t i = 0; i < in->ack_count; i++) {
        ack_at(in, i)->stale = true;
    }
    in->qos1_count = 0;
}
