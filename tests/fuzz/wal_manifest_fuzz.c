/*
 * Input: the text of a manifest; the line with the CRC is put behind it, and it is read once more
 * as it is.
 *
 * What is accepted is exactly what printing it gives.
 */
#include "base/crc32c.h"
#include "base/text.h"
#include "storage/wal_manifest.h"
#include "tests/fuzz/fuzz.h"

static void check(struct slice bytes)
{
    uint8_t *copy = fuzz_copy(bytes);
    struct wal_manifest manifest;
    wal_manifest_init(&manifest);
    enum err err = wal_manifest_parse(slice_of(copy, bytes.len), &manifest);
    ASSERT(err == ERR_OK || err == ERR_DAMAGED || err == ERR_VERSION);
    if (err == ERR_OK) {
        struct text printed = {0};
        wal_manifest_print(&manifest, &printed);
        ASSERT(slice_equal(slice_of(printed.data, printed.len), bytes));
        for (size_t i = 0; i < manifest.keep_count; i++) {
            ASSERT(wal_manifest_keeps(&manifest, manifest.keep[i]));
            ASSERT(manifest.keep[i] < manifest.first);
        }
        text_fini(&printed);
    } else {
        ASSERT(manifest.first == 1 && manifest.keep_count == 0);
    }
    wal_manifest_fini(&manifest);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct text sealed = {0};
    text_add_bytes(&sealed, data, len);
    text_printf(&sealed, "crc %08x\n", crc32c(0, data, len));
    check(slice_of(data, len));
    check(slice_of(sealed.data, sealed.len));
    text_fini(&sealed);
    return 0;
}
