/*
 * The engine while its database fails: nothing that was committed is lost or doubled, nothing that
 * was given up comes back, and it goes on by itself.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include <mysql.h>

#include "base/clock.h"
#include "tests/unit/storage/mysql_support.h"
#include "tests/unit/storage/proxy_support.h"

static struct mariadb *server;
static struct mysql_node node;
static char url[400];

static int start(void **state)
{
    (void)state;
    server = mariadb_create(NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    mariadb_destroy(server);
    return 0;
}

/* An open node with a session. */
static int create(void **state)
{
    (void)state;
    mariadb_fresh_url(server, url, sizeof url);
    mysql_node_init(&node, "node-1", url);
    mysql_node_open(&node);
    mysql_node_make_session(&node);
    return 0;
}

static uint64_t number(const char *query)
{
    return mariadb_number_in_database(server, query);
}

static int64_t reconnects(void)
{
    return stat_get(&node.stats, STAT_RECONNECTS);
}

/* Loads again and checks that exactly the positions 1 to `last` are there. */
static void assert_committed(uint64_t last)
{
    mysql_node_close(&node);
    mysql_node_open(&node);
    assert_false(node.gaps);
    assert_int_equal(node.last_position, last);
    assert_int_equal(node.counts[OPERATION_QUEUE_PUSH], last);
    assert_int_equal(node.counts[OPERATION_MESSAGE_PUT], last);
    mysql_node_close(&node);
}

static void publish(uint64_t position)
{
    struct operation operations[2];
    mysql_publish(operations, position);
    mysql_node_apply(&node, operations, 2);
}

/* ---- the server goes and comes --------------------------------------------------------------- */

static void a_server_that_was_restarted_between_batches_is_found_again(void **state)
{
    (void)state;
    struct operation operations[2];
    publish(1);
    mariadb_stop(server);
    mysql_publish(operations, 2);
    assert_int_equal(mysql_node_try(&node, operations, 2), ERR_UNAVAILABLE);
    assert_true(node.engine->trouble[0] != '\0');
    assert_int_equal(mysql_node_try(&node, operations, 2), ERR_UNAVAILABLE);
    mariadb_start(server);
    mysql_node_insist(&node, operations, 2);
    assert_int_equal(reconnects(), 1);
    assert_committed(2);
}

static void an_idle_node_finds_the_restarted_server_before_the_next_batch(void **state)
{
    (void)state;
    struct operation operations[2];
    publish(1);
    mysql_node_tend(&node);
    mariadb_stop(server);
    mariadb_start(server);
    mysql_node_tend(&node);
    assert_int_equal(reconnects(), 1);
    mysql_publish(operations, 2);
    mysql_node_apply(&node, operations, 2);
    assert_committed(2);
}

static void an_idle_node_bears_a_server_that_is_gone(void **state)
{
    (void)state;
    struct operation operations[2];
    publish(1);
    mysql_node_tend(&node);
    mariadb_stop(server);
    for (unsigned i = 0; i < 5; i++) {
        mysql_node_tend(&node);
    }
    mysql_publish(operations, 2);
    assert_int_equal(mysql_node_try(&node, operations, 2), ERR_UNAVAILABLE);
    mysql_node_tend(&node);
    mariadb_start(server);
    mysql_node_insist(&node, operations, 2);
    assert_committed(2);
}

/* Ends and starts the server again and again under a thread that commits. */
static void treat_badly(void (*end)(struct mariadb *server), unsigned times)
{
    struct mysql_load_thread load;
    mysql_load_start(&load, &node, 150);
    for (unsigned i = 0; i < times; i++) {
        mysql_load_wait(&load, 1500);
        uint64_t failures = atomic_load(&load.failures);
        end(server);
        mysql_load_wait_failure(&load, failures);
        mariadb_start(server);
    }
    mysql_load_wait(&load, 1500);
    mysql_load_stop(&load);
    assert_committed(atomic_load(&load.committed));
}

static void restarts_in_the_middle_of_batches_lose_and_double_nothing(void **state)
{
    (void)state;
    treat_badly(mariadb_stop, 3);
}

static void kills_in_the_middle_of_batches_lose_and_double_nothing(void **state)
{
    (void)state;
    treat_badly(mariadb_kill, 6);
}

/* ---- a server that hangs --------------------------------------------------------------------- */

static void a_server_that_hangs_is_given_up_after_the_timeout(void **state)
{
    (void)state;
    struct operation operations[2];
    publish(1);
    mysql_publish(operations, 2);
    mariadb_pause(server);
    uint64_t since_ms = clock_mono_ms();
    assert_int_equal(mysql_node_try(&node, operations, 2), ERR_UNAVAILABLE);
    uint64_t ms = clock_mono_ms() - since_ms;
    mariadb_resume(server);
    assert_in_range(ms, 900, 5000);
    mysql_node_insist(&node, operations, 2);
    assert_committed(2);
}

static void *apply_next(void *context)
{
    struct operation operations[2];
    mysql_publish(operations, 2);
    *(enum err *)context = mysql_node_try(&node, operations, 2);
    return NULL;
}

/* The server hangs for longer than anybody who stops wants to wait. */
static void open_patiently_and_pause(void)
{
    mysql_node_close(&node);
    node.config.mysql_timeout_ms = 20000;
    mysql_node_open(&node);
    node.now_ms += 500; /* which only the closing would note */
    publish(1);
    mariadb_pause(server);
}

static void a_deadline_ends_the_waiting_for_a_server_that_hangs(void **state)
{
    (void)state;
    pthread_t thread;
    enum err err = ERR_OK;
    open_patiently_and_pause();
    uint64_t since_ms = clock_mono_ms();
    assert_int_equal(pthread_create(&thread, NULL, apply_next, &err), 0);
    (void)poll(NULL, 0, 200); /* it waits by then, or sees the deadline at once */
    node.engine->type->hurry(node.engine, since_ms + 1000);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_in_range(clock_mono_ms() - since_ms, 990, 5000);
    assert_int_equal(err, ERR_UNAVAILABLE);
    (void)apply_next(&err); /* would connect */
    assert_int_equal(err, ERR_UNAVAILABLE);
    mysql_node_close(&node);
    assert_true(clock_mono_ms() - since_ms < 5000);
    mariadb_resume(server);
}

static void a_deadline_ends_the_closing_on_a_server_that_hangs(void **state)
{
    (void)state;
    open_patiently_and_pause();
    uint64_t since_ms = clock_mono_ms();
    node.engine->type->hurry(node.engine, since_ms + 300);
    mysql_node_close(&node);
    assert_true(clock_mono_ms() - since_ms < 5000);
    mariadb_resume(server);
}

static void hangs_in_the_middle_of_batches_lose_and_double_nothing(void **state)
{
    (void)state;
    struct mysql_load_thread load;
    mysql_load_start(&load, &node, 150);
    for (unsigned i = 0; i < 3; i++) {
        mysql_load_wait(&load, 1500);
        uint64_t failures = atomic_load(&load.failures);
        mariadb_pause(server);
        mysql_load_wait_failure(&load, failures);
        mariadb_resume(server);
    }
    mysql_load_wait(&load, 1500);
    mysql_load_stop(&load);
    assert_committed(atomic_load(&load.committed));
}

/* Ends the connection that holds the lock, as a server does with a silent one. */
static enum err end_silent_connection(void *context, const struct operation *operation)
{
    char sql[64];
    (void)operation;
    (void)snprintf(sql, sizeof sql, "KILL CONNECTION %llu",
                   (unsigned long long)mariadb_number(
                       server, "SELECT MIN(id) FROM information_schema.processlist WHERE "
                               "user='" MARIADB_USER "'"));
    if (!*(bool *)context) {
        mariadb_run(server, sql);
        *(bool *)context = true;
    }
    return ERR_OK;
}

static void a_connection_that_is_given_up_during_a_long_load_is_made_anew(void **state)
{
    (void)state;
    bool ended = false;
    struct engine_loaded loaded;
    const struct operation_sink sink = {.context = &ended, .take = end_silent_connection};
    mysql_node_close(&node);
    assert_int_equal(engine_mysql.open(&node.config, &node.stats, &node.engine), ERR_OK);
    assert_int_equal(node.engine->type->load(node.engine, &sink, &loaded), ERR_OK);
    assert_true(ended);
    assert_int_equal(reconnects(), 1);
    node.next_id = loaded.next_id;
    publish(1);
    assert_committed(1);
}

/* ---- not the one to write to ----------------------------------------------------------------- */

static void a_server_that_only_reads_is_left_and_looked_up_again(void **state)
{
    (void)state;
    struct operation operations[2];
    publish(1);
    mysql_publish(operations, 2);
    mariadb_read_only(server, true);
    assert_int_equal(mysql_node_try(&node, operations, 2), ERR_UNAVAILABLE);
    assert_non_null(strstr(node.engine->trouble, "read-only"));
    assert_int_equal(reconnects(), 0);
    assert_int_equal(mysql_node_try(&node, operations, 2), ERR_UNAVAILABLE);
    assert_int_equal(reconnects(), 1); /* connected anew: the name may lead elsewhere now */
    mariadb_read_only(server, false);
    mysql_node_insist(&node, operations, 2);
    assert_committed(2);
}

static void another_process_that_had_the_store_meanwhile_is_noticed(void **state)
{
    (void)state;
    struct mysql_node second;
    struct operation operations[2];
    publish(1);
    mysql_publish(operations, 2);
    mariadb_stop(server);
    assert_int_equal(mysql_node_try(&node, operations, 2), ERR_UNAVAILABLE);
    mariadb_start(server);
    mysql_node_init(&second, "node-1", url);
    mysql_node_open(&second);
    mysql_node_close(&second);
    assert_int_equal(mysql_node_try(&node, operations, 2), ERR_LOCKED);
    assert_int_equal(number("SELECT COUNT(*) FROM queue"), 1);
    mysql_node_close(&node);
}

/* ---- other clients --------------------------------------------------------------------------- */

static MYSQL *other_client(void)
{
    MYSQL *client = mysql_init(NULL);
    unsigned timeout = 20;
    mysql_optionsv(client, MYSQL_OPT_READ_TIMEOUT, &timeout);
    assert_non_null(mysql_real_connect(client, NULL, "root", "", mariadb_database(server), 0,
                                       mariadb_socket(server), CLIENT_MULTI_STATEMENTS));
    return client;
}

static void tell(MYSQL *client, const char *sql)
{
    if (mysql_query(client, sql) != 0) {
        fail_msg("%s: %s", sql, mysql_error(client));
    }
    mysql_free_result(mysql_store_result(client));
}

static void *apply_in_thread(void *context)
{
    struct operation operations[] = {
        {.type = OPERATION_SESSION_PUT,
         .session = 1,
         .client_id = slice_text("client"),
         .sent_to = 9},
        {.type = OPERATION_MESSAGE_DROP, .message = 1},
        {.type = OPERATION_QUEUE_POP, .session = 1, .position = 1, .last = 1},
    };
    *(enum err *)context = mysql_node_try(&node, operations, 3);
    return NULL;
}

/* The server shows its transactions as they were unless nobody asked for 100 ms. */
static void wait_for_a_waiting_transaction(void)
{
    uint64_t deadline_ms = clock_mono_ms() + 10000;
    do {
        assert_true(clock_mono_ms() < deadline_ms);
        (void)poll(NULL, 0, 150);
    } while (mariadb_number(server, "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE "
                                    "trx_state='LOCK WAIT'") == 0);
}

/* The other client has more rows in its transaction: it is ours that the server ends. */
static void a_deadlock_with_another_client_is_tried_again(void **state)
{
    (void)state;
    pthread_t thread;
    enum err err = ERR_STOPPED;
    mysql_node_close(&node);
    node.config.mysql_timeout_ms = 20000;
    mysql_node_open(&node);
    publish(1);
    uint64_t deadlocks =
        mariadb_number(server, "SELECT variable_value FROM information_schema.global_status WHERE "
                               "variable_name='Innodb_deadlocks'");
    MYSQL *client = other_client();
    tell(client, "CREATE TABLE weight (a INT PRIMARY KEY)");
    tell(client, "BEGIN");
    tell(client, "INSERT INTO weight SELECT seq FROM seq_1_to_1000");
    tell(client, "UPDATE messages SET qos=0 WHERE id=1");
    assert_int_equal(pthread_create(&thread, NULL, apply_in_thread, &err), 0);
    wait_for_a_waiting_transaction();
    tell(client, "UPDATE sessions SET epoch=5 WHERE id=1");
    tell(client, "COMMIT");
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_string_equal(err_text(err), err_text(ERR_OK));
    assert_true(mariadb_number(server,
                               "SELECT variable_value FROM information_schema.global_status WHERE "
                               "variable_name='Innodb_deadlocks'") > deadlocks);
    mysql_close(client);
    assert_int_equal(number("SELECT COUNT(*) FROM sessions WHERE sent_to=9 AND epoch=5"), 1);
    assert_int_equal(reconnects(), 0);
    assert_committed(0);
}

static void a_row_that_stays_locked_is_unavailable_not_forever(void **state)
{
    (void)state;
    enum err err = ERR_STOPPED;
    publish(1);
    MYSQL *client = other_client();
    tell(client, "BEGIN");
    tell(client, "UPDATE messages SET qos=0 WHERE id=1");
    uint64_t since_ms = clock_mono_ms();
    (void)apply_in_thread(&err);
    assert_string_equal(err_text(err), err_text(ERR_UNAVAILABLE));
    assert_true(clock_mono_ms() - since_ms < 20000);
    tell(client, "ROLLBACK");
    (void)apply_in_thread(&err);
    assert_string_equal(err_text(err), err_text(ERR_OK));
    mysql_close(client);
    assert_committed(0);
}

/* Two nodes with small tables, each putting and removing its own rows: were the optimizer to read
 * whole tables for that, they would wait for each other all the time. */
static void nodes_do_not_wait_for_each_others_rows(void **state)
{
    (void)state;
    MYSQL *client = other_client();
    struct operation operations[80];
    for (uint64_t i = 0; i < 40; i++) {
        mysql_publish(operations + 2 * i, i + 1);
    }
    mysql_node_apply(&node, operations, 80);
    tell(client, "BEGIN");
    tell(client, "INSERT INTO sessions VALUES (8,'h','c',1,0,0,'node-2',1)");
    tell(client, "INSERT INTO messages VALUES (70,'t','','',0,0,NULL,0,NULL)");
    tell(client, "INSERT INTO queue VALUES (8,1,70,0,0,0,0,NULL)");
    tell(client, "INSERT INTO subscriptions VALUES (8,'h','f',0,0,0,0,0)");
    tell(client, "INSERT INTO inbound_qos2 VALUES (8,1)");
    tell(client, "INSERT INTO wills VALUES (8,70,0,NULL)");
    tell(client, "INSERT INTO retained_messages VALUES ('h','t','','',0,NULL,0,NULL)");
    size_t count = 0;
    for (uint64_t i = 1; i < 40; i += 3) {
        operations[count++] =
            (struct operation){.type = OPERATION_QUEUE_POP, .session = 1, .position = i, .last = i};
        operations[count++] =
            (struct operation){.type = OPERATION_QUEUE_RELEASE, .session = 1, .position = i + 1};
        operations[count++] = (struct operation){.type = OPERATION_MESSAGE_DROP, .message = i};
    }
    const struct operation removals[] = {
        {.type = OPERATION_SUBSCRIPTION_DROP, .session = 1, .filter = slice_text("a")},
        {.type = OPERATION_INBOUND_QOS2_DROP, .session = 1, .packet_id = 4},
        {.type = OPERATION_WILL_DROP, .session = 1},
        {.type = OPERATION_RETAINED_DROP, .topic = slice_text("r")},
        {.type = OPERATION_SESSION_DROP, .session = 12},
    };
    mysql_node_apply(&node, operations, count);
    mysql_node_apply_all(&node, removals);
    tell(client, "ROLLBACK");
    mysql_close(client);
    mysql_node_close(&node);
}

/* ---- the network ----------------------------------------------------------------------------- */

static struct proxy *proxy;

static void go_through_proxy(void)
{
    mysql_node_close(&node);
    proxy = proxy_create(mariadb_port(server), "COMMIT");
    (void)snprintf(node.url, sizeof node.url, "mysql://%s:%s@127.0.0.1:%u/%s", MARIADB_USER,
                   MARIADB_PASSWORD_ENCODED, proxy_port(proxy), mariadb_database(server));
    mysql_node_open(&node);
}

static void the_lost_answer_of_a_commit_doubles_nothing(void **state)
{
    (void)state;
    struct operation operations[2];
    go_through_proxy();
    publish(1);
    mysql_publish(operations, 2);
    proxy_set(proxy, PROXY_CUT_ANSWER);
    assert_int_equal(mysql_node_try(&node, operations, 2), ERR_UNAVAILABLE);
    assert_int_equal(proxy_cuts(proxy), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM queue"), 2); /* it was committed */
    mysql_node_insist(&node, operations, 2);
    publish(3);
    assert_committed(3);
    proxy_destroy(proxy);
}

static void a_commit_that_never_arrives_loses_nothing(void **state)
{
    (void)state;
    struct operation operations[2];
    go_through_proxy();
    publish(1);
    mysql_publish(operations, 2);
    proxy_set(proxy, PROXY_CUT_REQUEST);
    assert_int_equal(mysql_node_try(&node, operations, 2), ERR_UNAVAILABLE);
    assert_int_equal(proxy_cuts(proxy), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM queue"), 1); /* it was not */
    mysql_node_insist(&node, operations, 2);
    assert_committed(2);
    proxy_destroy(proxy);
}

/* A packet that we gave up arrives when we have long gone on: were the server to carry it out, an
 * entry that was popped meanwhile would be back. */
static void what_was_given_up_does_not_come_back_later(void **state)
{
    (void)state;
    struct operation operations[2];
    const struct operation pop = {
        .type = OPERATION_QUEUE_POP, .session = MYSQL_NODE_SESSION, .position = 1, .last = 1};
    go_through_proxy();
    mysql_publish(operations, 1);
    proxy_set(proxy, PROXY_HOLD);
    assert_int_equal(mysql_node_try(&node, operations, 2), ERR_UNAVAILABLE);
    assert_int_equal(proxy_cuts(proxy), 1);
    mysql_node_insist(&node, operations, 2);
    mysql_node_apply(&node, &pop, 1);
    proxy_release(proxy);
    (void)poll(NULL, 0, 300); /* for the server to carry it out, if it did */
    assert_int_equal(number("SELECT COUNT(*) FROM queue"), 0);
    assert_committed(0);
    proxy_destroy(proxy);
}

/* The server knows nothing of the break, and would keep our lock for a minute. */
static void a_connection_that_broke_unseen_does_not_keep_us_out(void **state)
{
    (void)state;
    struct operation operations[2];
    go_through_proxy();
    publish(1);
    mysql_publish(operations, 2);
    proxy_freeze(proxy);
    uint64_t since_ms = clock_mono_ms();
    assert_int_equal(mysql_node_try(&node, operations, 2), ERR_UNAVAILABLE);
    mysql_node_insist(&node, operations, 2);
    assert_true(clock_mono_ms() - since_ms < 10000);
    assert_committed(2);
    proxy_destroy(proxy);
}

#define test(name) cmocka_unit_test_setup(name, create)

int main(void)
{
    if (!mariadb_installed()) {
        (void)fprintf(stderr, "no MariaDB server here: skipped\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        test(a_server_that_was_restarted_between_batches_is_found_again),
        test(an_idle_node_finds_the_restarted_server_before_the_next_batch),
        test(an_idle_node_bears_a_server_that_is_gone),
        test(restarts_in_the_middle_of_batches_lose_and_double_nothing),
        test(kills_in_the_middle_of_batches_lose_and_double_nothing),
        test(a_server_that_hangs_is_given_up_after_the_timeout),
        test(a_deadline_ends_the_waiting_for_a_server_that_hangs),
        test(a_deadline_ends_the_closing_on_a_server_that_hangs),
        test(hangs_in_the_middle_of_batches_lose_and_double_nothing),
        test(a_connection_that_is_given_up_during_a_long_load_is_made_anew),
        test(a_server_that_only_reads_is_left_and_looked_up_again),
        test(another_process_that_had_the_store_meanwhile_is_noticed),
        test(a_deadlock_with_another_client_is_tried_again),
        test(a_row_that_stays_locked_is_unavailable_not_forever),
        test(nodes_do_not_wait_for_each_others_rows),
        test(the_lost_answer_of_a_commit_doubles_nothing),
        test(a_commit_that_never_arrives_loses_nothing),
        test(what_was_given_up_does_not_come_back_later),
        test(a_connection_that_broke_unseen_does_not_keep_us_out),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
