/* The contract, part 2: values and amounts at their limits. */
#include "tests/unit/storage/contract_cases.h"

#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "tests/unit/storage/contract_support.h"

#define QUEUED 100000u
#define SESSIONS 1000u
#define TEXT_MAX 65535u

static struct store *opened(void **state)
{
    struct store *store = *state;
    store_open(store);
    return store;
}

/* ---- texts ----------------------------------------------------------------------------------- */

/* Pairs that a database might take for one. */
static const char *const look_alikes[] = {
    "a",
    "a ",
    "a  ",
    " a",
    "A",
    "\xc3\xa4",
    "\xc3\x84",
    "a\xcc\x88",
    "e\xcc\x81",
    "\xc3\xa9",
    "\xf0\x9f\x9a\x80",
    "\xf0\x9f\x9a\x81",
    "a\t",
    "a\x01",
    "%",
    "_",
    "'",
    "\"",
    "\\",
    "\\0",
    "a;--",
    "\357\273\277a",
    "NULL",
    "1",
    "01",
    "1.0",
    "1e0",
};

static void texts_that_look_alike_are_different(void **state)
{
    struct store *store = opened(state);
    struct operation batch[4 * ARRAY_COUNT(look_alikes)];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_COUNT(look_alikes); i++) {
        batch[n++] = session_put(i + 1, look_alikes[i]);
        batch[n++] = subscription_put(1, look_alikes[i]);
        batch[n] = subscription_put(1, look_alikes[i]);
        batch[n++].subscription_id = (uint32_t)i + 1;
        batch[n++] = retained_put(look_alikes[i], look_alikes[i]);
    }
    store_apply(store, batch, n);
    store_reopen(store);
    for (size_t i = 0; i < ARRAY_COUNT(look_alikes); i += 2) {
        const struct operation drops[] = {
            {.type = OPERATION_SUBSCRIPTION_DROP,
             .session = 1,
             .filter = slice_text(look_alikes[i])},
            {.type = OPERATION_RETAINED_DROP, .topic = slice_text(look_alikes[i])},
        };
        store_apply_all(store, drops);
    }
    store_reopen(store);
}

/* The longest texts, alike to their last bytes. */
static void the_longest_texts_are_kept_and_told_apart(void **state)
{
    struct store *store = opened(state);
    struct slice texts[] = {
        long_text("topic/", TEXT_MAX), long_text("topic/", TEXT_MAX - 1),
        long_text("topic/", TEXT_MAX), long_text("\xf0\x9f\x9a\x80", TEXT_MAX - 3),
        long_text("x", 3072),          long_text("x", 3073)};
    ((uint8_t *)texts[2].data)[TEXT_MAX - 1] = 'X';
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        struct operation batch[] = {session_put(i + 1, ""), subscription_put(1, ""),
                                    message_put(i + 10, "", "p"), queue_push(1, i + 1, i + 10),
                                    retained_put("", "p")};
        batch[0].client_id = texts[i];
        batch[1].filter = texts[i];
        batch[1].subscription_id = (uint32_t)i;
        batch[2].topic = texts[i];
        batch[4].topic = texts[i];
        store_apply_all(store, batch);
    }
    store_reopen(store);
    const struct operation drops[] = {
        {.type = OPERATION_SUBSCRIPTION_DROP, .session = 1, .filter = texts[0]},
        {.type = OPERATION_RETAINED_DROP, .topic = texts[2]},
        {.type = OPERATION_RETAINED_DROP, .topic = texts[5]},
    };
    store_apply_all(store, drops);
    store_reopen(store);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static void payloads_and_properties_are_any_bytes(void **state)
{
    struct store *store = opened(state);
    uint8_t bytes[512];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)i;
    }
    const struct slice values[] = {
        {.len = 0},           slice_of("", 0),
        slice_of("\0", 1),    slice_of("\0\0\0", 3),
        slice_of(bytes, 256), slice_of(bytes + 128, 256),
        slice_of("a\0", 2),   slice_of("'\\\"\n\r\x1a", 6),
    };
    struct operation batch[3 * ARRAY_COUNT(values) + 1];
    char topics[ARRAY_COUNT(values)][8];
    size_t n = 0;
    batch[n++] = session_put(1, "one");
    for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
        (void)snprintf(topics[i], sizeof(topics[i]), "t%u", (unsigned)i);
        batch[n] = message_put(i + 1, "t", "");
        batch[n].payload = values[i];
        batch[n++].properties = values[ARRAY_COUNT(values) - 1 - i];
        batch[n++] = queue_push(1, i + 1, i + 1);
        batch[n] = retained_put(topics[i], "");
        batch[n].payload = values[i];
        batch[n++].properties = values[i];
    }
    store_apply(store, batch, n);
    store_reopen(store);
}

static void large_payloads_come_back(void **state)
{
    struct store *store = opened(state);
    const size_t sizes[] = {1, 4095, 4096, 4097, 65535, 65536, 1024 * 1024, 1024 * 1024 + 1};
    struct operation batch[2 * ARRAY_COUNT(sizes) + 2];
    size_t n = 0;
    batch[n++] = session_put(1, "one");
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        batch[n] = message_put(i + 1, "t", "");
        batch[n++].payload = long_text("\x01\xff\x00payload", sizes[i]);
        batch[n++] = queue_push(1, i + 1, i + 1);
    }
    batch[n] = retained_put("t", "");
    batch[n++].payload = long_text("retained", 1024 * 1024);
    store_apply(store, batch, n);
    store_reopen(store);
    const struct operation pop[] = {queue_pop(1, 1, 7), message_drop(7)};
    store_apply_all(store, pop);
    store_reopen(store);
}

/* As after a pause of the disk: more than any packet or segment takes at once. */
static void a_batch_of_many_megabytes_is_applied(void **state)
{
    struct store *store = opened(state);
    struct slice payload = long_text("0123456789abcdef", 1024 * 1024);
    struct operation batch[1 + 2 * 24];
    size_t n = 0;
    batch[n++] = session_put(1, "one");
    for (uint64_t i = 1; i <= 24; i++) {
        batch[n] = message_put(i, "t", "");
        batch[n++].payload = payload;
        batch[n++] = queue_push(1, i, i);
    }
    store_apply(store, batch, n);
    store_reopen(store);
}

static void a_queue_entry_has_many_subscription_identifiers(void **state)
{
    struct store *store = opened(state);
    uint32_t ids[5000];
    for (size_t i = 0; i < ARRAY_COUNT(ids); i++) {
        ids[i] = 268435455 - (uint32_t)i;
    }
    struct operation batch[] = {session_put(1, "one"), message_put(1, "t", "p"),
                                queue_push(1, 1, 1), queue_push(1, 2, 1), queue_push(1, 3, 1)};
    batch[2].subscription_ids = ids;
    batch[2].subscription_id_count = ARRAY_COUNT(ids);
    batch[3].subscription_ids = ids;
    batch[3].subscription_id_count = 1;
    store_apply_all(store, batch);
    store_reopen(store);
}

/* ---- numbers --------------------------------------------------------------------------------- */

static void the_largest_numbers_come_back(void **state)
{
    struct store *store = opened(state);
    const uint64_t position = (uint64_t)1 << 48;
    struct operation batch[] = {
        session_put(INT64_MAX, "last"),
        message_put(INT64_MAX, "t", "p"),
        queue_push(INT64_MAX, 1, INT64_MAX),
        queue_push(INT64_MAX, position - 1, INT64_MAX),
        queue_push(INT64_MAX, position, INT64_MAX),
        will_put(INT64_MAX, INT64_MAX),
        inbound_put(INT64_MAX, 65535),
    };
    batch[0].sent_to = position;
    store_apply_all(store, batch);
    store_reopen(store);
    const struct operation pop = queue_pop(INT64_MAX, position - 1, position - 1);
    store_apply(store, &pop, 1);
    store_reopen(store);
}

static void ids_may_have_gaps_and_come_in_any_order(void **state)
{
    struct store *store = opened(state);
    const struct operation batch[] = {
        session_put(500, "later"), session_put(3, "earlier"), message_put(90, "t", "p"),
        message_put(7, "t", "q"),  queue_push(3, 1000, 90),   queue_push(3, 5, 7),
        queue_push(500, 1, 7),     queue_push(3, 17, 90),     queue_push(500, 900000, 90),
    };
    store_apply_all(store, batch);
    store_reopen(store);
}

/* ---- amounts --------------------------------------------------------------------------------- */

/* One push of each ten refers to a message of its own, the others to one that they share. */
static void fill_queue(struct store *store, uint64_t session, uint32_t count)
{
    struct operation *batch = mem_alloc_array(2200, sizeof(*batch));
    uint32_t at = 0;
    while (at < count) {
        size_t n = 0;
        for (uint32_t i = 0; i < 1000 && at < count; i++, at++) {
            uint64_t message = 1 + at / 10;
            if (at % 10 == 0) {
                batch[n++] = message_put(message, "t", "payload");
            }
            batch[n++] = queue_push(session, at + 1, message);
        }
        store_apply(store, batch, n);
    }
    mem_free(batch);
}

static void a_queue_holds_many_and_gives_ranges_back(void **state)
{
    struct store *store = opened(state);
    const struct operation session = session_put(1, "one");
    store_apply(store, &session, 1);
    fill_queue(store, 1, QUEUED);
    store_reopen(store);
    const struct operation pops[] = {
        queue_pop(1, 1, 30000),              /* front */
        queue_pop(1, 50000, 59999),          /* middle */
        queue_pop(1, QUEUED - 9999, QUEUED), /* end */
        queue_pop(1, 40000, 40000),          /* one */
        queue_pop(1, 20000, 30002),          /* mostly gone already */
    };
    for (size_t i = 0; i < ARRAY_COUNT(pops); i++) {
        store_apply(store, &pops[i], 1);
    }
    store_reopen(store);
    const struct operation drop = session_drop(1);
    store_apply(store, &drop, 1);
    store_tend(store);
    store_reopen(store);
}

static int64_t bytes_written(struct store *store)
{
    return stat_get(&store->stats, STAT_BYTES_WRITTEN);
}

static void a_message_in_many_queues_is_stored_once(void **state)
{
    struct store *store = opened(state);
    static char client_ids[SESSIONS][16];
    struct operation *batch = mem_alloc_array(SESSIONS + 1, sizeof(*batch));
    for (uint32_t i = 0; i < SESSIONS; i++) {
        (void)snprintf(client_ids[i], sizeof(client_ids[i]), "client-%u", i);
        batch[i] = session_put(i + 1, client_ids[i]);
    }
    store_apply(store, batch, SESSIONS);
    int64_t before = bytes_written(store);
    batch[0] = message_put(1, "t", "");
    batch[0].payload = long_text("payload", 256 * 1024);
    for (uint32_t i = 0; i < SESSIONS; i++) {
        batch[i + 1] = queue_push(i + 1, 1, 1);
    }
    store_apply(store, batch, SESSIONS + 1);
    store_sync(store);
    int64_t bytes = bytes_written(store) - before;
    assert_in_range(bytes, 256 * 1024, 16 * 1024 * 1024); /* not 256 MiB */
    store_reopen(store);
    for (uint32_t i = 0; i + 1 < SESSIONS; i++) {
        batch[i] = queue_pop(i + 1, 1, 1);
    }
    store_apply(store, batch, SESSIONS - 1); /* the last one still has it */
    store_reopen(store);
    mem_free(batch);
}

static void a_retained_message_is_replaced_a_thousand_times(void **state)
{
    struct store *store = opened(state);
    for (unsigned i = 0; i < 1000; i++) {
        char payload[32];
        (void)snprintf(payload, sizeof(payload), "value %u", i);
        struct operation batch[] = {retained_put("t", payload), retained_put("u", "same")};
        batch[0].expires_at_ms = i % 2 == 0 ? OPERATION_NEVER_MS : store->now_ms + 1000000;
        store_apply_all(store, batch);
    }
    store_reopen(store);
}

static void a_will_is_replaced(void **state)
{
    struct store *store = opened(state);
    struct operation batch[] = {session_put(1, "one"), message_put(1, "t", "first"),
                                will_put(1, 1)};
    batch[2].has_expiry = true;
    batch[2].message_expiry_s = 9;
    store_apply_all(store, batch);
    const struct operation again[] = {message_put(2, "t", "second"), will_put(1, 2),
                                      message_drop(1)};
    store_apply_all(store, again);
    store_reopen(store);
}

int contract_values(void)
{
    const struct CMUnitTest tests[] = {
        with_store(texts_that_look_alike_are_different),
        with_store(the_longest_texts_are_kept_and_told_apart),
        with_store(payloads_and_properties_are_any_bytes),
        with_store(large_payloads_come_back),
        with_store(a_batch_of_many_megabytes_is_applied),
        with_store(a_queue_entry_has_many_subscription_identifiers),
        with_store(the_largest_numbers_come_back),
        with_store(ids_may_have_gaps_and_come_in_any_order),
        with_store(a_queue_holds_many_and_gives_ranges_back),
        with_store(a_message_in_many_queues_is_stored_once),
        with_store(a_retained_message_is_replaced_a_thousand_times),
        with_store(a_will_is_replaced),
    };
    return cmocka_run_group_tests_name("values", tests, NULL, NULL);
}
