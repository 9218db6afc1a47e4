#include "tests/unit/storage/storage_stage_support.h"

#include "storage/operation.h"

static void each_operation_is_found_by_its_name(void **state)
{
    (void)state;
    for (unsigned i = 0; i < OPERATION_TYPES; i++) {
        const struct operation_info *info = operation_info((enum operation_type)i);
        assert_int_equal(operation_by_name(slice_text(info->name)), i);
        assert_true(info->help[0] != '\0');
        assert_true(info->field_count > 0);
    }
}

static void what_is_no_name_finds_nothing(void **state)
{
    (void)state;
    static const char *const words[] = {"", "queue", "queue_pushed", "QUEUE_PUSH", " queue_push"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        assert_int_equal(operation_by_name(slice_text(words[i])), OPERATION_TYPES);
    }
}

static size_t size_of(enum operation_kind kind)
{
    static const size_t sizes[] = {
        [OPERATION_U8] = sizeof(uint8_t),         [OPERATION_U16] = sizeof(uint16_t),
        [OPERATION_U32] = sizeof(uint32_t),       [OPERATION_U64] = sizeof(uint64_t),
        [OPERATION_BOOL] = sizeof(bool),          [OPERATION_TEXT] = sizeof(struct slice),
        [OPERATION_BYTES] = sizeof(struct slice), [OPERATION_IDS] = sizeof(uint32_t *)};
    return sizes[kind];
}

/* A row with the wrong kind would read over the end of its member into the next one. */
static void a_field_is_as_large_as_its_kind_says(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t size;
    } members[] = {
#define MEMBER(name) {#name, sizeof(((struct operation *)NULL)->name)}
        MEMBER(session),
        MEMBER(client_id),
        MEMBER(expiry_s),
        MEMBER(offline_since_ms),
        MEMBER(sent_to),
        MEMBER(filter),
        MEMBER(qos),
        MEMBER(no_local),
        MEMBER(retain_as_published),
        MEMBER(retain_handling),
        MEMBER(subscription_id),
        MEMBER(message),
        MEMBER(topic),
        MEMBER(properties),
        MEMBER(payload),
        MEMBER(retain),
        MEMBER(expires_at_ms),
        MEMBER(publisher),
        MEMBER(position),
        MEMBER(last),
        MEMBER(shared),
        MEMBER(released),
        MEMBER(subscription_ids),
        MEMBER(packet_id),
        MEMBER(delay_s),
        MEMBER(has_expiry),
        MEMBER(message_expiry_s)
#undef MEMBER
    };
    for (unsigned i = 0; i < OPERATION_TYPES; i++) {
        const struct operation_info *info = operation_info((enum operation_type)i);
        for (size_t f = 0; f < info->field_count; f++) {
            size_t size = 0;
            for (size_t m = 0; m < sizeof(members) / sizeof(members[0]); m++) {
                if (strcmp(members[m].name, info->fields[f].name) == 0) {
                    size = members[m].size;
                }
            }
            assert_int_equal(size, size_of(info->fields[f].kind));
        }
    }
}

/* Whoever reads a store relies on it: what belongs to a session names it first. */
static void what_belongs_to_a_session_begins_with_it(void **state)
{
    (void)state;
    static const enum operation_type without[] = {OPERATION_MESSAGE_PUT, OPERATION_MESSAGE_DROP,
                                                  OPERATION_RETAINED_PUT, OPERATION_RETAINED_DROP};
    for (unsigned i = 0; i < OPERATION_TYPES; i++) {
        bool expected = true;
        for (size_t w = 0; w < sizeof(without) / sizeof(without[0]); w++) {
            expected = expected && without[w] != (enum operation_type)i;
        }
        const struct operation_field *first = operation_info((enum operation_type)i)->fields;
        assert_int_equal(strcmp(first->name, "session") == 0, expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_operation_is_found_by_its_name),
        cmocka_unit_test(what_is_no_name_finds_nothing),
        cmocka_unit_test(a_field_is_as_large_as_its_kind_says),
        cmocka_unit_test(what_belongs_to_a_session_begins_with_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
