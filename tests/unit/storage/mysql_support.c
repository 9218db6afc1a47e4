#include "tests/unit/storage/mysql_support.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define PATIENCE_MS 30000u

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/* ---- a node ---------------------------------------------------------------------------------- */

void mysql_node_init(struct mysql_node *node, const char *owner, const char *url)
{
    *node = (struct mysql_node){.now_ms = 1700000000000};
    (void)snprintf(node->url, sizeof node->url, "%s", url);
    node->config = (struct storage_config){.engine = STORAGE_MYSQL,
                                           .policy = COMMIT_BALANCED,
                                           .mysql_url = node->url,
                                           .mysql_timeout_ms = 1000,
                                           .owner = owner};
}

static enum err take(void *context, const struct operation *operation)
{
    struct mysql_node *node = context;
    node->counts[operation->type]++;
    if (operation->type == OPERATION_MESSAGE_PUT) {
        node->payload_bytes += operation->payload.len;
    }
    if (operation->type == OPERATION_QUEUE_PUSH && operation->session == MYSQL_NODE_SESSION) {
        node->gaps = node->gaps || operation->position != node->last_position + 1 ||
                     operation->message != operation->position;
        node->last_position = operation->position;
    }
    return ERR_OK;
}

enum err mysql_node_try_open(struct mysql_node *node)
{
    const struct operation_sink sink = {.context = node, .take = take};
    enum err err = engine_mysql.open(&node->config, &node->stats, &node->engine);
    if (err != ERR_OK) {
        assert_null(node->engine);
        return err;
    }
    memset(node->counts, 0, sizeof node->counts);
    node->last_position = 0;
    node->gaps = false;
    node->payload_bytes = 0;
    err = node->engine->type->load(node->engine, &sink, &node->loaded);
    if (err != ERR_OK) {
        mysql_node_close(node);
    }
    return err;
}

void mysql_node_open(struct mysql_node *node)
{
    enum err err = mysql_node_try_open(node);
    assert_string_equal(err_text(err), err_text(ERR_OK));
    assert_true(node->loaded.next_id >= 1);
    node->next_id = node->loaded.next_id;
}

void mysql_node_close(struct mysql_node *node)
{
    node->engine->type->close(node->engine);
    node->engine = NULL;
}

enum err mysql_node_try(struct mysql_node *node, const struct operation *operations, size_t count)
{
    struct array_batch batch;
    array_batch_init(&batch, operations, count);
    batch.batch.now_ms = node->now_ms;
    batch.batch.next_id = node->next_id;
    return node->engine->type->apply(node->engine, &batch.batch);
}

void mysql_node_apply(struct mysql_node *node, const struct operation *operations, size_t count)
{
    enum err err = mysql_node_try(node, operations, count);
    if (err != ERR_OK) {
        fail_msg("apply: %s: %s", err_text(err), node->engine->trouble);
    }
}

void mysql_node_insist(struct mysql_node *node, const struct operation *operations, size_t count)
{
    uint64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
    enum err err;
    while ((err = mysql_node_try(node, operations, count)) == ERR_UNAVAILABLE) {
        if (clock_mono_ms() > deadline_ms) {
            fail_msg("still not taken: %s", node->engine->trouble);
        }
        pause_ms(20);
    }
    assert_string_equal(err_text(err), err_text(ERR_OK));
}

void mysql_node_tend(struct mysql_node *node)
{
    unsigned portions = 0;
    while (node->engine->type->tend(node->engine, node->now_ms)) {
        assert_true(++portions < 10000);
    }
}

void mysql_node_make_session(struct mysql_node *node)
{
    const struct operation put = {.type = OPERATION_SESSION_PUT,
                                  .session = MYSQL_NODE_SESSION,
                                  .client_id = slice_text("client"),
                                  .expiry_s = UINT32_MAX};
    mysql_node_apply(node, &put, 1);
}

void mysql_publish(struct operation operations[2], uint64_t position)
{
    static const uint8_t payload[100] = {0, '\'', '\\', 0xff};
    operations[0] = (struct operation){.type = OPERATION_MESSAGE_PUT,
                                       .message = position,
                                       .topic = slice_text("some/topic"),
                                       .payload = slice_of(payload, sizeof payload),
                                       .qos = 1,
                                       .expires_at_ms = OPERATION_NEVER_MS};
    operations[1] = (struct operation){.type = OPERATION_QUEUE_PUSH,
                                       .session = MYSQL_NODE_SESSION,
                                       .position = position,
                                       .message = position,
                                       .qos = 1};
}

/* ---- a thread that commits ------------------------------------------------------------------- */

static void *commit_batches(void *context)
{
    struct mysql_load_thread *load = context;
    struct operation *operations = mem_alloc_array(load->batch * 2, sizeof *operations);
    uint64_t committed = 0;
    while (!atomic_load(&load->stop)) {
        for (size_t i = 0; i < load->batch; i++) {
            mysql_publish(operations + 2 * i, committed + i + 1);
        }
        if (mysql_node_try(load->node, operations, load->batch * 2) == ERR_OK) {
            committed += load->batch;
            atomic_store(&load->committed, committed);
        } else {
            atomic_fetch_add(&load->failures, 1);
            pause_ms(20);
        }
    }
    mem_free(operations);
    return NULL;
}

void mysql_load_start(struct mysql_load_thread *load, struct mysql_node *node, size_t batch)
{
    *load = (struct mysql_load_thread){.node = node, .batch = batch};
    assert_int_equal(pthread_create(&load->thread, NULL, commit_batches, load), 0);
}

void mysql_load_wait(struct mysql_load_thread *load, uint64_t more)
{
    uint64_t goal = atomic_load(&load->committed) + more;
    uint64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
    while (atomic_load(&load->committed) < goal) {
        assert_true(clock_mono_ms() < deadline_ms);
        pause_ms(5);
    }
}

void mysql_load_wait_failure(struct mysql_load_thread *load, uint64_t failures)
{
    uint64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
    while (atomic_load(&load->failures) == failures) {
        assert_true(clock_mono_ms() < deadline_ms);
        pause_ms(5);
    }
}

void mysql_load_stop(struct mysql_load_thread *load)
{
    atomic_store(&load->stop, true);
    assert_int_equal(pthread_join(load->thread, NULL), 0);
}

/* ---- the log --------------------------------------------------------------------------------- */

static FILE *caught_file;

void mysql_log_catch(void)
{
    caught_file = tmpfile();
    assert_non_null(caught_file);
    log_init(fileno(caught_file), LOG_FORMAT_TEXT);
}

const char *mysql_log_caught(void)
{
    static char text[8192];
    log_init(STDERR_FILENO, LOG_FORMAT_TEXT);
    ssize_t len = pread(fileno(caught_file), text, sizeof text - 1, 0);
    assert_true(len >= 0);
    text[len] = '\0';
    (void)fclose(caught_file); /* a file of ours that nobody needs any more */
    return text;
}
