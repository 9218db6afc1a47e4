#include "storage/batch.h"

#include "base/macros.h"

static bool next(struct batch *batch, struct operation *operation)
{
    struct array_batch *own = container_of(batch, struct array_batch, batch);
    if (own->at == own->count) {
        return false;
    }
    *operation = own->operations[own->at++];
    return true;
}

static void rewind_array(struct batch *batch)
{
    container_of(batch, struct array_batch, batch)->at = 0;
}

void array_batch_init(struct array_batch *batch, const struct operation *operations, size_t count)
{
    *batch = (struct array_batch){
        .batch = {.next = next, .rewind = rewind_array}, .operations = operations, .count = count};
}
