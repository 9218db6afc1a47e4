/* What is removed in the background, and what is not; bodies that are larger than a packet. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "storage/mysql_owner.h"
#include "tests/unit/storage/mysql_support.h"

#define NOW_MS 1700000000000

static struct mariadb *server;
static struct mysql_node node;
static char url[400];

static int start(void **state)
{
    (void)state;
    static const char *const options[] = {"--max-allowed-packet=1M", NULL};
    server = mariadb_create(options);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    mariadb_destroy(server);
    return 0;
}

static int create(void **state)
{
    (void)state;
    mariadb_fresh_url(server, url, sizeof url);
    mysql_node_init(&node, "node-1", url);
    node.config.mysql_timeout_ms = 20000;
    mysql_node_open(&node);
    return 0;
}

static uint64_t number(const char *query)
{
    return mariadb_number_in_database(server, query);
}

static void run(const char *statement)
{
    (void)number(statement); /* it has no answer */
}

static void reopen(void)
{
    mysql_node_close(&node);
    mysql_node_open(&node);
}

static struct operation session_put(uint64_t session)
{
    return (struct operation){
        .type = OPERATION_SESSION_PUT, .session = session, .client_id = slice_text("client")};
}

static struct operation message_put(uint64_t message)
{
    return (struct operation){.type = OPERATION_MESSAGE_PUT,
                              .message = message,
                              .topic = slice_text("t"),
                              .expires_at_ms = OPERATION_NEVER_MS};
}

static struct operation queue_push(uint64_t session, uint64_t position, uint64_t message)
{
    return (struct operation){
        .type = OPERATION_QUEUE_PUSH, .session = session, .position = position, .message = message};
}

/* ---- leftovers ------------------------------------------------------------------------------- */

static void messages_that_nothing_refers_to_are_removed_in_portions(void **state)
{
    (void)state;
    uint64_t id = node.loaded.next_id;
    struct operation *puts = mem_alloc_array(1300, sizeof *puts);
    for (unsigned i = 0; i < 1300; i++) {
        puts[i] = message_put(id + 1 + i);
    }
    const struct operation session[] = {session_put(id), queue_push(id, 1, id + 700)};
    mysql_node_apply(&node, puts, 1300);
    mysql_node_apply_all(&node, session);
    mem_free(puts);
    reopen();
    assert_int_equal(node.counts[OPERATION_MESSAGE_PUT], 1);
    assert_true(node.engine->type->tend(node.engine, NOW_MS));
    assert_int_equal(number("SELECT COUNT(*) FROM messages"), 800);
    mysql_node_tend(&node);
    assert_int_equal(number("SELECT COUNT(*) FROM messages"), 1);
    reopen();
    assert_int_equal(node.counts[OPERATION_QUEUE_PUSH], 1);
    mysql_node_close(&node);
}

static void messages_of_a_session_that_was_taken_over_are_left_alone(void **state)
{
    (void)state;
    uint64_t id = node.loaded.next_id;
    const struct operation operations[] = {
        session_put(id),
        session_put(id + 1),
        message_put(id + 2),
        message_put(id + 3),
        message_put(id + 4),
        queue_push(id, 1, id + 2),
        queue_push(id, 2, id),
        queue_push(id + 1, 1, id + 3),
        {.type = OPERATION_WILL_PUT, .session = id, .message = id + 4},
    };
    mysql_node_apply_all(&node, operations);
    mysql_node_close(&node);
    run("UPDATE sessions SET owner='node-2', epoch=epoch+1 ORDER BY id LIMIT 1");
    mysql_node_open(&node);
    assert_int_equal(node.counts[OPERATION_MESSAGE_PUT], 1);
    mysql_node_tend(&node);
    assert_int_equal(number("SELECT COUNT(*) FROM messages"), 3);
    assert_int_equal(number("SELECT COUNT(*) FROM queue"), 3);
    assert_int_equal(number("SELECT COUNT(*) FROM wills"), 1);
    mysql_node_close(&node);
}

static void rows_of_a_session_that_is_no_more_are_removed(void **state)
{
    (void)state;
    uint64_t id = node.loaded.next_id;
    const struct operation operations[] = {
        session_put(id),
        message_put(id + 9),
        queue_push(id, 1, id + 9),
        queue_push(id + 1, 1, id + 9), /* there is no such session */
        {.type = OPERATION_SUBSCRIPTION_PUT, .session = id + 1, .filter = slice_text("f")},
        {.type = OPERATION_INBOUND_QOS2_PUT, .session = id + 1, .packet_id = 1},
        {.type = OPERATION_WILL_PUT, .session = id + 1, .message = id + 9},
        session_put(id + 2),
        queue_push(id + 2, 1, id + 9),
    };
    mysql_node_apply_all(&node, operations);
    reopen();
    assert_int_equal(node.counts[OPERATION_QUEUE_PUSH], 2);
    assert_int_equal(node.counts[OPERATION_SUBSCRIPTION_PUT], 0);
    assert_int_equal(node.counts[OPERATION_WILL_PUT], 0);
    assert_int_equal(node.counts[OPERATION_INBOUND_QOS2_PUT], 0);
    mysql_node_tend(&node);
    assert_int_equal(number("SELECT COUNT(*) FROM queue"), 2);
    assert_int_equal(number("SELECT (SELECT COUNT(*) FROM subscriptions)+(SELECT COUNT(*) FROM "
                            "wills)+(SELECT COUNT(*) FROM inbound_qos2)"),
                     0);
    mysql_node_close(&node);
}

static void retained_messages_that_expired_long_ago_are_removed(void **state)
{
    (void)state;
    const struct operation operations[] = {
        {.type = OPERATION_RETAINED_PUT, .topic = slice_text("a"), .expires_at_ms = 1000},
        {.type = OPERATION_RETAINED_PUT, .topic = slice_text("b"), .expires_at_ms = NOW_MS - 1000},
        {.type = OPERATION_RETAINED_PUT, .topic = slice_text("c"), .expires_at_ms = NOW_MS + 1000},
        {.type = OPERATION_RETAINED_PUT,
         .topic = slice_text("d"),
         .expires_at_ms = OPERATION_NEVER_MS},
    };
    mysql_node_apply_all(&node, operations);
    mysql_node_tend(&node);
    assert_int_equal(number("SELECT COUNT(*) FROM retained_messages WHERE topic IN ('b','c','d')"),
                     3);
    assert_int_equal(number("SELECT COUNT(*) FROM retained_messages"), 3);
    mysql_node_close(&node);
}

static void ranges_of_earlier_processes_go_with_their_last_message(void **state)
{
    (void)state;
    uint64_t id = node.loaded.next_id;
    const struct operation operations[] = {session_put(id), message_put(id + 1),
                                           queue_push(id, 1, id + 1)};
    mysql_node_apply_all(&node, operations);
    reopen();
    reopen();
    assert_int_equal(number("SELECT COUNT(*) FROM id_ranges"), 3);
    mysql_node_tend(&node);
    assert_int_equal(number("SELECT COUNT(*) FROM id_ranges"), 2);
    const struct operation drop = {.type = OPERATION_MESSAGE_DROP, .message = id + 1};
    mysql_node_apply(&node, &drop, 1);
    reopen();
    mysql_node_tend(&node);
    assert_int_equal(number("SELECT COUNT(*) FROM id_ranges"), 1);
    assert_int_equal(number("SELECT MAX(id_range) FROM id_ranges"),
                     node.loaded.next_id >> MYSQL_RANGE_BITS);
    mysql_node_close(&node);
}

static void rows_that_are_not_of_pulse_are_left_out_with_a_warning(void **state)
{
    (void)state;
    uint64_t id = node.loaded.next_id;
    const struct operation operations[] = {
        session_put(id),           message_put(id + 1),       message_put(id + 2),
        message_put(id + 3),       queue_push(id, 1, id + 1), queue_push(id, 2, id + 2),
        queue_push(id, 3, id + 3),
    };
    mysql_node_apply_all(&node, operations);
    mysql_node_close(&node);
    run("INSERT INTO sessions VALUES (77,'h','',1,0,0,'node-1',1);"
        "INSERT INTO subscriptions SELECT id,'h','',0,0,0,0,0 FROM sessions WHERE id<>77;"
        "INSERT INTO subscriptions SELECT id,'i','x',3,0,0,0,0 FROM sessions WHERE id<>77;"
        "INSERT INTO inbound_qos2 SELECT id,0 FROM sessions WHERE id<>77;"
        "INSERT INTO retained_messages VALUES ('h','','','',0,NULL,0,NULL),"
        "('i','t','','',0,NULL,0,5);"
        "UPDATE messages SET topic='' ORDER BY id LIMIT 1;"
        "UPDATE messages SET split_at=1 ORDER BY id DESC LIMIT 1");
    mysql_log_catch();
    mysql_node_open(&node);
    assert_non_null(strstr(mysql_log_caught(), "rows=8"));
    assert_int_equal(node.counts[OPERATION_SESSION_PUT], 1);
    assert_int_equal(node.counts[OPERATION_SUBSCRIPTION_PUT], 0);
    assert_int_equal(node.counts[OPERATION_INBOUND_QOS2_PUT], 0);
    assert_int_equal(node.counts[OPERATION_RETAINED_PUT], 0);
    assert_int_equal(node.counts[OPERATION_MESSAGE_PUT], 1);
    assert_int_equal(node.counts[OPERATION_QUEUE_PUSH], 1);
    mysql_node_close(&node);
}

/* ---- large bodies ---------------------------------------------------------------------------- */

#define LARGE (5u * 1024 * 1024 + 3)

struct expected {
    struct slice properties;
    struct slice payload;
    unsigned messages;
    unsigned retained;
};

static enum err check_body(void *context, const struct operation *operation)
{
    struct expected *expected = context;
    expected->messages += operation->type == OPERATION_MESSAGE_PUT;
    expected->retained += operation->type == OPERATION_RETAINED_PUT;
    if (operation->type == OPERATION_MESSAGE_PUT || operation->type == OPERATION_RETAINED_PUT) {
        assert_true(slice_equal(operation->properties, expected->properties));
        assert_true(slice_equal(operation->payload, expected->payload));
        assert_true(slice_equal(operation->topic, slice_text("large")));
    }
    return ERR_OK;
}

/* Bytes of which many need to be escaped. */
static uint8_t *large_bytes(void)
{
    uint8_t *bytes = mem_try_alloc(LARGE);
    assert_non_null(bytes);
    for (size_t i = 0; i < LARGE; i++) {
        bytes[i] = (uint8_t) "\0'\\ab\xff\n"[i % 7];
    }
    return bytes;
}

static void a_body_that_is_larger_than_a_packet_comes_back(void **state)
{
    (void)state;
    uint64_t id = node.loaded.next_id;
    uint8_t *bytes = large_bytes();
    struct expected expected = {.properties = slice_of(bytes, 70000),
                                .payload = slice_of(bytes + 5, LARGE - 5)};
    struct operation operations[] = {session_put(id),
                                     message_put(id + 1),
                                     queue_push(id, 1, id + 1),
                                     {.type = OPERATION_RETAINED_PUT,
                                      .topic = slice_text("large"),
                                      .properties = expected.properties,
                                      .payload = expected.payload,
                                      .expires_at_ms = OPERATION_NEVER_MS}};
    operations[1].topic = slice_text("large");
    operations[1].properties = expected.properties;
    operations[1].payload = expected.payload;
    mysql_node_apply_all(&node, operations);
    mysql_node_apply_all(&node, operations); /* applied again: no doubled parts */
    mysql_node_tend(&node);
    mysql_node_close(&node);

    struct engine_loaded loaded;
    const struct operation_sink sink = {.context = &expected, .take = check_body};
    assert_int_equal(engine_mysql.open(&node.config, &node.stats, &node.engine), ERR_OK);
    assert_int_equal(node.engine->type->load(node.engine, &sink, &loaded), ERR_OK);
    assert_int_equal(expected.messages, 1);
    assert_int_equal(expected.retained, 1);
    mysql_node_close(&node);
    mem_free(bytes);
}

static void the_parts_of_a_large_body_go_with_it(void **state)
{
    (void)state;
    uint64_t id = node.loaded.next_id;
    uint8_t *bytes = large_bytes();
    struct operation message = message_put(id + 1);
    struct operation other = message_put(id + 2);
    struct operation retained = {.type = OPERATION_RETAINED_PUT,
                                 .topic = slice_text("large"),
                                 .payload = slice_of(bytes, LARGE),
                                 .expires_at_ms = OPERATION_NEVER_MS};
    message.payload = slice_of(bytes, LARGE);
    other.payload = slice_of(bytes, LARGE);
    const struct operation operations[] = {session_put(id), message, other, retained,
                                           queue_push(id, 1, id + 2)};
    mysql_node_apply_all(&node, operations);
    assert_int_equal(number("SELECT COUNT(DISTINCT body) FROM body_parts"), 3);
    retained.payload = slice_text("small");
    const struct operation removals[] = {{.type = OPERATION_MESSAGE_DROP, .message = id + 1},
                                         retained};
    mysql_node_apply_all(&node, removals);
    reopen();
    assert_int_equal(node.payload_bytes, LARGE);
    mysql_node_tend(&node);
    assert_int_equal(number("SELECT COUNT(DISTINCT body) FROM body_parts"), 1);
    reopen();
    assert_int_equal(node.payload_bytes, LARGE);
    assert_int_equal(node.counts[OPERATION_RETAINED_PUT], 1);
    mysql_node_close(&node);
    mem_free(bytes);
}

#define test(name) cmocka_unit_test_setup(name, create)

int main(void)
{
    if (!mariadb_installed()) {
        (void)fprintf(stderr, "no MariaDB server here: skipped\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        test(messages_that_nothing_refers_to_are_removed_in_portions),
        test(messages_of_a_session_that_was_taken_over_are_left_alone),
        test(rows_of_a_session_that_is_no_more_are_removed),
        test(retained_messages_that_expired_long_ago_are_removed),
        test(ranges_of_earlier_processes_go_with_their_last_message),
        test(rows_that_are_not_of_pulse_are_left_out_with_a_warning),
        test(a_body_that_is_larger_than_a_packet_comes_back),
        test(the_parts_of_a_large_body_go_with_it),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
