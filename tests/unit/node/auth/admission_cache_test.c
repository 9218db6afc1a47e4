#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "node/auth/admission_cache_priv.h"
#include "tests/unit/node/auth/auth_rig_support.h"

static struct admission_cache *cache;

static int make(void **state)
{
    (void)state;
    return admission_cache_create(&cache) == ERR_OK ? 0 : 1;
}

static int end(void **state)
{
    (void)state;
    admission_cache_destroy(cache);
    return 0;
}

static struct admission *admission(const char *username)
{
    const struct admission from = {.provider = AUTH_HTTP, .username = slice_text(username)};
    struct admission *made = admission_create(&from, NULL);
    assert_non_null(made);
    return made;
}

static struct admission_key key_of(const struct auth_request *request)
{
    struct admission_key key;
    assert_true(admission_cache_key(cache, AUTH_HTTP, request, &key));
    return key;
}

static void keep(const struct admission_key *key, const char *username, uint64_t until_ms)
{
    struct admission *made = admission(username);
    admission_cache_keep(cache, key, made, until_ms);
    admission_unref(made);
}

static bool has(const struct admission_key *key, const char *username, uint64_t now_ms)
{
    struct admission *found = admission_cache_find(cache, key, now_ms);
    bool same = found != NULL && slice_equal(found->username, slice_text(username));
    admission_unref(found);
    return same;
}

static void an_answer_is_found_until_its_time_is_over(void **state)
{
    (void)state;
    struct auth_request request = rig_request("alice", "x", 1);
    struct admission_key key = key_of(&request);
    assert_null(admission_cache_find(cache, &key, 0));
    keep(&key, "alice", 1000);
    assert_true(has(&key, "alice", 999));
    assert_false(has(&key, "alice", 1000));
    assert_int_equal(admission_cache_count(cache), 0);
    keep(&key, "alice", 2000);
    keep(&key, "alice2", 3000); /* a newer one takes its place */
    assert_true(has(&key, "alice2", 2500));
    assert_int_equal(admission_cache_count(cache), 1);
    admission_cache_clear(cache);
    assert_int_equal(admission_cache_count(cache), 0);
}

static void whatever_a_provider_may_look_at_is_part_of_the_key(void **state)
{
    (void)state;
    struct auth_request base = rig_request("alice", "secret", 1);
    struct auth_request others[11];
    struct admission_key key = key_of(&base);
    struct admission_key other;
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        others[i] = base;
    }
    others[0].username = slice_text("alic"); /* and "esecret" */
    others[0].password = slice_text("esecret");
    others[1].password = slice_text("Secret");
    others[2].client_id = slice_text("other");
    others[3].listener = "other";
    others[4].certificate_identity = slice_text("x");
    others[5].common_name = slice_text("x");
    others[6].organization = slice_text("x");
    others[7].organizational_unit = slice_text("x");
    others[8].tls = true;
    others[9] = rig_request("alice", "secret", 2);
    others[10].has_password = false;
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        other = key_of(&others[i]);
        assert_memory_not_equal(other.bytes, key.bytes, sizeof(key.bytes));
    }
    assert_true(admission_cache_key(cache, AUTH_SQL, &base, &other));
    assert_memory_not_equal(other.bytes, key.bytes, sizeof(key.bytes));
    other = key_of(&base);
    assert_memory_equal(other.bytes, key.bytes, sizeof(key.bytes));
}

static void it_is_bounded_and_the_oldest_go_first(void **state)
{
    (void)state;
    struct admission *made = admission("x");
    struct admission_key key = {{0}};
    for (uint32_t i = 0; i <= ADMISSION_CACHE_ENTRIES_MAX; i++) {
        memcpy(key.bytes, &i, sizeof(i));
        admission_cache_keep(cache, &key, made, 1000);
    }
    assert_int_equal(admission_cache_count(cache), ADMISSION_CACHE_ENTRIES_MAX);
    assert_true(has(&key, "x", 0));
    memset(&key, 0, sizeof(key));
    assert_false(has(&key, "x", 0));
    admission_unref(made);
}

static void bytes_are_bounded_too(void **state)
{
    (void)state;
    static char big[1024 * 1024];
    struct admission_key key = {{0}};
    memset(big, 'x', sizeof(big));
    const struct admission from = {.username = slice_of(big, sizeof(big))};
    struct admission *made = admission_create(&from, NULL);
    assert_non_null(made);
    for (uint32_t i = 0; i < 200; i++) {
        memcpy(key.bytes, &i, sizeof(i));
        admission_cache_keep(cache, &key, made, 1000);
    }
    assert_in_range(admission_cache_count(cache), 32, 64);
    admission_unref(made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_answer_is_found_until_its_time_is_over, make, end),
        cmocka_unit_test_setup_teardown(whatever_a_provider_may_look_at_is_part_of_the_key, make,
                                        end),
        cmocka_unit_test_setup_teardown(it_is_bounded_and_the_oldest_go_first, make, end),
        cmocka_unit_test_setup_teardown(bytes_are_bounded_too, make, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
