#include "storage/part.h"

#include "base/macros.h"
#include "base/mem.h"
#include "base/message.h"

/* Room for more changes than these is given back once they are dropped. */
#define CAP_KEPT 8192u

/*
 * Invariants:
 *   `live` of the `count` changes are not CHANGE_NONE; those hold no message and nothing owned.
 */

void part_init(struct storage_part *part, void (*done)(struct storage_part *part, enum err err))
{
    *part = (struct storage_part){.done = done};
}

void part_fini(struct storage_part *part)
{
    part_clear(part);
    mem_free(part->changes);
    part->changes = NULL;
    part->cap = 0;
}

struct change *part_add(struct storage_part *part, enum operation_type type, uint64_t session)
{
    ASSERT(type < OPERATION_TYPES);
    ASSERT(type != OPERATION_MESSAGE_PUT && type != OPERATION_MESSAGE_DROP);
    part->changes = mem_grow(part->changes, part->count, &part->cap, sizeof(*part->changes));
    struct change *change = &part->changes[part->count];
    *change = (struct change){.type = (uint8_t)type, .session = session};
    part->count++;
    part->live++;
    return change;
}

static void drop_contents(struct change *change)
{
    message_unref(change->message);
    change->message = NULL;
    mem_free(change->owned);
    change->owned = NULL;
}

void part_cancel(struct storage_part *part, struct change *change)
{
    ASSERT(change->type != CHANGE_NONE);
    drop_contents(change);
    change->type = CHANGE_NONE;
    part->live--;
}

void part_clear(struct storage_part *part)
{
    for (uint32_t i = 0; i < part->count; i++) {
        drop_contents(&part->changes[i]);
    }
    part->count = 0;
    part->live = 0;
    if (part->cap > CAP_KEPT) {
        mem_free(part->changes);
        part->changes = NULL;
        part->cap = 0;
    }
}
