#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "node/auth/password.h"
#include "tests/unit/node/auth/auth_rig_support.h"

/* A password and its hash, from elsewhere. */
struct vector {
    const char *password;
    const char *hash;
};

#define KEY7 \
    "t61tpMd3GmRE9/yqYl3forqUrV8F7aQAGiSN/JxcaUvwz2d0V7MExzqVq8rGcJDMecuQdfGyM/IjyvONm9It1Q=="

static const struct vector vectors[] = {
    /* RFC 7914, section 12 */
    {"pleaseletmein", "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/"
                      "2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw"},
    /* the reference implementation of Argon2 */
    {"password",
     "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"},
    /* Python's hashlib.pbkdf2_hmac("sha512", b"password", b"saltsalt", 1000) */
    {"password", "$pbkdf2-sha512$i=1000$c2FsdHNhbHQ$Q6v4xwJ8a9nWPp2BeEoAYYhHSo2xRmPWART17vTpSxt2q6"
                 "iNp7BOozW557qqa95eNjUO4gKs0CyvJbYGGku1tA"},
    /* mosquitto_passwd 2.0.11 */
    {"builder", "$6$9BGh/vdopaOtB8Rb$UGux9l+VrRD0zKOYo+Hhn41/ZnPvwEJKqxF/"
                "OPQIg+txry2rjJJLJRxC7z2k4CuZc1z8WnI8SWPZApnSRjTwDw=="},
    {"builder", "$7$101$oYZ0M5w149mE/agN$" KEY7},
    /* RFC 7677: salt and password of its example; the keys follow from them */
    {"pencil",
     "$scram-sha-256$i=4096$W22ZaJ0SNY7soEsUEjb6gQ$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY$"
     "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU"},
};

static struct password_hash parse(const char *text)
{
    struct password_hash hash;
    struct text error = {0};
    if (password_parse(slice_text(text), &hash, &error) != ERR_OK) {
        fail_msg("%s: %s", text, error.data);
    }
    return hash;
}

static void hashes_from_elsewhere_fit_their_password_only(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(vectors); i++) {
        struct password_hash hash = parse(vectors[i].hash);
        if (!password_hash_fits(&hash, slice_text(vectors[i].password))) {
            fail_msg("%s does not fit %s", vectors[i].password, vectors[i].hash);
        }
        assert_false(password_hash_fits(&hash, slice_text("Password")));
        assert_false(password_hash_fits(&hash, slice_of(NULL, 0)));
        struct text out = {0};
        password_print(&hash, &out);
        assert_string_equal(out.data, vectors[i].hash);
        assert_true(password_is_hash(slice_text(vectors[i].hash)));
        text_fini(&out);
    }
}

static void a_hash_that_was_made_fits_and_reads_back(void **state)
{
    (void)state;
    for (int kind = PASSWORD_SCRYPT; kind < PASSWORD_KIND_COUNT; kind++) {
        struct password_hash made, other;
        struct text text = {0};
        uint32_t iterations = kind == PASSWORD_SCRAM ? 4096 : 1000;
        struct slice password = slice_text("gr\xc3\xb6\xc3\x9f"
                                           "e");
        assert_int_equal(password_make((enum password_kind)kind, iterations, password, &made),
                         ERR_OK);
        assert_int_equal(password_make((enum password_kind)kind, iterations, password, &other),
                         ERR_OK);
        assert_memory_not_equal(made.salt, other.salt, 16);
        password_print(&made, &text);
        struct password_hash back = parse(text.data);
        assert_true(password_costs_equal(&back, &made));
        assert_true(password_hash_fits(&back, password));
        assert_false(password_hash_fits(&back, slice_text("gross")));
        text_fini(&text);
    }
}

static void a_plain_password_is_kept_under_a_key(void **state)
{
    (void)state;
    uint8_t key[32] = "a key of thirty-two bytes......";
    struct password_hash hash;
    assert_int_equal(password_make_keyed(key, slice_text("secret"), &hash), ERR_OK);
    assert_true(password_hash_fits(&hash, slice_text("secret")));
    assert_false(password_hash_fits(&hash, slice_text("secret1")));
    assert_false(password_hash_fits(&hash, slice_of(NULL, 0)));
}

static void what_asks_too_much_of_the_machine_is_refused(void **state)
{
    (void)state;
    static const char *const hashes[] = {
        "$scrypt$ln=17,r=8,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=20,r=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=63,r=8,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=14,r=8,p=9$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$argon2id$v=19$m=65537,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "$argon2id$v=19$m=4096,t=11,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "$argon2id$v=19$m=16,t=1,p=4$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "$pbkdf2-sha512$i=2000001$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$pbkdf2-sha512$i=999$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ("$7$2000001$oYZ0M5w149mE/agN$" KEY7),
    };
    for (size_t i = 0; i < ARRAY_COUNT(hashes); i++) {
        struct password_hash hash;
        struct text error = {0};
        assert_int_equal(password_parse(slice_text(hashes[i]), &hash, &error), ERR_RANGE);
        assert_true(error.len > 0);
        text_fini(&error);
    }
}

static void what_is_not_exactly_a_hash_is_refused(void **state)
{
    (void)state;
    static const char *const hashes[] = {
        "",
        "secret",
        "$",
        "$5$salt$key",
        "$6$",
        "$6$$UGux9l+VrRD0zKOYo+Hhn41/ZnPvwEJKqxF/"
        "OPQIg+txry2rjJJLJRxC7z2k4CuZc1z8WnI8SWPZApnSRjTwDw==",
        "$6$9BGh/vdopaOtB8Rb$UGux9l+VrRD0zKOYo+Hhn41",
        "$6$9BGh/vdopaOtB8Rb$",
        "$7$101$oYZ0M5w149mE/agN",
        "$7$0101$oYZ0M5w149mE/agN$" KEY7,
        "$7$-1$oYZ0M5w149mE/agN$" KEY7,
        "$scrypt$ln=14,r=8$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$r=8,ln=14,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=14,r=8,p=1,x=2$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=14,r=8,p=1$c2Fs$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=14,r=8,p=1$c2FsdHNhbHQ$AAAA",
        "$scrypt$ln=14,r=8,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA$",
        "$scrypt$ln=99999999999,r=8,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$argon2id$v=16$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "$scram-sha-256$i=4096$W22ZaJ0SNY7soEsUEjb6gQ$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY",
    };
    for (size_t i = 0; i < ARRAY_COUNT(hashes); i++) {
        struct password_hash hash = {.kind = PASSWORD_KEYED};
        struct text error = {0};
        assert_int_not_equal(password_parse(slice_text(hashes[i]), &hash, &error), ERR_OK);
        assert_true(error.len > 0 &&
                    (strlen(hashes[i]) < 10 || strstr(error.data, hashes[i]) == NULL));
        assert_int_equal(hash.kind, PASSWORD_KEYED);
        text_fini(&error);
    }
}

static void plain_passwords_are_told_from_hashes(void **state)
{
    (void)state;
    static const char *const plain[] = {"",     "secret", "$", "$$", "$money", "$money and $more$",
                                        "a$6$b"};
    static const char *const hashes[] = {"$5$salt$key", "$6$x", "$2b$10$abc", "$argon2i$v=19$x"};
    for (size_t i = 0; i < ARRAY_COUNT(hashes); i++) {
        assert_true(password_is_hash(slice_text(hashes[i])));
    }
    for (size_t i = 0; i < ARRAY_COUNT(plain); i++) {
        assert_int_equal(password_is_hash(slice_text(plain[i])), i == 5);
    }
}

/* Both take the same function with the same parameters, so a factor of three is far away. */
static void wasting_takes_as_long_as_trying(void **state)
{
    (void)state;
    struct password_hash hash = parse(vectors[0].hash);
    uint64_t best_try = UINT64_MAX;
    uint64_t best_waste = UINT64_MAX;
    for (int i = 0; i < 5; i++) {
        uint64_t start = clock_mono_ns();
        (void)password_hash_fits(&hash, slice_text("no"));
        uint64_t middle = clock_mono_ns();
        password_waste(&hash, slice_text("no"));
        uint64_t end = clock_mono_ns();
        best_try = middle - start < best_try ? middle - start : best_try;
        best_waste = end - middle < best_waste ? end - middle : best_waste;
    }
    assert_true(best_waste < best_try * 3 && best_try < best_waste * 3);
}

static void files_of_this_machines_mosquitto_can_be_used(void **state)
{
    (void)state;
    static const char *const kinds[] = {"sha512", "sha512-pbkdf2"};
    if (system("command -v mosquitto_passwd >/dev/null") != 0) { /* where the command below looks */
        skip();
    }
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        char command[256];
        char text[300] = "";
        const char *path = rig_write_file("mosquitto", "");
        snprintf(command, sizeof(command), "mosquitto_passwd -b -H %s %s bob 'open sesame'",
                 kinds[i], path);
        assert_int_equal(system(command), 0);
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        assert_non_null(fgets(text, sizeof(text), file));
        fclose(file);
        text[strcspn(text, "\n")] = '\0';
        assert_true(strncmp(text, "bob:", 4) == 0);
        struct password_hash hash = parse(text + 4);
        assert_true(password_hash_fits(&hash, slice_text("open sesame")));
        assert_false(password_hash_fits(&hash, slice_text("open says me")));
    }
    rig_remove_files();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_from_elsewhere_fit_their_password_only),
        cmocka_unit_test(a_hash_that_was_made_fits_and_reads_back),
        cmocka_unit_test(a_plain_password_is_kept_under_a_key),
        cmocka_unit_test(what_asks_too_much_of_the_machine_is_refused),
        cmocka_unit_test(what_is_not_exactly_a_hash_is_refused),
        cmocka_unit_test(plain_passwords_are_told_from_hashes),
        cmocka_unit_test(wasting_takes_as_long_as_trying),
        cmocka_unit_test(files_of_this_machines_mosquitto_can_be_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
