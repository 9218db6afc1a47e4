#include "tests/unit/node/node_support.h"

#include "base/hash.h"
#include "base/macros.h"
#include "base/mem.h"
#include "node/session.h"
#include "node/session_handle.h"
#include "node/session_table.h"

#define WORKER 5
/* The first size of the hash table. */
#define HOMES 16

static struct session_table table;

static int set_up(void **state)
{
    (void)state;
    table = (struct session_table){0};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    uint32_t cursor = 0;
    struct session *session;
    while ((session = session_table_next(&table, &cursor)) != NULL) {
        session_table_remove(&table, session);
        mem_free(session);
    }
    assert_int_equal(table.count, 0);
    session_table_fini(&table);
    return 0;
}

/* Only what the table looks at is set. */
static struct session *enter(const char *client_id)
{
    size_t len = strlen(client_id);
    struct session *session = mem_alloc(sizeof(*session) + len);
    session->client_id_len = (uint16_t)len;
    memcpy(session->client_id, client_id, len);
    session_table_add(&table, WORKER, session);
    return session;
}

static void drop(struct session *session)
{
    session_table_remove(&table, session);
    mem_free(session);
}

static struct session *find(const char *client_id)
{
    return session_table_find(&table, slice_text(client_id));
}

/* ---- finding --------------------------------------------------------------------------------- */

static void an_empty_table_has_nobody(void **state)
{
    (void)state;
    uint32_t cursor = 0;
    assert_null(find("a"));
    assert_null(session_table_get(&table, 0));
    assert_null(session_table_get(&table, session_handle_make(WORKER, 0, 1)));
    assert_null(session_table_next(&table, &cursor));
}

static void a_session_is_found_by_client_id_and_by_handle(void **state)
{
    (void)state;
    struct session *a = enter("a");
    struct session *b = enter("b");
    assert_ptr_equal(find("a"), a);
    assert_ptr_equal(find("b"), b);
    assert_null(find("c"));
    assert_null(find("aa"));
    assert_ptr_equal(session_table_get(&table, a->handle), a);
    assert_ptr_equal(session_table_get(&table, b->handle), b);
    assert_int_equal(table.count, 2);
}

/* A client id is bytes: with a zero in it, and of any length. */
static void client_ids_are_compared_whole(void **state)
{
    (void)state;
    struct session *empty = enter("");
    struct session *a = enter("a");
    assert_ptr_equal(find(""), empty);
    assert_ptr_equal(session_table_find(&table, slice_of("a\0b", 1)), a);
    assert_null(session_table_find(&table, slice_of("a\0b", 3)));
    assert_null(session_table_find(&table, slice_of("a\0", 2)));
}

static void a_walk_meets_everybody_once(void **state)
{
    (void)state;
    struct session *sessions[10];
    for (unsigned i = 0; i < 10; i++) {
        char id[8];
        snprintf(id, sizeof(id), "c%u", i);
        sessions[i] = enter(id);
    }
    drop(sessions[0]);
    drop(sessions[4]);
    unsigned met = 0;
    uint32_t cursor = 0;
    for (struct session *session; (session = session_table_next(&table, &cursor)) != NULL;) {
        assert_ptr_equal(session_table_get(&table, session->handle), session);
        met++;
        drop(session); /* it may end while it is visited */
    }
    assert_int_equal(met, 8);
}

/* ---- handles --------------------------------------------------------------------------------- */

static void a_handle_says_worker_slot_and_generation(void **state)
{
    (void)state;
    uint64_t handle = session_handle_make(63, SESSION_SLOTS_MAX - 1, UINT32_MAX);
    assert_int_equal(session_handle_worker(handle), 63);
    assert_int_equal(session_handle_slot(handle), SESSION_SLOTS_MAX - 1);
    assert_int_equal(session_handle_generation(handle), UINT32_MAX);
    handle = session_handle_make(0, 0, 0);
    assert_int_not_equal(handle, 0); /* 0 is nobody */
    assert_int_equal(session_handle_worker(handle), 0);
    assert_int_equal(session_handle_slot(handle), 0);
    assert_int_equal(session_handle_worker(enter("a")->handle), WORKER);
}

static void a_handle_is_not_valid_when_its_session_is_gone(void **state)
{
    (void)state;
    struct session *a = enter("a");
    uint64_t handle = a->handle;
    drop(a);
    assert_null(session_table_get(&table, handle));
    assert_null(find("a"));
}

static void a_handle_is_not_valid_for_who_got_the_slot_next(void **state)
{
    (void)state;
    uint64_t handles[100];
    for (unsigned i = 0; i < 100; i++) {
        struct session *session = enter("a");
        handles[i] = session->handle;
        assert_int_equal(session_handle_slot(session->handle), 0); /* slots are used again */
        for (unsigned j = 0; j < i; j++) {
            assert_null(session_table_get(&table, handles[j]));
        }
        assert_ptr_equal(session_table_get(&table, session->handle), session);
        drop(session);
    }
}

static void handles_that_were_never_given_out_are_not_valid(void **state)
{
    (void)state;
    struct session *a = enter("a");
    uint32_t generation = session_handle_generation(a->handle);
    assert_null(session_table_get(&table, 0));
    assert_null(session_table_get(&table, session_handle_make(WORKER, 1, generation)));
    assert_null(session_table_get(&table, session_handle_make(WORKER, 15, 0)));
    assert_null(session_table_get(&table, session_handle_make(WORKER, 1000000, generation)));
    assert_null(session_table_get(&table, session_handle_make(WORKER, 0, generation + 1)));
    assert_null(session_table_get(&table, (uint64_t)generation << 32));
    assert_null(session_table_get(&table, UINT64_MAX));
}

/* Handles travel between workers: one that strays must not name a stranger in the same slot. */
static void a_handle_of_another_worker_is_not_valid_here(void **state)
{
    (void)state;
    struct session *a = enter("a");
    uint64_t foreign = session_handle_make(WORKER + 1, session_handle_slot(a->handle),
                                           session_handle_generation(a->handle));
    assert_null(session_table_get(&table, foreign));
}

/* ---- collisions ------------------------------------------------------------------------------ */

/* The next client id, counting from `*number`, whose place in a table of the first size is `home`.
 */
static void next_id_at(uint32_t home, unsigned *number, char id[16])
{
    do {
        snprintf(id, 16, "c%u", (*number)++);
    } while (((uint32_t)hash_slice(slice_text(id)) & (HOMES - 1)) != home);
}

struct crowd {
    char ids[10][16];
    struct session *sessions[10];
    unsigned count;
};

static void crowd_add(struct crowd *crowd, uint32_t home, unsigned *number)
{
    next_id_at(home, number, crowd->ids[crowd->count]);
    crowd->sessions[crowd->count] = enter(crowd->ids[crowd->count]);
    crowd->count++;
}

/* Removes each of a crowd first, in turn; all others must still be found. */
static void assert_survives_removal(const uint32_t *homes, unsigned count)
{
    for (unsigned gone = 0; gone < count; gone++) {
        struct crowd crowd = {.count = 0};
        unsigned number = 0;
        for (unsigned i = 0; i < count; i++) {
            crowd_add(&crowd, homes[i], &number);
        }
        assert_int_equal(table.entry_cap, HOMES);
        drop(crowd.sessions[gone]);
        assert_null(find(crowd.ids[gone]));
        for (unsigned i = 0; i < count; i++) {
            if (i != gone) {
                assert_ptr_equal(find(crowd.ids[i]), crowd.sessions[i]);
                drop(crowd.sessions[i]); /* and can be removed themselves */
            }
        }
        for (uint32_t at = 0; at < table.entry_cap; at++) {
            assert_int_equal(table.entries[at].slot, 0); /* no trace is left */
        }
    }
}

static void sessions_with_the_same_place_are_all_found_after_a_removal(void **state)
{
    (void)state;
    static const uint32_t homes[] = {3, 3, 3, 3, 3};
    assert_survives_removal(homes, ARRAY_COUNT(homes));
}

static void a_gap_is_closed_across_the_end_of_the_table(void **state)
{
    (void)state;
    static const uint32_t homes[] = {14, 15, 15, 14, 0, 15, 1};
    assert_survives_removal(homes, ARRAY_COUNT(homes));
}

/* One that stands at its own place must not be moved in front of it. */
static void a_gap_is_not_closed_with_one_that_stands_at_home(void **state)
{
    (void)state;
    static const uint32_t homes[] = {5, 5, 7, 6, 8, 8, 5};
    assert_survives_removal(homes, ARRAY_COUNT(homes));
}

struct named_hash {
    uint32_t hash;
    unsigned number;
};

static int by_hash(const void *a, const void *b)
{
    uint32_t left = ((const struct named_hash *)a)->hash;
    uint32_t right = ((const struct named_hash *)b)->hash;
    return (left > right) - (left < right);
}

/* Two ids that the 32 bits of hash in the table can't tell apart; among 400,000 there are some. */
static void find_twins(char first[16], char second[16])
{
    enum { NAMES = 400000 };
    struct named_hash *names = mem_alloc_array(NAMES, sizeof(*names));
    for (unsigned i = 0; i < NAMES; i++) {
        snprintf(first, 16, "n%u", i);
        names[i] = (struct named_hash){(uint32_t)hash_slice(slice_text(first)), i};
    }
    qsort(names, NAMES, sizeof(*names), by_hash);
    unsigned i = 1;
    while (i < NAMES && names[i].hash != names[i - 1].hash) {
        i++;
    }
    assert_true(i < NAMES);
    snprintf(first, 16, "n%u", names[i - 1].number);
    snprintf(second, 16, "n%u", names[i].number);
    mem_free(names);
}

static void client_ids_with_the_same_hash_are_told_apart(void **state)
{
    (void)state;
    char one[16];
    char two[16];
    find_twins(one, two);
    struct session *first = enter(one);
    assert_null(find(two));
    struct session *second = enter(two);
    assert_ptr_equal(find(one), first);
    assert_ptr_equal(find(two), second);
    drop(first);
    assert_null(find(one));
    assert_ptr_equal(find(two), second);
}

/* ---- many ------------------------------------------------------------------------------------ */

#define MODEL_MAX 3000

/* The model: the session of each client id, if any, and every handle that has ended. */
static struct session *model[MODEL_MAX];
static uint64_t ended[20000];
static unsigned ended_count;

static void model_id(unsigned index, char id[16])
{
    snprintf(id, 16, "client-%u", index);
}

static void random_step(uint64_t *seed, unsigned growth, unsigned range)
{
    unsigned index = random_below(seed, range);
    char id[16];
    model_id(index, id);
    assert_ptr_equal(find(id), model[index]);
    if (model[index] == NULL && random_below(seed, 100) < growth) {
        model[index] = enter(id);
    } else if (model[index] != NULL && random_below(seed, 100) >= growth) {
        if (ended_count < ARRAY_COUNT(ended)) {
            ended[ended_count++] = model[index]->handle;
        }
        drop(model[index]);
        model[index] = NULL;
    }
    if (ended_count > 0) {
        assert_null(session_table_get(&table, ended[random_below(seed, ended_count)]));
    }
}

static void assert_as_model(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < MODEL_MAX; i++) {
        char id[16];
        model_id(i, id);
        assert_ptr_equal(find(id), model[i]);
        if (model[i] != NULL) {
            assert_ptr_equal(session_table_get(&table, model[i]->handle), model[i]);
            count++;
        }
    }
    assert_int_equal(table.count, count);
    unsigned met = 0;
    uint32_t cursor = 0;
    while (session_table_next(&table, &cursor) != NULL) {
        met++;
    }
    assert_int_equal(met, count);
    assert_true(table.count * 4 <= table.entry_cap * 3);
}

static void random_sessions_are_found_as_in_a_plain_array(void **state)
{
    (void)state;
    uint64_t seed = test_seed();
    memset(model, 0, sizeof(model));
    ended_count = 0;
    for (unsigned round = 0; round < 40; round++) {
        unsigned growth = random_between(&seed, 10, 90);
        unsigned range = random_between(&seed, 5, MODEL_MAX);
        for (unsigned step = 0; step < 3000; step++) {
            random_step(&seed, growth, range);
        }
        assert_as_model();
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_empty_table_has_nobody),
        TEST(a_session_is_found_by_client_id_and_by_handle),
        TEST(client_ids_are_compared_whole),
        TEST(a_walk_meets_everybody_once),
        TEST(a_handle_says_worker_slot_and_generation),
        TEST(a_handle_is_not_valid_when_its_session_is_gone),
        TEST(a_handle_is_not_valid_for_who_got_the_slot_next),
        TEST(handles_that_were_never_given_out_are_not_valid),
        TEST(a_handle_of_another_worker_is_not_valid_here),
        TEST(sessions_with_the_same_place_are_all_found_after_a_removal),
        TEST(a_gap_is_closed_across_the_end_of_the_table),
        TEST(a_gap_is_not_closed_with_one_that_stands_at_home),
        TEST(client_ids_with_the_same_hash_are_told_apart),
        TEST(random_sessions_are_found_as_in_a_plain_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
