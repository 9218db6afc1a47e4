/*
 * Input: the text of a password file.
 *
 * What is read lies within the text; each hash that is accepted is written as it stood there and is
 * bounded; a store is made exactly when all lines are good, and has all users.
 */
#include "base/hash.h"
#include "node/auth/user_store_priv.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    hash_seed_init();
    return 0;
}

/* A hash has one text only, which stands behind the user's name. */
static void check_hash(const struct password_file_entry *entry)
{
    struct text text = {0};
    password_print(&entry->hash, &text);
    struct slice hash = slice_from(entry->line, entry->username.len + 1);
    ASSERT(slice_starts_with(hash, text.data));
    ASSERT(hash.len == text.len || hash.data[text.len] == ':');
    ASSERT(entry->hash.key_len > 0 && entry->hash.key_len <= PASSWORD_KEY_MAX);
    ASSERT(entry->hash.salt_len > 0 && entry->hash.salt_len <= PASSWORD_SALT_MAX);
    ASSERT(password_is_hash(hash));
    text_fini(&text);
}

static void check_entry(const struct password_file_entry *entry, struct slice whole)
{
    ASSERT(fuzz_within(entry->line, whole));
    if (entry->is_user) {
        ASSERT(fuzz_within(entry->username, entry->line) && entry->username.len > 0);
        ASSERT(fuzz_within(entry->groups, entry->line));
        ASSERT(password_file_check_username(entry->username) == NULL);
        ASSERT(password_file_check_groups(entry->groups) == NULL);
        check_hash(entry);
    }
}

/* How many users there are; -1: a line is bad. */
static int read_lines(struct slice text)
{
    struct password_file_reader reader = {.rest = text, .name = "file"};
    struct password_file_entry entry;
    struct text error = {0};
    bool more = true;
    int users = 0;
    while (more && users >= 0) {
        if (password_file_next(&reader, &entry, &more, &error) != ERR_OK) {
            ASSERT(error.len > 0);
            users = -1;
        } else if (more) {
            check_entry(&entry, text);
            users += entry.is_user;
        }
    }
    text_fini(&error);
    return users;
}

static void check_store(struct slice text, int users)
{
    struct user_store *store = NULL;
    struct text error = {0};
    struct password_hash usual;
    enum err err = user_store_create_text(text, "file", &store, &error);
    if (err == ERR_OK) {
        ASSERT(users > 0 && user_store_count(store) == (size_t)users);
        user_store_usual_hash(store, &usual);
        user_store_unref(store);
    } else {
        ASSERT(users <= 0 || err == ERR_EXISTS);
        ASSERT(error.len > 0);
    }
    text_fini(&error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint8_t *copy = fuzz_copy(slice_of(data, len));
    struct slice text = slice_of(copy, len);
    check_store(text, read_lines(text));
    free(copy);
    return 0;
}
