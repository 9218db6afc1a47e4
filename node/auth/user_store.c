#include "node/auth/user_store_priv.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdatomic.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/topic.h"

/* So many users are looked at for what is usual. */
#define SAMPLE_MAX 4096
/* Different parameters that are told apart among them. */
#define COSTS_MAX 16
/* RFC 7677 asks for as many; these keys are never written, so there is nothing to gain by more. */
#define SCRAM_ITERATIONS_IN_MEMORY 4096

/*
 * Invariants:
 *   `table` has a power of two of places, at most half of them used, and every user stands at the
 *   first free place from that of its hash on.
 */
struct user_store {
    _Atomic uint32_t references;
    struct stored_user **table;
    size_t size;
    size_t count;
    const struct stored_user *first_scram;
    uint8_t key[32]; /* for PASSWORD_KEYED */
};

/* ---- life ------------------------------------------------------------------------------------ */

static struct user_store *create(size_t count)
{
    size_t size = 16;
    while (size < count * 2) {
        size *= 2;
    }
    struct user_store *store = mem_try_alloc(sizeof(*store));
    struct stored_user **table = mem_try_alloc(size * sizeof(struct stored_user *));
    if (store == NULL || table == NULL) {
        mem_free(table);
        mem_free(store);
        return NULL;
    }
    *store = (struct user_store){.references = 1, .table = table, .size = size};
    memset(table, 0, size * sizeof(struct stored_user *));
    return store;
}

static void user_destroy(struct stored_user *user)
{
    if (user->scram != NULL && user->scram != &user->hash) {
        OPENSSL_cleanse(user->scram, sizeof(*user->scram));
        mem_free(user->scram);
    }
    OPENSSL_cleanse(&user->hash, sizeof(user->hash));
    mem_free(user);
}

static void destroy(struct user_store *store)
{
    for (size_t i = 0; i < store->size; i++) {
        if (store->table[i] != NULL) {
            user_destroy(store->table[i]);
        }
    }
    OPENSSL_cleanse(store->key, sizeof(store->key));
    mem_free(store->table);
    mem_free(store);
}

void user_store_ref(struct user_store *store)
{
    atomic_fetch_add_explicit(&store->references, 1, memory_order_relaxed);
}

void user_store_unref(struct user_store *store)
{
    if (store != NULL &&
        atomic_fetch_sub_explicit(&store->references, 1, memory_order_acq_rel) == 1) {
        destroy(store);
    }
}

/* ---- looking --------------------------------------------------------------------------------- */

/* Where `username` stands, or would stand. */
static struct stored_user **place_of(const struct user_store *store, struct slice username)
{
    size_t at = (size_t)hash_slice(username) & (store->size - 1);
    while (store->table[at] != NULL && !slice_equal(store->table[at]->username, username)) {
        at = (at + 1) & (store->size - 1);
    }
    return &store->table[at];
}

const struct stored_user *user_store_find(const struct user_store *store, struct slice username)
{
    return *place_of(store, username);
}

size_t user_store_count(const struct user_store *store)
{
    return store->count;
}

const struct stored_user *user_store_first_scram(const struct user_store *store)
{
    return store->first_scram;
}

void user_store_usual_hash(const struct user_store *store, struct password_hash *usual)
{
    const struct password_hash *costs[COSTS_MAX];
    size_t counts[COSTS_MAX] = {0};
    size_t kinds = 0;
    size_t best = 0;
    size_t seen = 0;
    for (size_t i = 0; i < store->size && seen < SAMPLE_MAX; i++) {
        if (store->table[i] == NULL) {
            continue;
        }
        const struct password_hash *hash = &store->table[i]->hash;
        size_t kind = 0;
        while (kind < kinds && !password_costs_equal(costs[kind], hash)) {
            kind++;
        }
        if (kind < COSTS_MAX) {
            costs[kind] = hash;
            kinds = kind == kinds ? kinds + 1 : kinds;
            counts[kind]++;
            best = counts[kind] > counts[best] ? kind : best;
        }
        seen++;
    }
    *usual = *costs[best]; /* a store has at least one user */
}

/* ---- filling --------------------------------------------------------------------------------- */

/* A copy of its texts and its hash. NULL: no memory. */
static struct stored_user *user_create(struct slice username, struct slice groups,
                                       const struct password_hash *hash)
{
    struct stored_user *user = mem_try_alloc(sizeof(*user) + username.len + groups.len);
    if (user == NULL) {
        return NULL;
    }
    uint8_t *texts = (uint8_t *)(user + 1);
    memcpy(texts, username.data, username.len);
    if (groups.len > 0) {
        memcpy(texts + username.len, groups.data, groups.len);
    }
    *user = (struct stored_user){.username = slice_of(texts, username.len),
                                 .groups = slice_of(texts + username.len, groups.len),
                                 .hash = *hash};
    user->scram = hash->kind == PASSWORD_SCRAM ? &user->hash : NULL;
    return user;
}

/* Takes `user`. False: there is one of that name. */
static bool add(struct user_store *store, struct stored_user *user)
{
    struct stored_user **place = place_of(store, user->username);
    if (*place != NULL) {
        user_destroy(user);
        return false;
    }
    *place = user;
    store->count++;
    if (store->first_scram == NULL && user->scram != NULL) {
        store->first_scram = user;
    }
    return true;
}

static uint64_t fingerprint(const void *data, size_t len)
{
    return hash_bytes(data, len) | 1;
}

/* Over all fields, without the gap that a structure may have at its end. */
static uint64_t hash_fingerprint(const struct password_hash *hash)
{
    return fingerprint(hash, offsetof(struct password_hash, key) + sizeof(hash->key));
}

/* ---- from a file ----------------------------------------------------------------------------- */

static enum err add_entry(struct user_store *store, const struct password_file_reader *reader,
                          const struct password_file_entry *entry, struct text *error)
{
    if (store->count == PASSWORD_FILE_USERS_MAX) {
        text_printf(error, "%s:%zu: more than a million users", reader->name, reader->line);
        return ERR_FULL;
    }
    struct stored_user *user = user_create(entry->username, entry->groups, &entry->hash);
    if (user == NULL) {
        text_printf(error, "no memory for the users of %s", reader->name);
        return ERR_MEMORY;
    }
    user->fingerprint = hash_fingerprint(&entry->hash);
    if (!add(store, user)) {
        text_printf(error, "%s:%zu: this user was there before", reader->name, reader->line);
        return ERR_EXISTS;
    }
    return ERR_OK;
}

static enum err add_lines(struct user_store *store, struct slice text, const char *name,
                          struct text *error)
{
    struct password_file_reader reader = {.rest = text, .name = name};
    struct password_file_entry entry;
    bool more = true;
    enum err err = ERR_OK;
    while (err == ERR_OK && more) {
        err = password_file_next(&reader, &entry, &more, error);
        if (err == ERR_OK && more && entry.is_user) {
            err = add_entry(store, &reader, &entry, error);
        }
    }
    OPENSSL_cleanse(&entry.hash, sizeof(entry.hash));
    if (err == ERR_OK && store->count == 0) {
        text_printf(error, "%s: there is no user in it", name);
        err = ERR_SYNTAX;
    }
    return err;
}

enum err user_store_create_text(struct slice text, const char *name, struct user_store **out,
                                struct text *error)
{
    size_t lines = 1;
    for (size_t i = 0; i < text.len; i++) {
        lines += text.data[i] == '\n';
    }
    struct user_store *store =
        create(lines < PASSWORD_FILE_USERS_MAX ? lines : PASSWORD_FILE_USERS_MAX);
    if (store == NULL) {
        text_printf(error, "no memory for the users of %s", name);
        return ERR_MEMORY;
    }
    enum err err = add_lines(store, text, name, error);
    if (err == ERR_OK) {
        *out = store;
    } else {
        destroy(store);
    }
    return err;
}

enum err user_store_create_file(const char *path, struct user_store **out, struct text *error)
{
    struct slice text;
    bool open_to_all = false;
    enum err err = password_file_read(path, &text, &open_to_all, error);
    if (err != ERR_OK) {
        return err;
    }
    err = user_store_create_text(text, path, out, error);
    password_file_free(text);
    if (err == ERR_OK && open_to_all) {
        log_warning(LOG_AUTH, "everybody on this machine can read the password file",
                    log_text("file", path));
    }
    return err;
}

/* ---- from the configuration ------------------------------------------------------------------ */

/* For a user whose password is plain: keys that are only in memory. */
static enum err make_scram(struct stored_user *user, struct slice password)
{
    if (!password_is_text(password)) {
        return ERR_OK;
    }
    user->scram = mem_alloc(sizeof(*user->scram));
    return password_make(PASSWORD_SCRAM, SCRAM_ITERATIONS_IN_MEMORY, password, user->scram);
}

static enum err make_hash(const struct user_store *store, struct slice password,
                          struct password_hash *hash, struct text *error)
{
    if (password_is_hash(password)) {
        return password_parse(password, hash, error);
    }
    if (password.len == 0) {
        text_add(error, "the password is empty");
        return ERR_SYNTAX;
    }
    return password_make_keyed(store->key, password, hash);
}

/* "a, b" as people write it becomes "a,b". */
static void add_groups(struct text *out, const char *groups)
{
    text_add(out, "");
    for (const char *c = groups; c != NULL && *c != '\0'; c++) {
        bool beside_comma = out->len == 0 || out->data[out->len - 1] == ',' ||
                            c[strspn(c, " ")] == ',' || c[strspn(c, " ")] == '\0';
        if (*c != ' ' || !beside_comma) {
            text_add_bytes(out, c, 1);
        }
    }
}

static enum err add_user(struct user_store *store, const struct auth_user *from,
                         struct slice groups, bool scram, struct text *error)
{
    struct slice username = slice_text(from->username);
    struct slice password = slice_text(from->password);
    const char *wrong = password_file_check_groups(groups);
    struct password_hash hash;
    if (username.len == 0 || username.len > UINT16_MAX || !utf8_valid(username)) {
        wrong = "the user name is empty, too long, or not UTF-8";
    }
    if (wrong != NULL) {
        text_add(error, wrong);
        return ERR_SYNTAX;
    }
    enum err err = make_hash(store, password, &hash, error);
    if (err != ERR_OK) {
        return err;
    }
    struct stored_user *user = user_create(username, groups, &hash);
    OPENSSL_cleanse(&hash, sizeof(hash));
    if (user == NULL) {
        return ERR_MEMORY;
    }
    user->fingerprint = fingerprint(from->password, password.len);
    if (user->hash.kind == PASSWORD_KEYED && scram) {
        err = make_scram(user, password);
    }
    if (err != ERR_OK) {
        user_destroy(user);
        return err;
    }
    if (!add(store, user)) {
        text_add(error, "this user was there before");
        return ERR_EXISTS;
    }
    return ERR_OK;
}

static enum err add_users(struct user_store *store, const struct auth_user *users, size_t count,
                          bool scram, struct text *error)
{
    enum err err = ERR_OK;
    for (size_t i = 0; i < count && err == ERR_OK; i++) {
        struct text why = {0};
        struct text groups = {0};
        add_groups(&groups, users[i].groups);
        err = add_user(store, &users[i], slice_of(groups.data, groups.len), scram, &why);
        if (err != ERR_OK) {
            text_add(error, "auth.users: ");
            text_add_escaped(error, slice_text(users[i].username));
            text_printf(error, ": %s", why.len > 0 ? why.data : err_text(err));
        }
        text_fini(&groups);
        text_fini(&why);
    }
    return err;
}

enum err user_store_create_list(const struct auth_user *users, size_t count, bool scram,
                                struct user_store **out, struct text *error)
{
    if (count == 0) {
        text_add(error, "auth.users: there is none");
        return ERR_SYNTAX;
    }
    struct user_store *store = create(count);
    if (store == NULL || RAND_bytes(store->key, sizeof(store->key)) != 1) {
        text_add(error, "auth.users: no memory, or no random numbers");
        user_store_unref(store);
        return ERR_MEMORY;
    }
    enum err err = add_users(store, users, count, scram, error);
    if (err == ERR_OK) {
        *out = store;
    } else {
        destroy(store);
    }
    return err;
}
