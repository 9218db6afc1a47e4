/* The contract, part 3: random batches over restarts and kills. */
#include "tests/unit/storage/contract_cases.h"

#include <stdio.h>

#include "base/macros.h"
#include "tests/unit/storage/contract_support.h"

#define CLIENTS 12u
#define TOPICS 6u
#define ROUNDS 50u
#define KILLS 40u
#define BATCHES_MAX 6u
#define STEPS_MAX 50u   /* in a batch */
#define BATCH_MAX 2000u /* operations, the drops of messages included */

/*
 * Walks a store as a broker would: ids are never used again, positions grow, and a message is
 * dropped when nothing refers to it any more.
 *
 * What is killed was walked by another process; the walk is then repeated here for the model alone.
 * So everything that a walk draws comes from `random`.
 */
static struct walk {
    uint64_t random;
    uint64_t position;
    uint64_t sessions[CLIENTS + 1]; /* of each client; 0: none; the last one: dropped */
    struct model state;             /* what the store's model will be after this batch */
    struct operation batch[BATCH_MAX];
    size_t count;
    char texts[STEPS_MAX * 2][40]; /* of the batch */
    size_t texts_used;
} walk;

static uint64_t draw(uint64_t limit)
{
    return contract_draw(&walk.random, limit);
}

static const char *draw_text(const char *format, uint64_t limit)
{
    ASSERT(walk.texts_used < ARRAY_COUNT(walk.texts));
    char *text = walk.texts[walk.texts_used++];
    (void)snprintf(text, sizeof(walk.texts[0]), "%s-%u", format, (unsigned)draw(limit));
    return text;
}

static void add(struct operation operation)
{
    ASSERT(walk.count < BATCH_MAX);
    walk.batch[walk.count++] = operation;
    model_apply(&walk.state, &operation);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void put_session(struct store *store)
{
    uint64_t client = draw(CLIENTS);
    if (walk.sessions[client] == 0) {
        walk.sessions[client] = store->next_id++;
    }
    ASSERT(walk.texts_used < ARRAY_COUNT(walk.texts));
    char *text = walk.texts[walk.texts_used++];
    (void)snprintf(text, sizeof(walk.texts[0]), "client-%u", (unsigned)client);
    struct operation operation = session_put(walk.sessions[client], text);
    operation.expiry_s = (uint32_t)draw(1000);
    operation.offline_since_ms = draw(2) * store->now_ms;
    operation.sent_to = walk.position - draw(10);
    add(operation);
}

static void drop_session(struct store *store)
{
    (void)store;
    uint64_t client = draw(CLIENTS);
    if (walk.sessions[client] != 0) {
        walk.sessions[CLIENTS] = walk.sessions[client];
        walk.sessions[client] = 0;
        add(session_drop(walk.sessions[CLIENTS]));
    }
}

/* Sometimes one that is gone; 0: there is none. */
static uint64_t some_session(void)
{
    return walk.sessions[draw(CLIENTS + 1)];
}

static uint64_t some_message(struct store *store)
{
    const struct model_table *messages = &walk.state.tables[OPERATION_MESSAGE_PUT];
    if (messages->count > 0 && draw(3) == 0) {
        return messages->rows[draw(messages->count)].message;
    }
    struct operation operation =
        message_put(store->next_id++, draw_text("topic", TOPICS), draw_text("payload", 1000000));
    operation.qos = (uint8_t)draw(3);
    operation.expires_at_ms = draw(4) == 0 ? store->now_ms + draw(10000) : OPERATION_NEVER_MS;
    add(operation);
    return operation.message;
}

static void put_subscription(struct store *store)
{
    (void)store;
    struct operation operation = subscription_put(some_session(), draw_text("filter", 4));
    operation.qos = (uint8_t)draw(3);
    operation.no_local = draw(2) == 1;
    operation.subscription_id = (uint32_t)draw(3);
    add(operation);
}

static void drop_subscription(struct store *store)
{
    (void)store;
    add((struct operation){.type = OPERATION_SUBSCRIPTION_DROP,
                           .session = some_session(),
                           .filter = slice_text(draw_text("filter", 4))});
}

static void put_will(struct store *store)
{
    uint64_t session = some_session();
    add(will_put(session, some_message(store)));
}

static void drop_will(struct store *store)
{
    (void)store;
    add((struct operation){.type = OPERATION_WILL_DROP, .session = some_session()});
}

static void push(struct store *store)
{
    static const uint32_t ids[] = {1, 22, 333, 4444};
    uint64_t session = some_session();
    walk.position += 1 + draw(3);
    struct operation operation = queue_push(session, walk.position, some_message(store));
    operation.qos = (uint8_t)(1 + draw(2));
    operation.retain = draw(2) == 1;
    operation.shared = draw(4) == 0;
    operation.subscription_ids = ids;
    operation.subscription_id_count = draw(ARRAY_COUNT(ids) + 1);
    add(operation);
}

static void release(struct store *store)
{
    (void)store;
    const struct model_table *queue = &walk.state.tables[OPERATION_QUEUE_PUSH];
    const struct operation *entry = queue->count > 0 ? &queue->rows[draw(queue->count)] : NULL;
    if (entry != NULL && entry->qos == 2) {
        add(queue_release(entry->session, entry->position));
    }
}

static void pop(struct store *store)
{
    (void)store;
    uint64_t back = draw(draw(8) == 0 ? 2000 : 100);
    uint64_t first = walk.position > back ? walk.position - back : 1;
    add(queue_pop(some_session(), first, first + draw(draw(2) == 0 ? 1 : 30)));
}

static void put_inbound(struct store *store)
{
    (void)store;
    add(inbound_put(some_session(), (uint16_t)(1 + draw(8))));
}

static void drop_inbound(struct store *store)
{
    (void)store;
    add((struct operation){.type = OPERATION_INBOUND_QOS2_DROP,
                           .session = some_session(),
                           .packet_id = (uint16_t)(1 + draw(8))});
}

static void put_retained(struct store *store)
{
    (void)store;
    add(retained_put(draw_text("topic", TOPICS), draw_text("payload", 1000000)));
}

static void drop_retained(struct store *store)
{
    (void)store;
    add((struct operation){.type = OPERATION_RETAINED_DROP,
                           .topic = slice_text(draw_text("topic", TOPICS))});
}

static void take_step(struct store *store)
{
    static const struct {
        unsigned weight;
        void (*step)(struct store *store);
    } steps[] = {
        {3, put_session},
        {1, drop_session},
        {2, put_subscription},
        {1, drop_subscription},
        {1, put_will},
        {1, drop_will},
        {12, push},
        {2, release},
        {4, pop},
        {2, put_inbound},
        {2, drop_inbound},
        {2, put_retained},
        {1, drop_retained},
    };
    uint64_t at = draw(34);
    for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
        if (at < steps[i].weight) {
            steps[i].step(store);
            return;
        }
        at -= steps[i].weight;
    }
}

/* ---- batches --------------------------------------------------------------------------------- */

static void drop_unreferenced(void)
{
    struct model_table *messages = &walk.state.tables[OPERATION_MESSAGE_PUT];
    for (uint32_t i = messages->count; i > 0; i--) {
        uint64_t message = messages->rows[i - 1].message;
        if (model_references(&walk.state, message) == 0) {
            add(message_drop(message));
        }
    }
}

static void apply_batch(struct store *store)
{
    walk.count = 0;
    walk.texts_used = 0;
    store->now_ms += draw(1500);
    for (uint64_t steps = 1 + draw(STEPS_MAX - 1); steps > 0; steps--) {
        take_step(store);
    }
    drop_unreferenced();
    store_apply(store, walk.batch, walk.count);
    if (draw(8) == 0) {
        store_repeat(store, walk.batch, walk.count); /* its answer was lost */
    }
}

/* One piece of work for store_kill_while: what is told has been applied. */
static void apply_one_batch(struct store *store)
{
    apply_batch(store);
    if (draw(5) == 0) {
        store_sync(store);
    }
    if (draw(5) == 0) {
        store_tend(store);
    }
}

static void apply_batches(struct store *store)
{
    for (uint64_t batches = draw(BATCHES_MAX); batches > 0; batches--) {
        apply_batch(store);
        if (draw(3) == 0) {
            store_sync(store);
        }
        if (draw(3) == 0) {
            store_tend(store);
        }
    }
}

static void begin_walk(uint64_t seed)
{
    model_fini(&walk.state);
    walk = (struct walk){.random = seed, .position = 10};
}

static void random_batches_survive_restarts(void **state)
{
    struct store *store = *state;
    begin_walk(contract_seed());
    for (unsigned round = 0; round < ROUNDS; round++) {
        store->config.policy = (enum storage_policy)draw(3);
        store_open(store);
        apply_batches(store);
        store_close(store);
    }
    store_open(store);
    model_fini(&walk.state);
}

/* Nothing was synced, and nobody closed the store. */
static void random_batches_survive_kills(void **state)
{
    struct store *store = *state;
    begin_walk(contract_seed());
    for (unsigned round = 0; round < ROUNDS; round++) {
        store->config.policy = (enum storage_policy)draw(3);
        store_kill_after(store, apply_batches);
    }
    store_open(store);
    model_fini(&walk.state);
}

static void replay(struct store *store)
{
    store->model_only = true;
    apply_one_batch(store);
    store->model_only = false;
}

static bool is_as_expected(struct store *store, char *why)
{
    struct model found = {0};
    store_open_into(store, &found);
    store_close(store);
    model_tidy(&store->expected);
    bool equal = model_equal(&store->expected, &found, why);
    model_fini(&found);
    return equal;
}

/* All that was applied is there; of the batch that was being applied, all or nothing. */
static void a_kill_in_the_middle_of_a_batch_leaves_it_out_or_whole(void **state)
{
    struct store *store = *state;
    begin_walk(contract_seed());
    for (unsigned round = 0; round < KILLS; round++) {
        store->config.policy = (enum storage_policy)draw(3);
        size_t pieces = draw(12);
        for (size_t done = store_kill_while(store, apply_one_batch, pieces); done > 0; done--) {
            replay(store);
        }
        char why[WHY_BYTES] = "";
        if (!is_as_expected(store, why)) {
            replay(store);
            if (!is_as_expected(store, why)) {
                fail_msg("neither with nor without the last batch: %s", why);
            }
        }
    }
}

int contract_random(void)
{
    const struct CMUnitTest tests[] = {
        with_store(random_batches_survive_restarts),
        with_store(random_batches_survive_kills),
        with_store(a_kill_in_the_middle_of_a_batch_leaves_it_out_or_whole),
    };
    return cmocka_run_group_tests_name("random", tests, NULL, NULL);
}
