/* Which providers there are, and what the rules for users and access must obey together. */
#include "node/config_together_priv.h"

#include <stdlib.h>

#include "base/mem.h"
#include "node/auth/password.h"
#include "node/config_rule_priv.h"

static const char *const provider_names[AUTH_PROVIDER_COUNT] = {
#define X(constant, word) [constant] = word,
    AUTH_PROVIDERS(X)
#undef X
};

/* ---- the chain ------------------------------------------------------------------------------- */

static enum auth_provider_kind find_provider(struct slice name)
{
    enum auth_provider_kind kind = 0;
    while (kind < AUTH_PROVIDER_COUNT && !slice_equal(name, slice_text(provider_names[kind]))) {
        kind++;
    }
    return kind;
}

enum err config__read_chain(const char *text,
                            enum auth_provider_kind chain[static AUTH_PROVIDER_COUNT], size_t *len)
{
    bool seen[AUTH_PROVIDER_COUNT] = {false};
    size_t count = 0;
    struct slice rest = slice_text(text);
    while (rest.data != NULL) {
        enum auth_provider_kind kind = find_provider(config__next_item(&rest));
        if (kind == AUTH_PROVIDER_COUNT || seen[kind]) {
            return ERR_SYNTAX;
        }
        seen[kind] = true;
        chain[count++] = kind;
    }
    *len = count;
    return ERR_OK;
}

/* Does the certificate of a client say who it is? */
static bool has_identity(const struct config *config)
{
    bool has = false;
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        has = has || (listener->tls && listener->identity != TLS_IDENTITY_NONE);
    }
    return has;
}

static bool is_configured(const struct config *config, enum auth_provider_kind kind)
{
    switch (kind) {
    case AUTH_CERTIFICATE:
        return has_identity(config);
    case AUTH_USERS:
        return config->user_count > 0;
    case AUTH_PASSWORD_FILE:
        return config->auth_password_file[0] != '\0';
    case AUTH_JWT:
        return config->auth_jwt_key_file[0] != '\0';
    case AUTH_SQL:
        return config->auth_sql_database[0] != '\0';
    case AUTH_HTTP:
        return config->auth_http_url[0] != '\0';
    case AUTH_PROVIDER_COUNT:
        break;
    }
    return false;
}

/* What would configure it. */
static const char *what_configures(enum auth_provider_kind kind)
{
    static const char *const paths[AUTH_PROVIDER_COUNT] = {
        [AUTH_CERTIFICATE] = "identity of a TLS listener",
        [AUTH_USERS] = "auth.users",
        [AUTH_PASSWORD_FILE] = "auth.password_file",
        [AUTH_JWT] = "auth.jwt_key_file",
        [AUTH_SQL] = "auth.sql_database",
        [AUTH_HTTP] = "auth.http_url",
    };
    return paths[kind];
}

size_t config_auth_chain(const struct config *config,
                         enum auth_provider_kind chain[static AUTH_PROVIDER_COUNT])
{
    size_t len = 0;
    if (config->auth_chain[0] != '\0' &&
        config__read_chain(config->auth_chain, chain, &len) == ERR_OK) {
        return len;
    }
    for (enum auth_provider_kind kind = 0; kind < AUTH_PROVIDER_COUNT; kind++) {
        if (is_configured(config, kind)) {
            chain[len++] = kind;
        }
    }
    return len;
}

static enum err check_chain(const struct config *config, struct text *error)
{
    enum auth_provider_kind chain[AUTH_PROVIDER_COUNT];
    size_t len = config_auth_chain(config, chain);
    for (size_t i = 0; i < len; i++) {
        if (!is_configured(config, chain[i])) {
            config__complain(config, CONFIG_OPTION_auth_chain, error);
            text_printf(error, "%s needs %s", provider_names[chain[i]], what_configures(chain[i]));
            return ERR_INVALID;
        }
    }
    if (len == 0 && !config->auth_allow_anonymous) {
        config__complain(config, CONFIG_OPTION_auth_enabled, error);
        text_add(error, "nobody could connect; give auth.users, auth.password_file, "
                        "auth.jwt_key_file, auth.sql_database, auth.http_url, identity of a TLS "
                        "listener, or auth.allow_anonymous");
        return ERR_INVALID;
    }
    return ERR_OK;
}

/* A provider that is configured and not asked is a slip more often than not. */
static void warn_of_chain(const struct config *config, struct text *warnings)
{
    enum auth_provider_kind chain[AUTH_PROVIDER_COUNT];
    size_t len = config_auth_chain(config, chain);
    for (enum auth_provider_kind kind = 0; kind < AUTH_PROVIDER_COUNT; kind++) {
        bool asked = !is_configured(config, kind);
        for (size_t i = 0; i < len; i++) {
            asked = asked || chain[i] == kind;
        }
        if (!asked) {
            text_printf(warnings, "pulse: %s is not used, because auth.chain does not name %s\n",
                        what_configures(kind), provider_names[kind]);
        }
    }
}

/* ---- users ----------------------------------------------------------------------------------- */

/* By name, and users of one name by their order. */
static int compare_users(const void *a, const void *b)
{
    const struct config_user *left = *(const struct config_user *const *)a;
    const struct config_user *right = *(const struct config_user *const *)b;
    int order = strcmp(left->username, right->username);
    return order != 0 ? order : (left > right) - (left < right);
}

/* Gives all users sorted by name. End with mem_free. */
static const struct config_user **sorted_users(const struct config *config)
{
    const struct config_user **users = mem_alloc_array(config->user_count + 1, sizeof(users[0]));
    for (size_t i = 0; i < config->user_count; i++) {
        users[i] = &config->users[i];
    }
    qsort(users, config->user_count, sizeof(users[0]), compare_users);
    return users;
}

/* Starts an error about a key of a user. */
static void complain_of_user(const struct config *config, const struct config_user *user,
                             const char *key, struct text *error)
{
    text_printf(error, "%s: auth.users[%zu].%s: ", user->place, (size_t)(user - config->users),
                key);
}

static enum err check_names(const struct config *config, const struct config_user *const *users,
                            struct text *error)
{
    for (size_t i = 1; i < config->user_count; i++) {
        if (strcmp(users[i - 1]->username, users[i]->username) == 0) {
            complain_of_user(config, users[i], "username", error);
            text_printf(error, "auth.users[%zu] has this name",
                        (size_t)(users[i - 1] - config->users));
            return ERR_INVALID;
        }
    }
    return ERR_OK;
}

/* What begins as a hash and is none would be taken for a password by nobody. */
static enum err check_hashes(const struct config *config, struct text *error)
{
    for (size_t i = 0; i < config->user_count; i++) {
        struct slice password = slice_text(config->users[i].password);
        struct password_hash hash;
        struct text why = {0};
        bool bad = password_is_hash(password) && password_parse(password, &hash, &why) != ERR_OK;
        if (bad) {
            complain_of_user(config, &config->users[i], "password", error);
            text_add(error, why.data);
        }
        text_fini(&why);
        if (bad) {
            return ERR_INVALID;
        }
    }
    return ERR_OK;
}

/* Names the first few of the users whose password can be read here. */
static void warn_of_plain_passwords(const struct config *config, struct text *warnings)
{
    const size_t named_max = 5;
    size_t count = 0;
    for (size_t i = 0; i < config->user_count; i++) {
        const struct config_user *user = &config->users[i];
        if (password_is_hash(slice_text(user->password))) {
            continue;
        }
        if (count < named_max) {
            text_add(warnings, count == 0 ? "pulse: the passwords of these users stand in the "
                                            "configuration as they are; pulse passwd makes "
                                            "hashes: \""
                                          : ", \"");
            text_add_json(warnings, slice_text(user->username));
            text_add(warnings, "\"");
        }
        count++;
    }
    if (count > named_max) {
        text_printf(warnings, " and %zu more", count - named_max);
    }
    text_add(warnings, count > 0 ? "\n" : "");
}

/* ---- access rules ---------------------------------------------------------------------------- */

static int compare_name(const void *name, const void *user)
{
    return strcmp(name, (*(const struct config_user *const *)user)->username);
}

/* Does the rule name a user that is not in the sorted `users`? */
static bool is_for_a_stranger(const struct config *config, const struct config_user *const *users,
                              const struct config_acl_rule *rule)
{
    return rule->username[0] != '\0' && bsearch(rule->username, users, config->user_count,
                                                sizeof(users[0]), compare_name) == NULL;
}

static void complain_of_rule(const struct config *config, const struct config_acl_rule *rule,
                             struct text *error)
{
    text_printf(error, "%s: auth.acl[%zu]", rule->place, (size_t)(rule - config->acl_rules));
}

/* Are the users of the configuration the only ones with a name? */
static bool only_users(const struct config *config)
{
    enum auth_provider_kind chain[AUTH_PROVIDER_COUNT];
    size_t len = config_auth_chain(config, chain);
    return len == 0 || (len == 1 && chain[0] == AUTH_USERS);
}

static enum err check_rules(const struct config *config, const struct config_user *const *users,
                            struct text *error)
{
    bool strict = only_users(config);
    for (size_t i = 0; i < config->acl_rule_count; i++) {
        const struct config_acl_rule *rule = &config->acl_rules[i];
        if (strict && is_for_a_stranger(config, users, rule)) {
            complain_of_rule(config, rule, error);
            text_add(error, ".username: auth.users has no user \"");
            text_add_json(error, slice_text(rule->username));
            text_add(error, "\"");
            return ERR_INVALID;
        }
        if (rule->anonymous && (rule->username[0] != '\0' || rule->group[0] != '\0')) {
            complain_of_rule(config, rule, error);
            text_add(error, ".anonymous: clients without a user name have no name and no group");
            return ERR_INVALID;
        }
    }
    return ERR_OK;
}

/* Where there are users of others too, a strange name may be good. Who lists none here has them all
 * elsewhere. */
static void warn_of_strangers(const struct config *config, const struct config_user *const *users,
                              struct text *warnings)
{
    size_t count = 0;
    size_t first = 0;
    for (size_t i = config->acl_rule_count; i > 0 && config->user_count > 0; i--) {
        if (is_for_a_stranger(config, users, &config->acl_rules[i - 1])) {
            first = i - 1;
            count++;
        }
    }
    if (count > 0) {
        text_add(warnings, "pulse: ");
        complain_of_rule(config, &config->acl_rules[first], warnings);
        text_add(warnings, ": auth.users has no user \"");
        text_add_json(warnings, slice_text(config->acl_rules[first].username));
        text_printf(warnings, "\"; rules like this one: %zu\n", count);
    }
}

/* ---- together -------------------------------------------------------------------------------- */

enum err config__check_auth(const struct config *config, struct text *error)
{
    if (!config->auth_enabled) {
        return ERR_OK;
    }
    const struct config_user **users = sorted_users(config);
    enum err err = check_chain(config, error);
    if (err == ERR_OK) {
        err = check_names(config, users, error);
    }
    if (err == ERR_OK) {
        err = check_hashes(config, error);
    }
    if (err == ERR_OK) {
        err = check_rules(config, users, error);
    }
    mem_free(users);
    return err;
}

void config__warn_auth(const struct config *config, struct text *warnings)
{
    if (config->auth_enabled) {
        const struct config_user **users = sorted_users(config);
        warn_of_chain(config, warnings);
        warn_of_strangers(config, users, warnings);
        mem_free(users);
    }
    warn_of_plain_passwords(config, warnings);
}
