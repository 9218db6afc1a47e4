/* The engine on a server that is well: who may use a database, and what it says if not. The
 * contract of all engines is in contract_test.c, failures are in mysql_failure_test.c. */
#include <stdio.h>
#include <string.h>

#include "storage/mysql_owner.h"
#include "storage/mysql_schema.h"
#include "storage/storage.h"
#include "storage/transfer.h"
#include "tests/unit/storage/mysql_support.h"

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

static int create(void **state)
{
    (void)state;
    mariadb_fresh_url(server, url, sizeof url);
    mysql_node_init(&node, "node-1", url);
    node.config.mysql_timeout_ms = 10000;
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

static void publish(struct mysql_node *to, uint64_t position)
{
    struct operation operations[2];
    mysql_publish(operations, position);
    mysql_node_apply(to, operations, 2);
}

/* ---- the tables ------------------------------------------------------------------------------ */

static void an_operator_finds_what_is_stored(void **state)
{
    (void)state;
    mysql_node_open(&node);
    mysql_node_make_session(&node);
    publish(&node, 1);
    publish(&node, 2);
    const struct operation more[] = {
        {.type = OPERATION_SUBSCRIPTION_PUT, .session = 1, .filter = slice_text("some/#")},
        {.type = OPERATION_RETAINED_PUT,
         .topic = slice_text("lamp"),
         .payload = slice_text("on"),
         .expires_at_ms = OPERATION_NEVER_MS},
    };
    mysql_node_apply_all(&node, more);
    mysql_node_close(&node);
    assert_int_equal(number("SELECT COUNT(*) FROM sessions s JOIN queue q ON q.session_id=s.id "
                            "JOIN messages m ON m.id=q.message_id WHERE s.client_id='client' AND "
                            "s.owner='node-1' AND s.epoch=1 AND m.topic='some/topic'"),
                     2);
    assert_int_equal(number("SELECT COUNT(*) FROM sessions WHERE "
                            "client_id_hash=UNHEX(SHA2('client',256))"),
                     1);
    assert_int_equal(number("SELECT COUNT(*) FROM subscriptions WHERE filter='some/#' AND "
                            "filter_hash=UNHEX(SHA2('some/#',256))"),
                     1);
    assert_int_equal(number("SELECT COUNT(*) FROM retained_messages WHERE topic='lamp' AND "
                            "payload='on' AND expires_at_ms IS NULL"),
                     1);
    assert_int_equal(number("SELECT COUNT(*) FROM information_schema.tables WHERE "
                            "table_schema=DATABASE() AND engine<>'InnoDB'"),
                     0);
}

struct opener {
    pthread_t thread;
    struct mysql_node node;
    char owner[16];
    enum err err;
};

static void *open_store(void *context)
{
    struct opener *opener = context;
    opener->err =
        engine_mysql.open(&opener->node.config, &opener->node.stats, &opener->node.engine);
    return NULL;
}

static void nodes_that_start_at_once_make_the_tables_once(void **state)
{
    (void)state;
    struct opener openers[6];
    uint64_t ranges = 0;
    for (unsigned i = 0; i < 6; i++) {
        (void)snprintf(openers[i].owner, sizeof openers[i].owner, "node-%u", i);
        mysql_node_init(&openers[i].node, openers[i].owner, url);
        openers[i].node.config.mysql_timeout_ms = 20000;
        assert_int_equal(pthread_create(&openers[i].thread, NULL, open_store, &openers[i]), 0);
    }
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(pthread_join(openers[i].thread, NULL), 0);
        assert_string_equal(err_text(openers[i].err), err_text(ERR_OK));
        mysql_node_close(&openers[i].node);
    }
    ranges = number("SELECT COUNT(DISTINCT id_range) FROM id_ranges");
    assert_int_equal(ranges, 6);
    assert_int_equal(number("SELECT value FROM meta WHERE name='next_id_range'"), 7);
}

static void the_tables_of_a_newer_version_are_left_alone(void **state)
{
    (void)state;
    mysql_node_open(&node);
    mysql_node_close(&node);
    run("UPDATE meta SET value=99 WHERE name='schema_version'");
    assert_int_equal(mysql_node_try_open(&node), ERR_VERSION);
    assert_int_equal(number("SELECT COUNT(*) FROM id_ranges"), 1);
}

/* DDL commits by itself: a server that died after some of it left this. */
static void tables_that_were_made_in_part_are_completed(void **state)
{
    (void)state;
    mysql_node_open(&node);
    mysql_node_close(&node);
    run("UPDATE meta SET value=0 WHERE name='schema_version'; DROP TABLE queue; DROP TABLE wills");
    mysql_node_open(&node);
    mysql_node_make_session(&node);
    publish(&node, 1);
    mysql_node_close(&node);
    assert_int_equal(number("SELECT value FROM meta WHERE name='schema_version'"),
                     MYSQL_SCHEMA_VERSION);
}

static void an_account_without_the_right_to_make_tables_is_enough_later(void **state)
{
    (void)state;
    char sql[600], limited[400];
    mysql_node_open(&node);
    mysql_node_close(&node);
    (void)snprintf(sql, sizeof sql,
                   "CREATE OR REPLACE USER 'limited'@'127.0.0.1' IDENTIFIED BY 'x'; GRANT "
                   "SELECT,INSERT,UPDATE,DELETE ON `%s`.* TO 'limited'@'127.0.0.1'",
                   mariadb_database(server));
    mariadb_run(server, sql);
    (void)snprintf(limited, sizeof limited, "mysql://limited:x@127.0.0.1:%u/%s",
                   mariadb_port(server), mariadb_database(server));
    mysql_node_init(&node, "node-1", limited);
    mysql_node_open(&node);
    mysql_node_make_session(&node);
    publish(&node, 1);
    mysql_node_close(&node);
}

static void the_unix_socket_of_the_url_is_used(void **state)
{
    (void)state;
    char by_socket[400];
    (void)snprintf(by_socket, sizeof by_socket, "mysql://%s:%s@localhost:1/%s?socket=%s",
                   MARIADB_USER, MARIADB_PASSWORD_ENCODED, mariadb_database(server),
                   mariadb_socket(server));
    mysql_node_init(&node, "node-1", by_socket);
    mysql_node_open(&node);
    mysql_node_make_session(&node);
    mysql_node_close(&node);
}

/* ---- owners ---------------------------------------------------------------------------------- */

static void a_second_process_with_the_same_owner_is_refused(void **state)
{
    (void)state;
    struct mysql_node second;
    mysql_node_init(&second, "node-1", url);
    mysql_node_open(&node);
    assert_int_equal(mysql_node_try_open(&second), ERR_LOCKED);
    mysql_node_make_session(&node); /* the first is not disturbed */
    mysql_node_close(&node);
    mysql_node_open(&second);
    mysql_node_close(&second);
}

static void each_owner_loads_what_is_its_own(void **state)
{
    (void)state;
    struct mysql_node second;
    mysql_node_init(&second, "node-2", url);
    mysql_node_open(&node);
    mysql_node_open(&second);
    assert_true(node.loaded.next_id != second.loaded.next_id);
    mysql_node_make_session(&node);
    publish(&node, 1);
    const uint64_t id = second.loaded.next_id;
    const struct operation operations[] = {
        {.type = OPERATION_SESSION_PUT, .session = id, .client_id = slice_text("client")},
        {.type = OPERATION_MESSAGE_PUT, .message = id + 1, .topic = slice_text("t")},
        {.type = OPERATION_QUEUE_PUSH, .session = id, .position = 1, .message = id + 1},
        {.type = OPERATION_QUEUE_PUSH, .session = id, .position = 2, .message = id + 1},
        {.type = OPERATION_RETAINED_PUT,
         .topic = slice_text("r"),
         .expires_at_ms = OPERATION_NEVER_MS},
    };
    mysql_node_apply_all(&second, operations);
    mysql_node_tend(&node);
    mysql_node_tend(&second);
    mysql_node_close(&node);
    mysql_node_close(&second);

    mysql_node_open(&node);
    assert_int_equal(node.counts[OPERATION_SESSION_PUT], 1);
    assert_int_equal(node.counts[OPERATION_QUEUE_PUSH], 1);
    assert_int_equal(node.counts[OPERATION_MESSAGE_PUT], 1);
    assert_int_equal(node.counts[OPERATION_RETAINED_PUT], 1); /* shared */
    mysql_node_close(&node);
    mysql_node_open(&second);
    assert_int_equal(second.counts[OPERATION_SESSION_PUT], 1);
    assert_int_equal(second.counts[OPERATION_QUEUE_PUSH], 2);
    assert_int_equal(second.counts[OPERATION_MESSAGE_PUT], 1);
    mysql_node_close(&second);
}

/* A node whose name has changed would wonder where its sessions are. */
static void sessions_of_other_owners_are_said_when_opening(void **state)
{
    (void)state;
    struct mysql_node renamed;
    mysql_node_init(&renamed, "node-2", url);
    mysql_node_open(&node);
    mysql_node_make_session(&node);
    mysql_node_close(&node);
    run("INSERT INTO sessions SELECT id+1,client_id_hash,client_id,1,1,1,'zoe',1 FROM sessions");
    mysql_log_catch();
    mysql_node_open(&renamed);
    assert_non_null(strstr(mysql_log_caught(), "owners=\"node-1, zoe\" sessions=2"));
    mysql_node_close(&renamed);
    run("DELETE FROM sessions WHERE owner='zoe'");
    mysql_log_catch();
    mysql_node_open(&node);
    assert_null(strstr(mysql_log_caught(), "other nodes"));
    mysql_node_close(&node);
}

static void a_crowd_of_other_owners_is_cut(void **state)
{
    (void)state;
    mysql_node_open(&node);
    mysql_node_close(&node);
    run("INSERT INTO sessions SELECT seq,'h','c',1,1,1,CONCAT('a-rather-long-name-',seq),1 "
        "FROM seq_10_to_99");
    mysql_log_catch();
    mysql_node_open(&node);
    const char *log = mysql_log_caught();
    assert_non_null(strstr(log, "owners=\"a-rather-long-name-10, a-rather"));
    assert_non_null(strstr(log, ", ...\" sessions=90"));
    mysql_node_close(&node);
}

/* ---- ids ------------------------------------------------------------------------------------- */

static void each_opening_takes_ids_of_its_own(void **state)
{
    (void)state;
    mysql_node_open(&node);
    uint64_t first = node.loaded.next_id;
    mysql_node_close(&node);
    mysql_node_open(&node);
    assert_int_equal(node.loaded.next_id, first + (UINT64_C(1) << MYSQL_RANGE_BITS));
    mysql_node_close(&node);
}

static void ids_that_an_import_brought_are_not_given_again(void **state)
{
    (void)state;
    mysql_node_open(&node);
    const struct operation put = {.type = OPERATION_SESSION_PUT,
                                  .session = UINT64_C(77) << MYSQL_RANGE_BITS,
                                  .client_id = slice_text("imported")};
    node.next_id = put.session + 1;
    mysql_node_apply(&node, &put, 1);
    mysql_node_close(&node);
    mysql_node_open(&node);
    assert_true(node.loaded.next_id > put.session);
    assert_int_equal(node.counts[OPERATION_SESSION_PUT], 1);
    mysql_node_close(&node);
}

static void a_range_that_is_used_up_is_followed_by_the_next_if_that_is_free(void **state)
{
    (void)state;
    struct mysql_node second;
    mysql_node_init(&second, "node-2", url);
    mysql_node_open(&node);
    node.next_id = node.loaded.next_id + (UINT64_C(1) << MYSQL_RANGE_BITS) - 5;
    mysql_node_make_session(&node); /* goes on in the next range */
    mysql_node_open(&second);
    assert_int_equal(second.loaded.next_id,
                     node.loaded.next_id + (UINT64_C(2) << MYSQL_RANGE_BITS));
    node.next_id = node.loaded.next_id + (UINT64_C(2) << MYSQL_RANGE_BITS);
    publish(&node, 1); /* the last ids of that range */
    struct operation operations[2];
    mysql_publish(operations, 2);
    node.next_id++; /* is an id of the other node */
    assert_int_equal(mysql_node_try(&node, operations, 2), ERR_FULL);
    assert_non_null(strstr(node.engine->trouble, "used up"));
    mysql_node_close(&node);
    mysql_node_close(&second);
}

/* ---- what goes wrong is said clearly --------------------------------------------------------- */

static const char *log_of_a_failed_opening(const char *bad_url, enum err expected)
{
    mysql_node_init(&node, "node-1", bad_url);
    mysql_log_catch();
    enum err err = mysql_node_try_open(&node);
    const char *log = mysql_log_caught();
    assert_string_equal(err_text(err), err_text(expected));
    assert_non_null(strstr(log, "error storage: "));
    assert_null(strstr(log, "hunter2"));
    assert_null(strstr(log, MARIADB_PASSWORD_ENCODED));
    return log;
}

static void a_wrong_password_is_said_without_it(void **state)
{
    (void)state;
    char bad[400];
    (void)snprintf(bad, sizeof bad, "mysql://%s:hunter2@127.0.0.1:%u/%s", MARIADB_USER,
                   mariadb_port(server), mariadb_database(server));
    const char *log = log_of_a_failed_opening(bad, ERR_INVALID);
    assert_non_null(strstr(log, "Access denied"));
    assert_non_null(strstr(log, "server=\"pulse@127.0.0.1:"));
}

static void an_unknown_host_is_said(void **state)
{
    (void)state;
    const char *log =
        log_of_a_failed_opening("mysql://u:hunter2@no-such-host.invalid/db", ERR_UNAVAILABLE);
    assert_non_null(strstr(log, "no-such-host.invalid"));
}

static void a_server_that_is_not_there_is_said(void **state)
{
    (void)state;
    const char *log = log_of_a_failed_opening("mysql://u:hunter2@127.0.0.1:1/db", ERR_UNAVAILABLE);
    assert_non_null(strstr(log, "127.0.0.1:1"));
}

static void an_unknown_database_is_said(void **state)
{
    (void)state;
    char bad[400];
    (void)snprintf(bad, sizeof bad, "mysql://%s:%s@127.0.0.1:%u/pulse_none", MARIADB_USER,
                   MARIADB_PASSWORD_ENCODED, mariadb_port(server));
    assert_non_null(strstr(log_of_a_failed_opening(bad, ERR_INVALID), "Unknown database"));
}

static enum err ignore(void *context, const struct operation *operation)
{
    (void)context;
    (void)operation;
    return ERR_OK;
}

/* Somebody dropped it by hand. */
static void a_missing_table_is_said_in_the_words_of_the_server(void **state)
{
    (void)state;
    struct storage *storage = NULL;
    const struct operation_sink sink = {.context = NULL, .take = ignore};
    mysql_node_open(&node);
    mysql_node_make_session(&node);
    mysql_node_close(&node);
    run("DROP TABLE queue");
    assert_int_equal(storage_open(&node.config, NULL, &storage), ERR_OK);
    mysql_log_catch();
    assert_int_equal(storage_load(storage, &sink), ERR_IO);
    const char *log = mysql_log_caught();
    storage_destroy(storage);
    assert_non_null(strstr(log, "the store can't be read"));
    assert_non_null(strstr(log, "1146 Table"));
    assert_non_null(strstr(log, "pulse@127.0.0.1:"));
}

static void a_refused_export_names_the_server_without_the_password(void **state)
{
    (void)state;
    struct transfer_counts counts;
    struct text error = {0};
    FILE *out = tmpfile();
    assert_non_null(out);
    mysql_node_open(&node);
    assert_int_equal(transfer_export(&node.config, out, &counts, &error), ERR_LOCKED);
    assert_non_null(strstr(error.data, "can't open the mysql store pulse@127.0.0.1:"));
    assert_non_null(strstr(error.data, mariadb_database(server)));
    assert_null(strstr(error.data, MARIADB_PASSWORD_ENCODED));
    assert_null(strstr(error.data, MARIADB_PASSWORD));
    text_fini(&error);
    (void)fclose(out);
    mysql_node_close(&node);
}

static void a_url_that_is_none_is_said_without_it(void **state)
{
    (void)state;
    assert_non_null(
        strstr(log_of_a_failed_opening("mysql://u:hunter2@host", ERR_INVALID), "no database"));
}

static void a_server_that_takes_too_small_packets_is_refused(void **state)
{
    (void)state;
    mariadb_run(server, "SET GLOBAL max_allowed_packet=65536");
    const char *log = log_of_a_failed_opening(url, ERR_INVALID);
    mariadb_run(server, "SET GLOBAL max_allowed_packet=67108864");
    assert_non_null(strstr(log, "max_allowed_packet is 65536"));
}

static void a_server_that_does_not_sync_is_said_under_strict(void **state)
{
    (void)state;
    node.config.policy = COMMIT_STRICT;
    mariadb_run(server, "SET GLOBAL innodb_flush_log_at_trx_commit=2");
    mysql_log_catch();
    mysql_node_open(&node);
    const char *log = mysql_log_caught();
    mysql_node_close(&node);
    mariadb_run(server, "SET GLOBAL innodb_flush_log_at_trx_commit=1");
    assert_non_null(strstr(log, "warning storage: commit policy strict"));
    assert_non_null(strstr(log, "innodb_flush_log_at_trx_commit=2"));
    mysql_log_catch();
    mysql_node_open(&node);
    assert_null(strstr(mysql_log_caught(), "warning"));
    mysql_node_close(&node);
}

#define test(name) cmocka_unit_test_setup(name, create)

int main(void)
{
    if (!mariadb_installed()) {
        (void)fprintf(stderr, "no MariaDB server here: skipped\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        test(an_operator_finds_what_is_stored),
        test(nodes_that_start_at_once_make_the_tables_once),
        test(the_tables_of_a_newer_version_are_left_alone),
        test(tables_that_were_made_in_part_are_completed),
        test(an_account_without_the_right_to_make_tables_is_enough_later),
        test(the_unix_socket_of_the_url_is_used),
        test(a_second_process_with_the_same_owner_is_refused),
        test(each_owner_loads_what_is_its_own),
        test(sessions_of_other_owners_are_said_when_opening),
        test(a_crowd_of_other_owners_is_cut),
        test(a_missing_table_is_said_in_the_words_of_the_server),
        test(a_refused_export_names_the_server_without_the_password),
        test(each_opening_takes_ids_of_its_own),
        test(ids_that_an_import_brought_are_not_given_again),
        test(a_range_that_is_used_up_is_followed_by_the_next_if_that_is_free),
        test(a_wrong_password_is_said_without_it),
        test(an_unknown_host_is_said),
        test(a_server_that_is_not_there_is_said),
        test(an_unknown_database_is_said),
        test(a_url_that_is_none_is_said_without_it),
        test(a_server_that_takes_too_small_packets_is_refused),
        test(a_server_that_does_not_sync_is_said_under_strict),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
