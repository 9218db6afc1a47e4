#include "tests/unit/node/node_support.h"

#include "base/mem.h"
#include "node/outbound.h"

/* outbound against a naive model; the single cases are in outbound_test.c. */

static struct outbound out;
static struct message *message; /* one reference of ours */

static int set_up(void **state)
{
    (void)state;
    out = (struct outbound){0};
    message = make_message("a/b", slice_text("payload"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    outbound_fini(&out);
    assert_int_equal(message_refs(message), 1); /* all that were queued have been let go */
    message_unref(message);
    return 0;
}

static void push_ids(uint8_t qos, const uint32_t *ids, size_t count)
{
    struct outbound_entry entry = {.message = message_keep(message),
                                   .subscription_id = count == 1 ? ids[0] : 0,
                                   .state = OUTBOUND_WAITING,
                                   .qos_2 = qos == 2};
    assert_int_equal(outbound_push(&out, entry, ids, count), ERR_OK);
}

/* Gives packet ids to `count` messages, as sending does; returns the last one. */
static uint16_t start(unsigned count)
{
    uint16_t id = 0;
    for (unsigned i = 0; i < count; i++) {
        id = outbound_packet_id(outbound_start(&out));
        out.next++;
    }
    return id;
}

static void assert_ids(uint32_t place, const uint32_t *expected, size_t expected_count)
{
    const uint32_t *ids = NULL;
    size_t count = outbound_ids(&out, outbound_at(&out, place), &ids);
    assert_int_equal(count, expected_count);
    if (count > 0) {
        assert_memory_equal(ids, expected, count * sizeof(*ids));
    }
}

#define MODEL_MAX 4096
#define IDS_MAX 4

/* The model: entries in a plain array, moved by memmove. */
struct model_entry {
    uint32_t mark; /* its first subscription id */
    uint32_t id_count;
    uint64_t position;
    uint8_t state;
    size_t bytes;
};

static struct model_entry model[MODEL_MAX];
static uint32_t model_count;
static uint32_t model_inflight;
static uint32_t model_next;
static uint64_t model_last_position;
static uint32_t model_mark;

static void model_remove(uint32_t at)
{
    memmove(model + at, model + at + 1, (model_count - at - 1) * sizeof(model[0]));
    model_count--;
}

static void model_trim(void)
{
    while (model_inflight > 0 && model[0].state == OUTBOUND_DONE) {
        model_remove(0);
        model_inflight--;
        model_next -= model_next > 0;
    }
}

static uint16_t packet_id_of(const struct model_entry *entry)
{
    return (uint16_t)((entry->position - 1) % 65535 + 1);
}

static void assert_as_model(void)
{
    assert_int_equal(out.count, model_count);
    assert_int_equal(out.inflight, model_inflight);
    assert_int_equal(out.next, model_next);
    size_t bytes = 0;
    for (uint32_t i = 0; i < model_count; i++) {
        const struct outbound_entry *entry = outbound_at(&out, i);
        const struct model_entry *expected = &model[i];
        bool holds = expected->state == OUTBOUND_WAITING || expected->state == OUTBOUND_SENT;
        assert_int_equal(entry->state, expected->state);
        assert_int_equal(entry->position, expected->position);
        assert_ptr_equal(outbound_find_position(&out, expected->position), entry);
        assert_int_equal(entry->message != NULL, holds);
        bytes += expected->bytes;
        if (i < model_inflight) {
            assert_int_equal(outbound_packet_id(entry), packet_id_of(expected));
            bool found = outbound_find(&out, outbound_packet_id(entry)) == entry;
            assert_int_equal(found, expected->state != OUTBOUND_DONE);
        }
        uint32_t mark = expected->mark;
        uint32_t ids[IDS_MAX] = {mark, mark + 1, mark + 2, mark + 3};
        if (holds) {
            assert_ids(i, ids, expected->id_count);
        }
    }
    assert_int_equal(out.bytes, bytes);
}

static void random_push(uint64_t *seed)
{
    if (model_count == MODEL_MAX) {
        return;
    }
    uint32_t ids[IDS_MAX];
    uint32_t id_count = random_below(seed, IDS_MAX + 1);
    model_mark++;
    for (uint32_t i = 0; i < IDS_MAX; i++) {
        ids[i] = model_mark + i;
    }
    push_ids(2, ids, id_count);
    model[model_count++] = (struct model_entry){.position = ++model_last_position,
                                                .mark = model_mark,
                                                .id_count = id_count,
                                                .state = OUTBOUND_WAITING,
                                                .bytes = message_bytes(message)};
}

static void random_start(void)
{
    if (model_inflight == model_count || model_next != model_inflight) {
        return; /* nothing waits, or there is still something to be sent again */
    }
    uint16_t id = packet_id_of(&model[model_inflight]);
    model[model_inflight].state = OUTBOUND_SENT;
    model_inflight++;
    model_next++;
    assert_int_equal(start(1), id);
}

/* An acknowledgement of any packet id around those in flight. */
static void random_ack(uint64_t *seed)
{
    uint32_t at = random_below(seed, model_count + 2);
    uint16_t id = (uint16_t)((model_last_position + 65535u - model_count + at) % 65535u + 1);
    struct outbound_entry *entry = outbound_find(&out, id);
    struct model_entry *expected = NULL;
    for (uint32_t i = 0; i < model_inflight; i++) {
        if (packet_id_of(&model[i]) == id && model[i].state != OUTBOUND_DONE) {
            expected = &model[i];
        }
    }
    assert_int_equal(entry != NULL, expected != NULL);
    if (entry == NULL) {
        return;
    }
    bool release = expected->state == OUTBOUND_SENT && random_below(seed, 3) == 0;
    expected->state = release ? OUTBOUND_RELEASED : OUTBOUND_DONE;
    expected->bytes = 0;
    outbound_drop_message(&out, entry, (enum outbound_state)expected->state);
    outbound_trim(&out);
    model_trim();
}

static void random_drop_first_waiting(void)
{
    if (model_inflight < model_count) {
        outbound_drop_first_waiting(&out);
        model_remove(model_inflight);
    }
}

/* As when shared messages are passed on. */
static void random_compact(uint64_t *seed)
{
    for (uint32_t i = model_count; i > model_inflight; i--) {
        if (random_below(seed, 4) == 0) {
            outbound_drop_message(&out, outbound_at(&out, i - 1), OUTBOUND_DONE);
            model_remove(i - 1);
        }
    }
    outbound_compact_waiting(&out);
}

static void random_step(uint64_t *seed, unsigned growth)
{
    uint32_t dice = random_below(seed, 100);
    if (dice < growth) {
        random_push(seed);
    } else if (dice < 60) {
        random_start();
    } else if (dice < 85) {
        random_ack(seed);
    } else if (dice < 94) {
        random_drop_first_waiting();
    } else if (dice < 95) {
        random_compact(seed);
    } else if (dice < 97) {
        outbound_rewind(&out);
        model_next = 0;
    } else if (model_next < model_inflight) {
        model_next++; /* sent again */
        out.next++;
    }
}

static void random_traffic_leaves_what_a_plain_array_would(void **state)
{
    (void)state;
    uint64_t seed = test_seed();
    for (unsigned round = 0; round < 20; round++) {
        model_count = model_inflight = model_next = 0;
        model_last_position = random_between(&seed, 65400, 65535); /* soon around the end */
        out.last_position = model_last_position;
        unsigned growth = random_between(&seed, 20, 45);
        for (unsigned step = 0; step < 1000; step++) {
            random_step(&seed, growth);
            if (step % 7 == 0) {
                assert_as_model();
            }
        }
        assert_as_model();
        outbound_fini(&out);
        assert_int_equal(message_refs(message), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_traffic_leaves_what_a_plain_array_would, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
