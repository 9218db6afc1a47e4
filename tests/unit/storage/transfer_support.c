#include "tests/unit/storage/transfer_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A state with something of transfer_everything, in the order of an export. */
const char transfer_everything[] = HEADER SESSION("1", "a") SESSION("2", "\xc3\xa4")
    SUBSCRIPTION("1", "$share/g/a/#") SUBSCRIPTION("1", "a/+") MESSAGE("3", "will") WILL("1", "3")
        MESSAGE("4", "a/b") PUSH("1", "1", "4", "false") PUSH("1", "3", "0", "true")
            PUSH("2", "9007199254740992", "4", "false") INBOUND("1", "1") INBOUND("1", "65535")
                RETAINED("a/b") RETAINED("a/b\\u0001 \\\"\\\\") END("14");

const struct storage_config transfer_no_config = {.engine = STORAGE_WAL, .wal_dir = "nowhere"};

struct transfer_rig transfer_rig_create(void)
{
    struct transfer_rig rig = {.store = fake_store_create()};
    fake_store_use(rig.store);
    return rig;
}

void transfer_rig_end(struct transfer_rig *rig)
{
    assert_string_equal(fake_store_complaint(rig->store), "");
    fake_store_destroy(rig->store);
    text_fini(&rig->error);
    free(rig->exported);
}

enum err transfer_rig_import_bytes(struct transfer_rig *rig, const char *bytes, size_t len)
{
    FILE *in = fmemopen((void *)(len == 0 ? "\n" : bytes), len == 0 ? 1 : len, "r");
    if (len == 0) {
        (void)getc(in);
    }
    text_fini(&rig->error);
    fake_store_use(rig->store);
    enum err err =
        transfer__import(&fake_engine, &transfer_no_config, in, &rig->counts, &rig->error);
    fclose(in);
    assert_int_equal(err == ERR_OK, rig->error.len == 0);
    return err;
}

enum err transfer_rig_import(struct transfer_rig *rig, const char *text)
{
    return transfer_rig_import_bytes(rig, text, strlen(text));
}

const char *transfer_rig_export(struct transfer_rig *rig)
{
    size_t len = 0;
    free(rig->exported);
    rig->exported = NULL;
    text_fini(&rig->error);
    fake_store_use(rig->store);
    FILE *out = open_memstream(&rig->exported, &len);
    enum err err =
        transfer__export(&fake_engine, &transfer_no_config, out, &rig->counts, &rig->error);
    fclose(out);
    assert_int_equal(err, ERR_OK);
    assert_int_equal(rig->error.len, 0);
    return rig->exported;
}

void transfer_assert_refused(const char *text, enum err expected, const char *error)
{
    struct transfer_rig rig = transfer_rig_create();
    enum err err = transfer_rig_import(&rig, text);
    assert_string_equal(rig.error.data, error);
    assert_int_equal(err, expected);
    assert_int_equal(fake_store_calls(rig.store, FAKE_OPEN), 0); /* not even looked at */
    transfer_rig_end(&rig);
}
