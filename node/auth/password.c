#include "node/auth/password.h"

#include <string.h>

#include "codec/topic.h"
#include "base/base64.h"

/* What a file may ask of the machine for one password. */
#define SCRYPT_MEMORY_MAX (64u * 1024 * 1024)
#define PBKDF2_ITERATIONS_MAX 2000000
#define SCRAM_ITERATIONS_MIN 4096
#define ARGON2_KIB_MAX (64 * 1024)

/* A number of a hash, in the order of `cost`. */
struct cost_rule {
    const char *name; /* before '='; NULL: the number stands alone */
    uint32_t min;
    uint32_t max;
};

/* What the text of a kind looks like: $name$[version$][costs]$salt$key[$key]. */
struct format {
    const char *name; /* with the dollars around it, and a version if there is one */
    struct cost_rule costs[3];
    uint8_t cost_count;
    uint8_t keys;        /* parts that are keys */
    uint8_t key_len_min; /* of each */
    uint8_t key_len_max;
    uint8_t salt_len_min;
    enum base64_form base64;
};

static const struct format formats[PASSWORD_KIND_COUNT] = {
    [PASSWORD_SCRYPT] = {.name = "$scrypt$",
                         .costs = {{"ln", 4, 20}, {"r", 1, 32}, {"p", 1, 8}},
                         .cost_count = 3,
                         .keys = 1,
                         .key_len_min = 16,
                         .key_len_max = 64,
                         .salt_len_min = 8,
                         .base64 = BASE64_UNPADDED},
    [PASSWORD_PBKDF2] = {.name = "$pbkdf2-sha512$",
                         .costs = {{"i", 1000, PBKDF2_ITERATIONS_MAX}},
                         .cost_count = 1,
                         .keys = 1,
                         .key_len_min = 16,
                         .key_len_max = 64,
                         .salt_len_min = 8,
                         .base64 = BASE64_UNPADDED},
    [PASSWORD_ARGON2ID] = {.name = "$argon2id$v=19$",
                           .costs = {{"m", 8, ARGON2_KIB_MAX}, {"t", 1, 10}, {"p", 1, 8}},
                           .cost_count = 3,
                           .keys = 1,
                           .key_len_min = 16,
                           .key_len_max = 64,
                           .salt_len_min = 8,
                           .base64 = BASE64_UNPADDED},
    [PASSWORD_SCRAM] = {.name = "$scram-sha-256$",
                        .costs = {{"i", SCRAM_ITERATIONS_MIN, PBKDF2_ITERATIONS_MAX}},
                        .cost_count = 1,
                        .keys = 2,
                        .key_len_min = 32,
                        .key_len_max = 32,
                        .salt_len_min = 8,
                        .base64 = BASE64_UNPADDED},
    [PASSWORD_MOSQUITTO6] = {.name = "$6$",
                             .keys = 1,
                             .key_len_min = 64,
                             .key_len_max = 64,
                             .salt_len_min = 1,
                             .base64 = BASE64_PADDED},
    [PASSWORD_MOSQUITTO7] = {.name = "$7$",
                             .costs = {{NULL, 1, PBKDF2_ITERATIONS_MAX}},
                             .cost_count = 1,
                             .keys = 1,
                             .key_len_min = 64,
                             .key_len_max = 64,
                             .salt_len_min = 1,
                             .base64 = BASE64_PADDED},
};

static enum password_kind kind_of(struct slice text)
{
    for (int kind = 0; kind < PASSWORD_KIND_COUNT; kind++) {
        if (formats[kind].name != NULL && slice_starts_with(text, formats[kind].name)) {
            return (enum password_kind)kind;
        }
    }
    return PASSWORD_KIND_COUNT;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* A dollar, a word and a dollar begin a hash; a password with that beginning must be hashed. */
bool password_is_hash(struct slice text)
{
    if (kind_of(text) != PASSWORD_KIND_COUNT) {
        return true;
    }
    size_t len = 1;
    while (len < text.len && len < 24 && text.data[len] != '$') {
        len++;
    }
    return text.len > 4 && text.data[0] == '$' && len > 1 && len < text.len &&
           text.data[len] == '$';
}

bool password_is_text(struct slice password)
{
    for (size_t i = 0; i < password.len; i++) {
        if (password.data[i] < 0x20 || password.data[i] == 0x7f) {
            return false;
        }
    }
    return utf8_valid(password);
}

/* Cuts `rest` at the next `end`: false when there is none. */
static bool next_part(struct slice *rest, char end, struct slice *part)
{
    const uint8_t *at = rest->len > 0 ? memchr(rest->data, end, rest->len) : NULL;
    if (at == NULL) {
        return false;
    }
    *part = slice_of(rest->data, (size_t)(at - rest->data));
    *rest = slice_from(*rest, part->len + 1);
    return true;
}

static bool read_number(struct slice text, uint32_t *number)
{
    uint32_t value = 0;
    if (text.len == 0 || text.len > 9 || text.data[0] == '0') {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (uint32_t)(text.data[i] - '0');
    }
    *number = value;
    return true;
}

/* One number, with its name: ln=14. */
static enum err read_cost(struct slice text, const struct cost_rule *rule, uint32_t *cost,
                          struct text *error)
{
    if (rule->name != NULL) {
        size_t len = strlen(rule->name);
        if (!slice_starts_with(text, rule->name) || text.len <= len || text.data[len] != '=') {
            text_printf(error, "the hash lacks %s=", rule->name);
            return ERR_SYNTAX;
        }
        text = slice_from(text, len + 1);
    }
    const char *name = rule->name != NULL ? rule->name : "the number of iterations";
    if (!read_number(text, cost)) {
        text_printf(error, "%s in the hash is no number", name);
        return ERR_SYNTAX;
    }
    if (*cost < rule->min || *cost > rule->max) {
        text_printf(error, "%s in the hash must be %u to %u", name, rule->min, rule->max);
        return ERR_RANGE;
    }
    return ERR_OK;
}

/* All numbers of a hash, which commas divide. */
static enum err read_costs(struct slice text, const struct format *format, uint32_t cost[static 3],
                           struct text *error)
{
    enum err err = ERR_OK;
    struct slice part;
    for (uint8_t i = 0; i < format->cost_count && err == ERR_OK; i++) {
        if (i + 1 == format->cost_count) {
            part = text;
        } else if (!next_part(&text, ',', &part)) {
            text_add(error, "the hash lacks a parameter");
            return ERR_SYNTAX;
        }
        err = read_cost(part, &format->costs[i], &cost[i], error);
    }
    return err;
}

static enum err check_together(const struct password_hash *hash, struct text *error)
{
    if (hash->kind == PASSWORD_SCRYPT &&
        (((uint64_t)128 * hash->cost[1]) << hash->cost[0]) > SCRYPT_MEMORY_MAX) {
        text_add(error, "the hash takes more than 64 MiB: 128 * r * 2^ln");
        return ERR_RANGE;
    }
    if (hash->kind == PASSWORD_ARGON2ID && hash->cost[0] < 8 * hash->cost[2]) {
        text_add(error, "m in the hash must be at least 8 * p");
        return ERR_RANGE;
    }
    return ERR_OK;
}

static bool read_salt(struct slice text, const struct format *format, struct password_hash *hash)
{
    size_t len = 0;
    if (!base64_read(text, format->base64, hash->salt, sizeof(hash->salt), &len) ||
        len < format->salt_len_min) {
        return false;
    }
    hash->salt_len = (uint8_t)len;
    return true;
}

static bool read_key(struct slice text, const struct format *format, struct password_hash *hash)
{
    size_t len = 0;
    if (!base64_read(text, format->base64, hash->key + hash->key_len, format->key_len_max, &len) ||
        len < format->key_len_min) {
        return false;
    }
    hash->key_len = (uint8_t)(hash->key_len + len);
    return true;
}

/* salt$key or salt$key$key */
static enum err read_bytes(struct slice rest, const struct format *format,
                           struct password_hash *hash, struct text *error)
{
    struct slice part;
    if (!next_part(&rest, '$', &part) || !read_salt(part, format, hash)) {
        text_add(error, "the salt of the hash is not good base64 of the right length");
        return ERR_SYNTAX;
    }
    for (uint8_t i = 0; i < format->keys; i++) {
        bool last = i + 1 == format->keys;
        if ((!last && !next_part(&rest, '$', &part)) ||
            !read_key(last ? rest : part, format, hash)) {
            text_add(error, "the key of the hash is not good base64 of the right length");
            return ERR_SYNTAX;
        }
    }
    return ERR_OK;
}

enum err password_parse(struct slice text, struct password_hash *out, struct text *error)
{
    struct password_hash hash = {.kind = kind_of(text)};
    if (hash.kind == PASSWORD_KIND_COUNT) {
        text_add(error, "not a hash that is known: $scrypt$, $pbkdf2-sha512$, $argon2id$v=19$, "
                        "$scram-sha-256$, $6$ or $7$");
        return ERR_SYNTAX;
    }
    const struct format *format = &formats[hash.kind];
    struct slice rest = slice_from(text, strlen(format->name));
    struct slice costs;
    enum err err = ERR_OK;
    if (format->cost_count > 0) {
        if (!next_part(&rest, '$', &costs)) {
            text_add(error, "the hash is cut off");
            return ERR_SYNTAX;
        }
        err = read_costs(costs, format, hash.cost, error);
    }
    if (err == ERR_OK) {
        err = check_together(&hash, error);
    }
    if (err == ERR_OK) {
        err = read_bytes(rest, format, &hash, error);
    }
    if (err == ERR_OK) {
        *out = hash;
    }
    return err;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void print_costs(const struct password_hash *hash, struct text *out)
{
    const struct format *format = &formats[hash->kind];
    for (uint8_t i = 0; i < format->cost_count; i++) {
        const char *name = format->costs[i].name;
        text_printf(out, "%s%s%s%u", i > 0 ? "," : "", name != NULL ? name : "",
                    name != NULL ? "=" : "", hash->cost[i]);
    }
    text_add(out, format->cost_count > 0 ? "$" : "");
}

void password_print(const struct password_hash *hash, struct text *out)
{
    const struct format *format = &formats[hash->kind];
    ASSERT(format->name != NULL);
    size_t key_len = hash->key_len / format->keys;
    text_add(out, format->name);
    print_costs(hash, out);
    base64_add(out, slice_of(hash->salt, hash->salt_len), format->base64);
    for (uint8_t i = 0; i < format->keys; i++) {
        text_add(out, "$");
        base64_add(out, slice_of(hash->key + i * key_len, key_len), format->base64);
    }
}

bool password_costs_equal(const struct password_hash *a, const struct password_hash *b)
{
    return a->kind == b->kind && memcmp(a->cost, b->cost, sizeof(a->cost)) == 0;
}
