#include "tests/unit/storage/storage_stage_support.h"

#include "base/clock.h"
#include "base/mem.h"
#include "tests/unit/storage/operation_text_support.h"

/*
 * storage against a naive model: sessions on several workers, whose messages, wills and retained
 * messages come and go at random, in parts that pile up while the engine is held up or fails. When
 * all is quiet, the store holds what the model holds. After each batch (fake_memory_check), it
 * holds exactly the messages that something in it refers to.
 */

#define WORKERS 3
#define SESSIONS 9
#define ENTRIES 24
#define MESSAGES 40
#define PARTS 6 /* of one worker that may be under way */
#define CHANGES 12

struct entry {
    uint64_t position;
    unsigned message; /* its place in `messages` and its number never change while it is in use */
    bool qos_2;
    bool released;
    struct stage_part *part; /* that has its push and isn't submitted; NULL: none */
    uint32_t index;          /* of the push in it */
};

struct session {
    uint64_t id;
    uint64_t next_position;
    struct entry entries[ENTRIES];
    unsigned count;
    int will; /* a message; -1: none */
};

struct worker {
    struct stage_part parts[PARTS];
    unsigned open; /* the one that is being filled; the others are under way or free */
};

static struct stage stage;
static uint64_t seed;
static struct session sessions[SESSIONS];
static struct worker workers[WORKERS];
static struct message *messages[MESSAGES];
static unsigned message_refs[MESSAGES]; /* from entries and wills of the model */
static unsigned message_number;
static unsigned retained[STAGE_TOPICS]; /* number of the payload; 0: none */
static unsigned payload_number;

static unsigned below(unsigned limit)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)((seed * 0x2545f4914f6cdd1du) >> 33) % limit;
}

/* ---- parts ----------------------------------------------------------------------------------- */

static struct stage_part *open_part(unsigned worker)
{
    return &workers[worker].parts[workers[worker].open];
}

static unsigned worker_of(const struct session *session)
{
    return (unsigned)(session - sessions) % WORKERS;
}

static struct stage_part *part_of(const struct session *session)
{
    return open_part(worker_of(session));
}

/* Entries whose push is in `part` can't take it back any more. */
static void forget_part(const struct stage_part *part)
{
    for (unsigned s = 0; s < SESSIONS; s++) {
        for (unsigned e = 0; e < sessions[s].count; e++) {
            if (sessions[s].entries[e].part == part) {
                sessions[s].entries[e].part = NULL;
            }
        }
    }
}

static void submit(unsigned worker)
{
    struct stage_part *part = open_part(worker);
    if (part->part.live == 0) {
        return;
    }
    forget_part(part);
    stage_submit(part);
    workers[worker].open = (workers[worker].open + 1) % PARTS;
    struct stage_part *next = open_part(worker);
    if (next->part.count > 0) { /* it is still under way */
        fake_store_unblock(stage.store);
        assert_int_equal(stage_wait(next), ERR_OK);
        part_clear(&next->part);
    }
}

/* ---- the model's steps, each told to the worker's part --------------------------------------- */

static void unrefer(unsigned message)
{
    message_refs[message]--;
}

/* A message to push: mostly one that is there, sometimes a new one in the place of an unused one.
 */
static unsigned some_message(void)
{
    unsigned place = below(MESSAGES);
    if (message_refs[place] == 0 && below(2) == 0) {
        char payload[16];
        (void)snprintf(payload, sizeof(payload), "m%u", ++message_number);
        message_unref(messages[place]);
        messages[place] = stage_message("m", payload);
    }
    return place;
}

static void push(struct session *session)
{
    if (session->count == ENTRIES) {
        return;
    }
    unsigned message = some_message();
    struct stage_part *part = part_of(session);
    session->next_position += below(8) == 0 ? 2 : 1;
    struct entry entry = {.position = session->next_position,
                          .message = message,
                          .qos_2 = below(2) == 0,
                          .part = part,
                          .index = part->part.count};
    stage_push(part, session->id, entry.position, messages[message])->qos_2 = entry.qos_2;
    session->entries[session->count++] = entry;
    message_refs[message]++;
}

static void pop(struct session *session, unsigned index)
{
    struct entry *entry = &session->entries[index];
    if (entry->part != NULL && !entry->released) {
        part_cancel(&entry->part->part, &entry->part->part.changes[entry->index]);
    } else {
        stage_pop(part_of(session), session->id, entry->position,
                  entry->released ? NULL : messages[entry->message]);
    }
    if (!entry->released) {
        unrefer(entry->message);
    }
    session->count--;
    memmove(entry, entry + 1, (session->count - index) * sizeof(*entry));
}

static void pop_some(struct session *session)
{
    unsigned from = session->count > 0 ? below(session->count) : 0;
    for (unsigned i = below(6); i > 0 && from < session->count; i--) {
        pop(session, from);
    }
}

static void release(struct session *session)
{
    struct entry *entry = &session->entries[session->count > 0 ? below(session->count) : 0];
    if (session->count > 0 && entry->qos_2 && !entry->released) {
        stage_release(part_of(session), session->id, entry->position, messages[entry->message]);
        entry->released = true;
        unrefer(entry->message);
    }
}

static void drop_will(struct session *session)
{
    if (session->will >= 0) {
        stage_will_drop(part_of(session), session->id, messages[session->will]);
        unrefer((unsigned)session->will);
        session->will = -1;
    }
}

static void put_will(struct session *session)
{
    drop_will(session);
    unsigned message = some_message();
    stage_will_put(part_of(session), session->id, messages[message]);
    message_refs[message]++;
    session->will = (int)message;
}

static void begin_session(struct session *session)
{
    char client_id[16];
    *session = (struct session){.id = storage_next_id(stage.storage), .will = -1};
    (void)snprintf(client_id, sizeof(client_id), "c%u", (unsigned)(session - sessions));
    stage_session_put(part_of(session), session->id, client_id);
}

static void replace_session(struct session *session)
{
    while (session->count > 0) {
        pop(session, session->count - 1);
    }
    drop_will(session);
    (void)part_add(&part_of(session)->part, OPERATION_SESSION_DROP, session->id);
    begin_session(session);
}

static void retain(void)
{
    unsigned topic = below(STAGE_TOPICS);
    char payload[16];
    retained[topic] = below(3) == 0 ? 0 : ++payload_number;
    (void)snprintf(payload, sizeof(payload), "r%u", retained[topic]);
    stage_retain(open_part(below(WORKERS)), topic, retained[topic] != 0 ? payload : NULL);
}

static void hold_up(void)
{
    if (below(4) > 0) {
        fake_store_block(stage.store, FAKE_APPLY);
    } else {
        fake_store_unblock(stage.store);
    }
}

static void step(void)
{
    struct session *session = &sessions[below(SESSIONS)];
    switch (below(20)) {
    case 0:
        put_will(session);
        break;
    case 1:
        drop_will(session);
        break;
    case 2:
        if (below(10) == 0) {
            replace_session(session);
        }
        break;
    case 3:
    case 4:
        retain();
        break;
    case 5:
    case 6:
        release(session);
        break;
    case 7:
    case 8:
    case 9:
        pop_some(session);
        break;
    case 10:
        hold_up();
        break;
    default:
        push(session);
        break;
    }
    unsigned worker = below(WORKERS);
    if (open_part(worker)->part.count > below(CHANGES)) {
        submit(worker);
    }
}

/* ---- comparing ------------------------------------------------------------------------------- */

static void settle(void)
{
    fake_store_unblock(stage.store);
    for (unsigned w = 0; w < WORKERS; w++) {
        submit(w);
        for (unsigned p = 0; p < PARTS; p++) {
            struct stage_part *part = &workers[w].parts[p];
            if (part->part.live > 0) {
                assert_int_equal(stage_wait(part), ERR_OK);
            }
            part_clear(&part->part);
        }
    }
}

static void add_session(struct text *lines, const struct session *session)
{
    char client_id[16];
    (void)snprintf(client_id, sizeof(client_id), "c%u", (unsigned)(session - sessions));
    struct operation put = {.type = OPERATION_SESSION_PUT,
                            .session = session->id,
                            .client_id = slice_text(client_id),
                            .expiry_s = 60};
    operation_text_add(lines, &put);
    for (unsigned i = 0; i < session->count; i++) {
        const struct entry *entry = &session->entries[i];
        struct operation pushed = {.type = OPERATION_QUEUE_PUSH,
                                   .session = session->id,
                                   .position = entry->position,
                                   .qos = entry->qos_2 ? 2 : 1,
                                   .released = entry->released};
        if (!entry->released) {
            text_add_escaped(lines, message_payload(messages[entry->message]));
            text_add(lines, " ");
        }
        operation_text_add(lines, &pushed);
    }
    if (session->will >= 0) {
        struct operation will = {.type = OPERATION_WILL_PUT, .session = session->id, .delay_s = 5};
        text_add_escaped(lines, message_payload(messages[session->will]));
        text_add(lines, " ");
        operation_text_add(lines, &will);
    }
}

static void compare(void)
{
    struct text expected = {0};
    for (unsigned i = 0; i < SESSIONS; i++) {
        add_session(&expected, &sessions[i]);
    }
    for (unsigned i = 0; i < STAGE_TOPICS; i++) {
        if (retained[i] != 0) {
            text_printf(&expected, "retained_put topic=%s payload=r%u expires_at_ms=never\n",
                        stage_topic(i), retained[i]);
        }
    }
    operation_text_sort(&expected);
    assert_string_equal(fake_store_contents_with_payloads(stage.store), expected.data);
    text_fini(&expected);
    for (unsigned i = 0; i < MESSAGES; i++) {
        assert_int_equal(messages[i]->stored_refs, message_refs[i]);
        assert_int_equal(messages[i]->stored_id != 0, message_refs[i] > 0);
    }
    assert_string_equal(fake_store_complaint(stage.store), "");
}

/* ---- the tests ------------------------------------------------------------------------------- */

static void begin(enum storage_policy policy)
{
    stage_open(&stage, policy);
    for (unsigned w = 0; w < WORKERS; w++) {
        for (unsigned p = 0; p < PARTS; p++) {
            stage_part_init(&stage, &workers[w].parts[p]);
        }
    }
    memset(message_refs, 0, sizeof(message_refs));
    memset(retained, 0, sizeof(retained));
    for (unsigned i = 0; i < MESSAGES; i++) {
        messages[i] = stage_message("m", "first");
    }
    for (unsigned i = 0; i < SESSIONS; i++) {
        begin_session(&sessions[i]);
    }
}

static void end(void)
{
    for (unsigned w = 0; w < WORKERS; w++) {
        for (unsigned p = 0; p < PARTS; p++) {
            stage_part_fini(&workers[w].parts[p]);
        }
    }
    for (unsigned i = 0; i < MESSAGES; i++) {
        assert_int_equal(atomic_load(&messages[i]->refs), 1);
        message_unref(messages[i]);
    }
    stage_close(&stage);
}

static int draw_seed(void **state)
{
    (void)state;
    const char *given = getenv("PULSE_TEST_SEED");
    seed = (given != NULL ? strtoull(given, NULL, 0) : clock_mono_ns()) | 1;
    print_message("PULSE_TEST_SEED=%llu\n", (unsigned long long)seed);
    return 0;
}

static void the_store_holds_what_the_model_holds(void **state)
{
    (void)state;
    begin(COMMIT_STRICT);
    for (unsigned round = 0; round < 60; round++) {
        for (unsigned i = 0; i < 300; i++) {
            step();
        }
        settle();
        compare();
    }
    end();
}

/* Failed attempts wait for their time: there are fewer rounds. */
static void so_it_does_when_calls_of_the_engine_fail(void **state)
{
    (void)state;
    begin(COMMIT_BALANCED);
    for (unsigned round = 0; round < 6; round++) {
        fake_store_fail_at_random(stage.store, 25, seed);
        for (unsigned i = 0; i < 200; i++) {
            step();
        }
        settle();
        compare();
    }
    fake_store_fail_at_random(stage.store, 0, 0);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_store_holds_what_the_model_holds, draw_seed),
        cmocka_unit_test_setup(so_it_does_when_calls_of_the_engine_fail, draw_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
