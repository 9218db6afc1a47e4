#include "tests/unit/node/rig_support.h"

#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/inbound.h"

/* How many ids the list holds before it becomes a bitmap. */
#define LIST_MAX 64

static struct inbound in;

static int set_up(void **state)
{
    (void)state;
    in = (struct inbound){0};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    inbound_fini(&in);
    assert_int_equal(inbound_unfinished(&in), 0);
    return 0;
}

static void add(uint16_t id)
{
    assert_int_equal(inbound_add_id(&in, id), ERR_OK);
}

static void add_range(uint16_t first, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        add((uint16_t)(first + i));
    }
}

static uint32_t owe(uint8_t qos, uint16_t id)
{
    uint32_t serial = 0;
    struct inbound_ack ack = {.packet_id = id, .qos = qos, .reason = 16};
    assert_int_equal(inbound_owe(&in, ack, &serial), ERR_OK);
    return serial;
}

static void assert_next(uint16_t id)
{
    struct inbound_ack ack;
    assert_true(inbound_next_ready(&in, &ack));
    assert_int_equal(ack.packet_id, id);
}

static void assert_none_ready(void)
{
    struct inbound_ack ack;
    assert_false(inbound_next_ready(&in, &ack));
}

/* ---- QoS 2 packet ids ------------------------------------------------------------------------ */

/* [MQTT-4.3.3-10]: until PUBREL, a packet id that comes again is not a new message. */
static void an_id_is_known_until_it_is_removed(void **state)
{
    (void)state;
    assert_false(inbound_has_id(&in, 7));
    add(7);
    assert_true(inbound_has_id(&in, 7));
    assert_int_equal(inbound_add_id(&in, 7), ERR_EXISTS);
    assert_int_equal(inbound_unfinished(&in), 1);
    assert_true(inbound_remove_id(&in, 7));
    assert_false(inbound_has_id(&in, 7));
    assert_false(inbound_remove_id(&in, 7));
    add(7); /* a new message, under the id that is free again [MQTT-4.3.3-12] */
}

static void removing_from_the_middle_keeps_the_others(void **state)
{
    (void)state;
    add_range(100, 10);
    assert_true(inbound_remove_id(&in, 104));
    assert_true(inbound_remove_id(&in, 100));
    assert_true(inbound_remove_id(&in, 109));
    for (uint16_t id = 100; id < 110; id++) {
        assert_int_equal(inbound_has_id(&in, id), id != 100 && id != 104 && id != 109);
    }
    assert_int_equal(inbound_unfinished(&in), 7);
}

static void the_list_becomes_a_bitmap_when_there_are_many(void **state)
{
    (void)state;
    add_range(1, LIST_MAX);
    assert_non_null(in.ids);
    assert_null(in.bitmap);
    add(65535);
    assert_null(in.ids);
    assert_non_null(in.bitmap);
    assert_int_equal(inbound_unfinished(&in), LIST_MAX + 1);
    for (uint32_t id = 0; id <= 65535; id++) {
        assert_int_equal(inbound_has_id(&in, (uint16_t)id),
                         (id >= 1 && id <= LIST_MAX) || id == 65535);
    }
}

static void a_repeated_id_does_not_make_a_bitmap(void **state)
{
    (void)state;
    add_range(1, LIST_MAX);
    assert_int_equal(inbound_add_id(&in, LIST_MAX), ERR_EXISTS);
    assert_null(in.bitmap);
    assert_true(inbound_remove_id(&in, 1));
    add(1000);
    assert_null(in.bitmap); /* 64 again */
}

static void the_bitmap_answers_as_the_list_did(void **state)
{
    (void)state;
    add_range(1, LIST_MAX + 1);
    assert_int_equal(inbound_add_id(&in, 5), ERR_EXISTS);
    assert_true(inbound_remove_id(&in, 5));
    assert_false(inbound_remove_id(&in, 5));
    assert_false(inbound_has_id(&in, 5));
    assert_true(inbound_has_id(&in, 4));
    assert_true(inbound_has_id(&in, 6));
    assert_int_equal(inbound_unfinished(&in), LIST_MAX);
}

static void all_packet_ids_fit(void **state)
{
    (void)state;
    add_range(1, 65535);
    assert_int_equal(inbound_unfinished(&in), 65535);
    for (uint32_t id = 1; id <= 65535; id++) {
        assert_int_equal(inbound_add_id(&in, (uint16_t)id), ERR_EXISTS);
        assert_true(inbound_remove_id(&in, (uint16_t)id));
    }
    assert_int_equal(inbound_unfinished(&in), 0);
}

/* 8 KiB that one burst has cost are not kept for the life of a session that may be years. */
static void the_bitmap_is_given_back_when_all_is_released(void **state)
{
    (void)state;
    add_range(1, LIST_MAX + 1);
    for (uint16_t id = 1; id <= LIST_MAX + 1; id++) {
        assert_true(inbound_remove_id(&in, id));
    }
    assert_null(in.bitmap);
    add(3);
    assert_true(inbound_has_id(&in, 3));
    assert_int_equal(inbound_unfinished(&in), 1);
}

/* ---- acknowledgements ------------------------------------------------------------------------ */

/* [MQTT-4.6.0-2], [MQTT-4.6.0-3]: in the order in which the publishes came. */
static void acknowledgements_go_out_in_the_order_of_the_publishes(void **state)
{
    (void)state;
    uint32_t first = owe(1, 11);
    uint32_t second = owe(2, 12);
    uint32_t third = owe(1, 13);
    assert_none_ready();
    inbound_ack_ready(&in, third);
    inbound_ack_ready(&in, second);
    assert_none_ready(); /* the first is not */
    inbound_ack_ready(&in, first);
    assert_next(11);
    assert_next(12);
    assert_next(13);
    assert_none_ready();
}

static void one_that_is_ready_when_it_is_owed_still_waits_for_those_before_it(void **state)
{
    (void)state;
    uint32_t first = owe(1, 1);
    uint32_t serial = 0;
    struct inbound_ack ready = {.packet_id = 2, .qos = 1, .ready = true};
    assert_int_equal(inbound_owe(&in, ready, &serial), ERR_OK);
    assert_none_ready();
    inbound_ack_ready(&in, first);
    assert_next(1);
    assert_next(2);
}

static void an_acknowledgement_comes_out_as_it_was_put_in(void **state)
{
    (void)state;
    uint32_t serial = owe(2, 65535);
    inbound_ack_ready(&in, serial);
    struct inbound_ack ack;
    assert_true(inbound_next_ready(&in, &ack));
    assert_int_equal(ack.packet_id, 65535);
    assert_int_equal(ack.qos, 2);
    assert_int_equal(ack.reason, 16);
    assert_true(ack.ready);
    assert_false(ack.stale);
}

static void serials_stay_good_while_others_come_and_go(void **state)
{
    (void)state;
    in.ack_serial = UINT32_MAX - 2; /* and around the end of the numbers */
    uint32_t serials[100];
    for (uint16_t i = 0; i < 100; i++) {
        serials[i] = owe(1, i);
        if (i >= 5) {
            inbound_ack_ready(&in, serials[i - 5]);
            assert_next((uint16_t)(i - 5));
        }
    }
    assert_int_equal(in.ack_count, 5);
    assert_true(in.ack_cap <= 8);
}

static void the_ring_grows_while_it_is_wrapped(void **state)
{
    (void)state;
    uint32_t serials[64];
    for (uint16_t i = 0; i < 5; i++) {
        inbound_ack_ready(&in, owe(1, 1000));
        assert_next(1000);
    }
    for (uint16_t i = 0; i < 64; i++) {
        serials[i] = owe(1, i);
    }
    for (uint16_t i = 0; i < 64; i++) {
        inbound_ack_ready(&in, serials[i]);
        assert_next(i);
    }
}

/* What the Receive Maximum counts [MQTT-3.3.4-9]: a QoS 2 publish by its id, once, whether its
 * PUBREC is owed or sent. */
static void unfinished_counts_each_publish_once(void **state)
{
    (void)state;
    uint32_t one = owe(1, 1);
    assert_int_equal(inbound_unfinished(&in), 1);
    add(2);
    uint32_t two = owe(2, 2);
    assert_int_equal(inbound_unfinished(&in), 2);
    inbound_ack_ready(&in, one);
    inbound_ack_ready(&in, two);
    assert_next(1);
    assert_int_equal(inbound_unfinished(&in), 1);
    assert_next(2);
    assert_int_equal(inbound_unfinished(&in), 1); /* until PUBREL */
    assert_true(inbound_remove_id(&in, 2));
    assert_int_equal(inbound_unfinished(&in), 0);
}

/* ---- connections come and go ----------------------------------------------------------------- */

static void what_was_owed_to_a_connection_that_is_gone_comes_out_stale(void **state)
{
    (void)state;
    uint32_t old = owe(1, 1);
    inbound_mark_stale(&in);
    uint32_t young = owe(1, 1); /* the client has sent it again on its new connection */
    inbound_ack_ready(&in, young);
    assert_none_ready();
    inbound_ack_ready(&in, old);
    struct inbound_ack ack;
    assert_true(inbound_next_ready(&in, &ack));
    assert_true(ack.stale);
    assert_true(inbound_next_ready(&in, &ack));
    assert_false(ack.stale);
}

/* A QoS 2 publish comes again (DUP) on the new connection, while its PUBREC is still owed. */
static void a_stale_acknowledgement_is_owed_again_when_its_publish_comes_again(void **state)
{
    (void)state;
    owe(1, 9); /* QoS 1 under the same id is another matter */
    uint32_t serial = owe(2, 9);
    inbound_mark_stale(&in);
    assert_true(inbound_owed_again(&in, 9));
    assert_false(inbound_owed_again(&in, 8));
    inbound_ack_ready(&in, serial - 1);
    inbound_ack_ready(&in, serial);
    struct inbound_ack ack;
    assert_true(inbound_next_ready(&in, &ack));
    assert_true(ack.stale);
    assert_true(inbound_next_ready(&in, &ack));
    assert_int_equal(ack.qos, 2);
    assert_false(ack.stale);
    assert_false(inbound_owed_again(&in, 9)); /* not owed any more: it is answered at once */
}

static void one_owed_for_qos_1_is_not_owed_again_for_qos_2(void **state)
{
    (void)state;
    owe(1, 9);
    assert_false(inbound_owed_again(&in, 9));
}

/*
 * The Receive Maximum begins anew with each connection (MQTT 5.0 section 4.9): what the client
 * sends again would otherwise count twice, and a client that keeps to it be closed with 0x93.
 */
static void what_is_owed_to_a_gone_connection_does_not_count_against_the_new_one(void **state)
{
    (void)state;
    uint32_t serials[3] = {owe(1, 1), owe(1, 2), owe(1, 3)};
    inbound_mark_stale(&in);
    assert_int_equal(inbound_unfinished(&in), 0);
    uint32_t again = owe(1, 1);
    assert_int_equal(inbound_unfinished(&in), 1);
    for (unsigned i = 0; i < 3; i++) {
        inbound_ack_ready(&in, serials[i]);
        assert_next((uint16_t)(i + 1));
        assert_int_equal(inbound_unfinished(&in), 1);
    }
    inbound_ack_ready(&in, again);
    assert_next(1);
    assert_int_equal(inbound_unfinished(&in), 0);
}

/* conn_publish.c names one that it could not note, for lack of memory, by the serial before the
 * first. */
static void a_serial_that_is_not_owed_is_ignored(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        fclose(stderr);
        inbound_ack_ready(&in, in.ack_serial - 1);
        uint32_t serial = owe(1, 1);
        inbound_ack_ready(&in, serial - 1);
        inbound_ack_ready(&in, serial + 1);
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0); /* else it has aborted */
}

/* ---- through a connection -------------------------------------------------------------------- */

static void id_on_worker(const struct rig *rig, unsigned worker, char id[32])
{
    unsigned i = 0;
    do {
        snprintf(id, 32, "client-%u-%u", worker, i++);
    } while (broker_worker_of(rig->broker, slice_text(id)) != worker);
}

/* [MQTT-4.6.0-2]: also a publish that is refused is acknowledged in its turn, here behind one that
 * waits for another worker. */
static void a_refusal_does_not_overtake_an_acknowledgement_that_is_owed(void **state)
{
    (void)state;
    static struct rig rig;
    static struct client publisher;
    static struct client subscriber;
    char here[32];
    char there[32];
    rig_start(&rig, 2);
    id_on_worker(&rig, 0, here);
    id_on_worker(&rig, 1, there);
    client_connect(&publisher, &rig, (struct client_options){.id = here});
    client_connect(&subscriber, &rig, (struct client_options){.id = there});
    client_subscribe(&subscriber, "t", (struct subscription){.qos = 1});
    client_publish(&publisher, "t", 1, 1, slice_text("p"));
    client_publish(&publisher, "$SYS/mine", 1, 2, slice_text("p"));
    client_publish(&publisher, "nobody", 1, 3, slice_text("p"));
    rig_turn(&rig);
    uint16_t ids[3] = {0};
    struct packet ack;
    for (unsigned i = 0; i < 3; i++) {
        assert_true(client_next(&publisher, &ack));
        assert_int_equal(ack.type, MQTT_PUBACK);
        ids[i] = (uint16_t)(ack.body.data[0] << 8 | ack.body.data[1]);
    }
    close(publisher.fd);
    close(subscriber.fd);
    rig_stop(&rig);
    assert_int_equal(ids[0], 1);
    assert_int_equal(ids[1], 2);
    assert_int_equal(ids[2], 3);
}

/* ---- many ------------------------------------------------------------------------------------ */

static void random_ids_are_known_as_in_a_plain_table(void **state)
{
    (void)state;
    uint64_t seed = test_seed();
    bool *known = mem_alloc_array(65536, sizeof(*known));
    for (unsigned round = 0; round < 30; round++) {
        uint32_t count = 0;
        uint32_t range = 1u << random_between(&seed, 5, 16);
        memset(known, 0, 65536 * sizeof(*known));
        for (unsigned step = 0; step < 5000; step++) {
            uint16_t id = (uint16_t)random_below(&seed, range);
            assert_int_equal(inbound_has_id(&in, id), known[id]);
            if (random_below(&seed, 5) < 3) {
                assert_int_equal(inbound_add_id(&in, id), known[id] ? ERR_EXISTS : ERR_OK);
                count += !known[id];
                known[id] = true;
            } else {
                assert_int_equal(inbound_remove_id(&in, id), known[id]);
                count -= known[id];
                known[id] = false;
            }
            assert_int_equal(inbound_unfinished(&in), count);
        }
        inbound_fini(&in);
    }
    mem_free(known);
}

#define MODEL_MAX 2000

/* The model: all acknowledgements ever owed, by serial from 0. */
static struct inbound_ack model[MODEL_MAX];
static uint32_t model_first;
static uint32_t model_end;

static void random_ack_step(uint64_t *seed, uint32_t base)
{
    uint32_t dice = random_below(seed, 10);
    uint32_t owed = model_end - model_first;
    if (dice < 4) {
        struct inbound_ack ack = {.packet_id = (uint16_t)random_below(seed, 50),
                                  .qos = (uint8_t)random_between(seed, 1, 2),
                                  .ready = random_below(seed, 5) == 0};
        uint32_t serial = 0;
        assert_int_equal(inbound_owe(&in, ack, &serial), ERR_OK);
        assert_int_equal(serial, base + model_end);
        model[model_end++] = ack;
    } else if (dice < 8 && owed > 0) {
        uint32_t serial = model_first + random_below(seed, owed);
        model[serial].ready = true;
        inbound_ack_ready(&in, base + serial);
    } else if (dice == 8) {
        uint16_t id = (uint16_t)random_below(seed, 50);
        uint32_t at = model_first;
        while (at < model_end && !(model[at].qos == 2 && model[at].packet_id == id)) {
            at++;
        }
        assert_int_equal(inbound_owed_again(&in, id), at < model_end);
        if (at < model_end) {
            model[at].stale = false;
        }
    } else if (random_below(seed, 10) == 0) {
        inbound_mark_stale(&in);
        for (uint32_t i = model_first; i < model_end; i++) {
            model[i].stale = true;
        }
    }
    struct inbound_ack ack;
    while (inbound_next_ready(&in, &ack)) {
        assert_true(model_first < model_end);
        const struct inbound_ack *expected = &model[model_first++];
        assert_true(expected->ready);
        assert_int_equal(ack.packet_id, expected->packet_id);
        assert_int_equal(ack.qos, expected->qos);
        assert_int_equal(ack.stale, expected->stale);
    }
    assert_true(model_first == model_end || !model[model_first].ready);
}

static void random_acknowledgements_come_out_as_from_a_plain_array(void **state)
{
    (void)state;
    uint64_t seed = test_seed();
    for (unsigned round = 0; round < 20; round++) {
        uint32_t base = (uint32_t)random_next(&seed);
        in.ack_serial = base;
        model_first = model_end = 0;
        while (model_end < MODEL_MAX) {
            random_ack_step(&seed, base);
        }
        inbound_fini(&in);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_id_is_known_until_it_is_removed),
        TEST(removing_from_the_middle_keeps_the_others),
        TEST(the_list_becomes_a_bitmap_when_there_are_many),
        TEST(a_repeated_id_does_not_make_a_bitmap),
        TEST(the_bitmap_answers_as_the_list_did),
        TEST(all_packet_ids_fit),
        TEST(the_bitmap_is_given_back_when_all_is_released),
        TEST(acknowledgements_go_out_in_the_order_of_the_publishes),
        TEST(one_that_is_ready_when_it_is_owed_still_waits_for_those_before_it),
        TEST(an_acknowledgement_comes_out_as_it_was_put_in),
        TEST(serials_stay_good_while_others_come_and_go),
        TEST(the_ring_grows_while_it_is_wrapped),
        TEST(unfinished_counts_each_publish_once),
        TEST(what_was_owed_to_a_connection_that_is_gone_comes_out_stale),
        TEST(a_stale_acknowledgement_is_owed_again_when_its_publish_comes_again),
        TEST(one_owed_for_qos_1_is_not_owed_again_for_qos_2),
        TEST(what_is_owed_to_a_gone_connection_does_not_count_against_the_new_one),
        TEST(a_serial_that_is_not_owed_is_ignored),
        TEST(a_refusal_does_not_overtake_an_acknowledgement_that_is_owed),
        TEST(random_ids_are_known_as_in_a_plain_table),
        TEST(random_acknowledgements_come_out_as_from_a_plain_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
