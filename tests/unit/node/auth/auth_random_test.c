/* Workers that begin, continue and end attempts at random moments, while auth is reloaded and at
 * last stopped. For the sanitizers as much as for what is asserted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "node/auth/auth.h"
#include "tests/unit/node/auth/auth_rig_support.h"

#define WORKERS 3
#define CLIENTS 24
#define RUN_MS 2500

struct client {
    struct auth_attempt *attempt;
    bool good;
    atomic_uint answers;
    atomic_bool ended;
    atomic_bool challenged;
    atomic_bool broken; /* a promise */
};

static struct auth *auth;
static atomic_bool over;
static atomic_uint allowed;

static void on_done(void *user, const struct auth_answer *answer)
{
    struct client *client = user;
    if (atomic_load(&client->ended)) {
        atomic_store(&client->broken, true);
    }
    if (answer->verdict == AUTH_ALLOWED) {
        if (!client->good) {
            atomic_store(&client->broken, true);
        }
        atomic_fetch_add(&allowed, 1);
        auth_identity_unref(answer->identity);
    }
    atomic_store(&client->challenged, answer->verdict == AUTH_CONTINUE);
    atomic_fetch_add(&client->answers, 1);
}

static bool begin(struct client *client, unsigned *seed)
{
    unsigned kind = (unsigned)rand_r(seed) % 4;
    struct auth_request request =
        rig_request("alice", kind == 1 ? "no" : "wonderland", rand_r(seed) % 3);
    if (kind == 2) {
        request.username = slice_text("nobody");
    } else if (kind == 3) {
        request = rig_request(NULL, NULL, 1);
        request.method = slice_text("SCRAM-SHA-256");
        request.data = slice_text("n,,n=alice,r=x");
    }
    memset(client, 0, sizeof(*client));
    client->good = kind == 0;
    client->attempt = auth_begin(auth, &request, on_done, client);
    return client->attempt != NULL;
}

static void end(struct client *client)
{
    auth_end(client->attempt);
    atomic_store(&client->ended, true);
    assert_false(atomic_load(&client->broken));
    client->attempt = NULL;
}

static void step(struct client *client, unsigned *seed)
{
    if (client->attempt == NULL) {
        (void)begin(client, seed);
    } else if (atomic_exchange(&client->challenged, false) && rand_r(seed) % 2 == 0) {
        auth_continue(client->attempt, slice_text("c=biws,r=x,p=AAAA"));
    } else if (atomic_load(&client->answers) > 0 || rand_r(seed) % 8 == 0) {
        end(client);
    }
}

/* Clients stay after their end, so that a late answer is seen. */
static void work(void *user)
{
    unsigned seed = *(unsigned *)user;
    struct client *clients = calloc(CLIENTS, sizeof(*clients));
    while (!atomic_load(&over)) {
        step(&clients[(unsigned)rand_r(&seed) % CLIENTS], &seed);
        if (rand_r(&seed) % 16 == 0) {
            usleep((useconds_t)(rand_r(&seed) % 2000));
        }
    }
    for (int i = 0; i < CLIENTS; i++) {
        if (clients[i].attempt != NULL) {
            end(&clients[i]);
        }
    }
    free(clients);
}

static void reload_now_and_then(void)
{
    struct auth_settings settings = rig_settings();
    struct text error = {0};
    settings.failure_delay_ms = 20;
    settings.failure_delay_max_ms = 80;
    settings.attempts_max = 50;
    uint64_t until_ms = clock_mono_ms() + RUN_MS;
    while (clock_mono_ms() < until_ms) {
        usleep(30000);
        assert_int_equal(auth_reload(auth, &settings, &error), ERR_OK);
    }
}

static void nothing_is_answered_after_its_end_and_only_good_ones_come_in(void **state)
{
    (void)state;
    uv_thread_t threads[WORKERS];
    unsigned seeds[WORKERS];
    struct auth_settings settings = rig_settings();
    auth = rig_start(&settings);
    for (unsigned i = 0; i < WORKERS; i++) {
        seeds[i] = (unsigned)clock_mono_ns() + i;
        print_message("seed %u\n", seeds[i]);
        assert_int_equal(uv_thread_create(&threads[i], work, &seeds[i]), 0);
    }
    reload_now_and_then();
    auth_stop(auth); /* while they go on */
    usleep(100000);
    atomic_store(&over, true);
    for (int i = 0; i < WORKERS; i++) {
        uv_thread_join(&threads[i]);
    }
    struct auth_counts counts;
    auth_read_counts(auth, &counts);
    auth_destroy(auth);
    assert_true(counts.allowed >= atomic_load(&allowed)); /* some had gone by then */
    assert_true(counts.allowed > 10 && counts.denied > 10);
}

int main(void)
{
    hash_seed_init();
    assert_int_equal(log_set_filter("error"), ERR_OK);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_answered_after_its_end_and_only_good_ones_come_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
