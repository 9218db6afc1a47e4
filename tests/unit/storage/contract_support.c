#include "tests/unit/storage/contract_support.h"

#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/mem.h"
#include "storage/wal_manifest.h"
#include "tests/unit/storage/mariadb_support.h"

#define TEXTS_MAX 64
#define TEND_TURNS_MAX 100000

/* Begins like every test's clock; not the real one. */
#define FIRST_MS 1700000000000u

/* ---- which engine ---------------------------------------------------------------------------- */

static enum storage_engine_kind chosen;
static struct mariadb *server; /* of mysql */
static bool in_child;          /* a process that has no tests to run */
static char *texts[TEXTS_MAX]; /* of long_text */
static size_t texts_used;

bool contract_choose(const char *engine)
{
#define X(constant, word)              \
    if (strcmp(engine, (word)) == 0) { \
        chosen = (constant);           \
    }
    STORAGE_ENGINES(X)
#undef X
    if (chosen == STORAGE_MYSQL && mariadb_installed()) {
        server = mariadb_create(NULL);
    }
    return chosen != STORAGE_MEMORY && (chosen != STORAGE_MYSQL || server != NULL);
}

void contract_end(void)
{
    if (server != NULL) {
        mariadb_destroy(server);
        server = NULL;
    }
    while (texts_used > 0) {
        mem_free(texts[--texts_used]);
    }
}

static void must(bool holds, const char *what, const char *detail)
{
    if (holds) {
        return;
    }
    if (in_child) {
        (void)fprintf(stderr, "in the child: %s: %s\n", what, detail);
        _exit(1);
    }
    fail_msg("%s: %s", what, detail);
}

static void must_be_ok(struct store *store, enum err err, const char *what)
{
    char detail[ENGINE_TROUBLE_BYTES + 64];
    (void)snprintf(detail, sizeof(detail), "%s: %s", err_text(err),
                   store->engine != NULL ? store->engine->trouble : "");
    must(err == ERR_OK, what, detail);
}

/* ---- a place for a store --------------------------------------------------------------------- */

static const char *path_in(struct store *store, const char *name)
{
    size_t size = strlen(store->directory) + strlen(name) + 2;
    char *path = mem_alloc(size);
    (void)snprintf(path, size, "%s/%s", store->directory, name);
    return path;
}

int store_create(void **state)
{
    struct store *store = mem_alloc(sizeof(*store));
    *store = (struct store){.type = engine_type_of(chosen), .now_ms = FIRST_MS, .next_id = 1};
    (void)snprintf(store->directory, sizeof(store->directory), "/tmp/pulse-contract-XXXXXX");
    must(mkdtemp(store->directory) != NULL, "mkdtemp", store->directory);
    if (server != NULL) {
        mariadb_fresh_url(server, store->url, sizeof(store->url));
    }
    store->config = (struct storage_config){
        .engine = chosen,
        .policy = COMMIT_BALANCED,
        .wal_dir = path_in(store, "wal"),
        .wal_segment_bytes = 4 * 1024 * 1024,
        .wal_compact_max_bytes = 8 * 1024 * 1024,
        .sqlite_path = path_in(store, "broker.db"),
        .mysql_url = store->url,
        .mysql_timeout_ms = 20000,
        .owner = "node-1",
    };
    *state = store;
    return 0;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

int store_destroy(void **state)
{
    struct store *store = *state;
    store_close(store);
    model_fini(&store->expected);
    (void)nftw(store->directory, remove_entry, 16,
               FTW_DEPTH | FTW_PHYS); /* what is left is in /tmp */
    mem_free((void *)store->config.wal_dir);
    mem_free((void *)store->config.sqlite_path);
    mem_free(store);
    return 0;
}

/* ---- loading --------------------------------------------------------------------------------- */

struct loading {
    struct store *store;
    struct model *model;
    char complaint[WHY_BYTES]; /* the first promise that was broken */
};

static void complain(struct loading *loading, const char *words, const struct operation *operation)
{
    if (loading->complaint[0] == '\0') {
        (void)snprintf(
            loading->complaint, sizeof(loading->complaint),
            "%s: %s session=%llu position=%llu message=%llu", words,
            operation_info(operation->type)->name, (unsigned long long)operation->session,
            (unsigned long long)operation->position, (unsigned long long)operation->message);
    }
}

static bool came(const struct loading *loading, struct operation like)
{
    return model_find(loading->model, &like) != NULL;
}

/* What came before this operation; queues may come interleaved, each in its order. */
static void check_order(struct loading *loading, const struct operation *operation)
{
    bool of_session = operation->type != OPERATION_MESSAGE_PUT &&
                      operation->type != OPERATION_RETAINED_PUT &&
                      operation->type != OPERATION_SESSION_PUT;
    if (of_session && !came(loading, session_put(operation->session, ""))) {
        complain(loading, "before its session", operation);
    }
    bool refers = operation->type == OPERATION_WILL_PUT ||
                  (operation->type == OPERATION_QUEUE_PUSH && !operation->released);
    if (refers && !came(loading, message_put(operation->message, "", ""))) {
        complain(loading, "before its message", operation);
    }
    const struct model_table *queue = &loading->model->tables[OPERATION_QUEUE_PUSH];
    for (uint32_t i = queue->count; operation->type == OPERATION_QUEUE_PUSH && i > 0; i--) {
        const struct operation *other = &queue->rows[i - 1];
        if (other->session == operation->session && other->position >= operation->position) {
            complain(loading, "behind a later entry of its queue", operation);
        }
        if (other->session <= operation->session) {
            break; /* they are sorted */
        }
    }
    if (loading->store->loaded.next_id == 0) {
        complain(loading, "before `loaded` was set", operation);
    }
}

static enum err take(void *context, const struct operation *operation)
{
    struct loading *loading = context;
    if (!model_is_row(operation->type)) {
        complain(loading, "is no state", operation);
        return ERR_OK;
    }
    check_order(loading, operation);
    if (!model_add(loading->model, operation)) {
        complain(loading, "came twice", operation);
    }
    return ERR_OK;
}

void store_open_into(struct store *store, struct model *found)
{
    must(store->engine == NULL, "open", "it is open");
    enum err err = store->type->open(&store->config, &store->stats, &store->engine);
    must_be_ok(store, err, "open");
    must(store->engine->type == store->type, "open", "the engine doesn't know its type");
    struct loading loading = {.store = store, .model = found};
    store->loaded = (struct engine_loaded){.next_id = 0};
    err =
        store->type->load(store->engine, &(struct operation_sink){&loading, take}, &store->loaded);
    must_be_ok(store, err, "load");
    must(loading.complaint[0] == '\0', "load", loading.complaint);
    must(store->loaded.next_id >= 1, "load", "next_id is 0");
}

void store_open(struct store *store)
{
    struct model found = {0};
    store_open_into(store, &found);
    model_tidy(&store->expected);
    char why[WHY_BYTES] = "";
    bool equal = model_equal(&store->expected, &found, why);
    model_fini(&found);
    must(equal, "what is expected (first) and what was loaded (second) differ", why);
}

void store_close(struct store *store)
{
    if (store->engine != NULL) {
        store->type->close(store->engine);
        store->engine = NULL;
    }
}

void store_reopen(struct store *store)
{
    store_close(store);
    store_open(store);
}

enum err store_try_open(struct store *store)
{
    struct engine *engine = NULL;
    enum err err = store->type->open(&store->config, &store->stats, &engine);
    if (err == ERR_OK) {
        store->type->close(engine);
    } else {
        must(engine == NULL, "open", "it failed and gave an engine");
    }
    return err;
}

/* ---- batches --------------------------------------------------------------------------------- */

/* Gives operations whose bytes are gone at the next call, as the contract allows. */
struct fleeting_batch {
    struct batch batch;
    const struct operation *operations;
    size_t count;
    size_t at;
    struct operation given;
};

static void forget_given(struct fleeting_batch *batch)
{
    model_row_free(&batch->given);
    batch->given = (struct operation){.type = OPERATION_TYPES};
}

static bool give_next(struct batch *base, struct operation *operation)
{
    struct fleeting_batch *batch = container_of(base, struct fleeting_batch, batch);
    forget_given(batch);
    if (batch->at == batch->count) {
        return false;
    }
    batch->given = model_row_copy(&batch->operations[batch->at++]);
    *operation = batch->given;
    return true;
}

static void begin_anew(struct batch *base)
{
    struct fleeting_batch *batch = container_of(base, struct fleeting_batch, batch);
    forget_given(batch);
    batch->at = 0;
}

void store_repeat(struct store *store, const struct operation *operations, size_t count)
{
    if (store->model_only) {
        return;
    }
    struct fleeting_batch batch = {.batch = {.next = give_next,
                                             .rewind = begin_anew,
                                             .now_ms = store->now_ms,
                                             .next_id = store->next_id},
                                   .operations = operations,
                                   .count = count,
                                   .at = count}; /* as an attempt that failed leaves it */
    must_be_ok(store, store->type->apply(store->engine, &batch.batch), "apply");
    forget_given(&batch);
}

void store_apply(struct store *store, const struct operation *operations, size_t count)
{
    store_repeat(store, operations, count);
    for (size_t i = 0; i < count; i++) {
        model_apply(&store->expected, &operations[i]);
    }
}

void store_sync(struct store *store)
{
    if (!store->model_only) {
        must_be_ok(store, store->type->sync(store->engine), "sync");
    }
}

void store_tend(struct store *store)
{
    int turns = 0;
    while (!store->model_only && store->type->tend(store->engine, store->now_ms)) {
        must(++turns < TEND_TURNS_MAX, "tend", "there is always more to do");
    }
}

/* ---- other processes ------------------------------------------------------------------------- */

/* The child of a fork has no business with the parent's tests: it ends in `work` or right here. */
static pid_t start_child(struct store *store, void (*work)(struct store *store, int fd), int fd)
{
    must(store->engine == NULL, "fork", "the store is open");
    pid_t pid = fork();
    must(pid != -1, "fork", "failed");
    if (pid == 0) {
        in_child = true;
        work(store, fd);
        _exit(1);
    }
    return pid;
}

static void wait_killed(pid_t pid)
{
    int status = 0;
    must(waitpid(pid, &status, 0) == pid, "waitpid", "failed");
    must(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "the child",
         "ended before it was killed");
}

static void (*child_work)(struct store *store);

static void work_and_die(struct store *store, int fd)
{
    (void)fd;
    store_open(store);
    child_work(store);
    (void)kill(getpid(), SIGKILL);
}

void store_kill_after(struct store *store, void (*work)(struct store *store))
{
    child_work = work;
    wait_killed(start_child(store, work_and_die, -1));
    store->model_only = true;
    work(store);
    store->model_only = false;
}

/* Works on until it is killed, and says so by a byte after each piece of work. */
static void work_and_tell(struct store *store, int fd)
{
    store_open(store);
    for (;;) {
        child_work(store);
        must(write(fd, "w", 1) == 1, "write", "failed");
    }
}

size_t store_kill_while(struct store *store, void (*work)(struct store *store), size_t pieces)
{
    int ends[2];
    char byte;
    size_t done = 0;
    must(pipe(ends) == 0, "pipe", "failed");
    child_work = work;
    pid_t pid = start_child(store, work_and_tell, ends[1]);
    (void)close(ends[1]);
    while (done < pieces && read(ends[0], &byte, 1) == 1) {
        done++;
    }
    (void)kill(pid, SIGKILL);
    wait_killed(pid);
    while (read(ends[0], &byte, 1) == 1) {
        done++;
    }
    (void)close(ends[0]);
    return done;
}

static void open_and_wait(struct store *store, int fd)
{
    store_open(store);
    must(write(fd, "o", 1) == 1, "write", "failed");
    (void)sleep(60); /* longer than the test lives */
}

void store_while_open_elsewhere(struct store *store, void (*check)(struct store *store))
{
    int ends[2];
    must(pipe(ends) == 0, "pipe", "failed");
    pid_t pid = start_child(store, open_and_wait, ends[1]);
    (void)close(ends[1]);
    char byte = 0;
    bool opened = read(ends[0], &byte, 1) == 1;
    (void)close(ends[0]);
    if (opened) {
        check(store);
    }
    (void)kill(pid, SIGKILL);
    wait_killed(pid);
}

/* ---- marks of a newer version ---------------------------------------------------------------- */

static void make_sqlite_newer(struct store *store)
{
    sqlite3 *handle = NULL;
    int code = sqlite3_open(store->config.sqlite_path, &handle);
    if (code == SQLITE_OK) {
        code = sqlite3_exec(handle, "PRAGMA user_version = 1000", NULL, NULL, NULL);
    }
    (void)sqlite3_close(handle);
    must(code == SQLITE_OK, "PRAGMA user_version", sqlite3_errstr(code));
}

static void make_wal_newer(struct store *store)
{
    char path[200];
    (void)snprintf(path, sizeof(path), "%s/%s", store->config.wal_dir, WAL_MANIFEST_NAME);
    must(access(path, W_OK) == 0, "no such file", path);
    FILE *file = fopen(path, "w");
    must(file != NULL && fputs("pulse-wal 1000\nother lines\n", file) >= 0 && fclose(file) == 0,
         "can't write", path);
}

static void make_mysql_newer(void)
{
    char sql[200];
    (void)snprintf(sql, sizeof(sql),
                   "UPDATE %s.meta SET value = 1000 WHERE name = 'schema_version'",
                   mariadb_database(server));
    mariadb_run(server, sql);
}

void store_make_newer(struct store *store)
{
    must(store->engine == NULL, "make newer", "it is open");
    switch (chosen) {
    case STORAGE_MEMORY:
        break;
    case STORAGE_WAL:
        make_wal_newer(store);
        break;
    case STORAGE_SQLITE:
        make_sqlite_newer(store);
        break;
    case STORAGE_MYSQL:
        make_mysql_newer();
        break;
    }
}

/* ---- values ---------------------------------------------------------------------------------- */

struct slice long_text(const char *piece, size_t len)
{
    must(texts_used < TEXTS_MAX, "long_text", "too many");
    char *text = mem_alloc(len + 1);
    size_t piece_len = strlen(piece);
    for (size_t i = 0; i < len; i++) {
        text[i] = piece[i % piece_len];
    }
    texts[texts_used++] = text;
    return slice_of(text, len);
}

struct operation session_put(uint64_t session, const char *client_id)
{
    return (struct operation){.type = OPERATION_SESSION_PUT,
                              .session = session,
                              .client_id = slice_text(client_id),
                              .expiry_s = 3600,
                              .offline_since_ms = FIRST_MS,
                              .sent_to = 1};
}

struct operation session_drop(uint64_t session)
{
    return (struct operation){.type = OPERATION_SESSION_DROP, .session = session};
}

struct operation message_put(uint64_t message, const char *topic, const char *payload)
{
    return (struct operation){.type = OPERATION_MESSAGE_PUT,
                              .message = message,
                              .topic = slice_text(topic),
                              .payload = slice_text(payload),
                              .qos = 1,
                              .expires_at_ms = OPERATION_NEVER_MS,
                              .publisher = 0x8123456789abcdefu};
}

struct operation message_drop(uint64_t message)
{
    return (struct operation){.type = OPERATION_MESSAGE_DROP, .message = message};
}

struct operation queue_push(uint64_t session, uint64_t position, uint64_t message)
{
    return (struct operation){.type = OPERATION_QUEUE_PUSH,
                              .session = session,
                              .position = position,
                              .message = message,
                              .qos = 1};
}

struct operation queue_pop(uint64_t session, uint64_t position, uint64_t last)
{
    return (struct operation){
        .type = OPERATION_QUEUE_POP, .session = session, .position = position, .last = last};
}

struct operation queue_release(uint64_t session, uint64_t position)
{
    return (struct operation){
        .type = OPERATION_QUEUE_RELEASE, .session = session, .position = position};
}

struct operation subscription_put(uint64_t session, const char *filter)
{
    return (struct operation){.type = OPERATION_SUBSCRIPTION_PUT,
                              .session = session,
                              .filter = slice_text(filter),
                              .qos = 1};
}

struct operation will_put(uint64_t session, uint64_t message)
{
    return (struct operation){
        .type = OPERATION_WILL_PUT, .session = session, .message = message, .delay_s = 5};
}

struct operation retained_put(const char *topic, const char *payload)
{
    return (struct operation){.type = OPERATION_RETAINED_PUT,
                              .topic = slice_text(topic),
                              .payload = slice_text(payload),
                              .qos = 1,
                              .expires_at_ms = OPERATION_NEVER_MS};
}

struct operation inbound_put(uint64_t session, uint16_t packet_id)
{
    return (struct operation){
        .type = OPERATION_INBOUND_QOS2_PUT, .session = session, .packet_id = packet_id};
}

uint64_t contract_seed(void)
{
    const char *given = getenv("PULSE_TEST_SEED");
    uint64_t seed = (given != NULL ? strtoull(given, NULL, 0) : clock_mono_ns()) | 1;
    (void)fprintf(stderr, "PULSE_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

uint64_t contract_draw(uint64_t *state, uint64_t limit)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    return ((x * 0x2545f4914f6cdd1du) >> 32) % limit;
}
