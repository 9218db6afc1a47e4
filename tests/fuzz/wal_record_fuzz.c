/*
 * Input: bytes that are taken for a record.
 *
 * What is accepted lies within the input, and is exactly what encoding it gives.
 */
#include "storage/wal_record.h"
#include "tests/fuzz/fuzz.h"

static uint32_t ids[WAL_RECORD_IDS_MAX];

static void check_slices(const struct operation *operation, struct slice whole)
{
    const struct operation_info *info = operation_info(operation->type);
    for (size_t i = 0; i < info->field_count; i++) {
        const struct operation_field *field = &info->fields[i];
        if (field->kind == OPERATION_TEXT || field->kind == OPERATION_BYTES) {
            const char *at = (const char *)operation + field->offset;
            struct slice slice;
            memcpy(&slice, at, sizeof(slice));
            ASSERT(fuzz_within(slice, whole));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint8_t *copy = fuzz_copy(slice_of(data, len));
    struct slice in = slice_of(copy, len);
    struct operation operation;
    size_t taken = 0;
    if (wal_record_decode(in, &operation, ids, &taken) == ERR_OK) {
        ASSERT(taken > 0 && taken <= len);
        check_slices(&operation, slice_of(copy, taken));
        ASSERT(wal_record_size(&operation) == taken);
        uint8_t *again = malloc(taken);
        ASSERT(again != NULL);
        ASSERT(wal_record_encode(&operation, again) == again + taken);
        ASSERT(memcmp(again, copy, taken) == 0);
        free(again);
    }
    free(copy);
    return 0;
}
