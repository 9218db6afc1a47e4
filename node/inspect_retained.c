#include "node/inspect_retained.h"

#include "node/retained_priv.h"

const struct message *inspect_retained_next(const struct retained *store, uint32_t *place,
                                            size_t *budget)
{
    uint32_t count = atomic_load_explicit(&store->slot_count, memory_order_acquire);
    while (*place < count) {
        if (*budget == 0) {
            return NULL;
        }
        (*budget)--;
        const struct retained_entry *entry =
            atomic_load_explicit(&retained__slot(store, (*place)++)->entry, memory_order_acquire);
        if (entry != NULL) {
            return entry->message;
        }
    }
    *place = UINT32_MAX;
    return NULL;
}
