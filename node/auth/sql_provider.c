/*
 * Users in a table. One login: the user's row (a thread that waits), the password (a thread that
 * computes), the access rules (a thread that waits). The first query gives
 *
 *     hash, groups (may be left out or NULL), user name (may be left out)
 *
 * The user name is for tables whose collation takes `Bob` for `bob`, or `bob ` for `bob`: a row
 * with another name than that of the client, byte by byte, is none. More than one row is an error.
 *
 * What is wrong with the database, or with what it gives, lets nobody in: AUTH_STEP_UNAVAILABLE.
 */
#include <openssl/crypto.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "node/auth/grants.h"
#include "node/auth/outage.h"
#include "node/auth/password.h"
#include "node/auth/provider_priv.h"
#include "node/auth/sql_priv.h"

#define HASH_BYTES_MAX 1024u

struct sql_provider {
    struct auth_provider base;
    struct sql_query queries[SQL_PURPOSE_COUNT];
    struct sql_mysql_settings mysql;
    char *path;                          /* of a SQLite file; NULL: `mysql` */
    struct sql_connection **connections; /* one for each thread */
    unsigned thread_count;
    uint64_t timeout_ms;
    struct outage outage;
    bool has_usual;
    struct password_hash usual; /* what the hashes here cost, without salt and key */
};

/* What is known of one client. */
struct login {
    uint64_t deadline_ms;
    enum err err;
    struct text trouble; /* what the database says */
    size_t row_count;
    struct slice username; /* of the request */
    bool other_name;       /* the row is of somebody else, whose name the database takes for it */
    char hash_text[HASH_BYTES_MAX];
    size_t hash_len;
    struct password_hash hash; /* when has_hash is false: what others cost */
    bool has_hash;
    bool fits;
    struct grants grants;
};

/* ---- a provider ------------------------------------------------------------------------------ */

static struct sql_provider *self(struct auth_provider *provider)
{
    return container_of(provider, struct sql_provider, base);
}

static bool is_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static void provider_destroy(struct auth_provider *base)
{
    struct sql_provider *provider = self(base);
    for (unsigned i = 0; provider->connections != NULL && i < provider->thread_count; i++) {
        provider->connections[i]->type->destroy(provider->connections[i]);
    }
    mem_free(provider->connections);
    for (size_t i = 0; i < SQL_PURPOSE_COUNT; i++) {
        sql_query_fini(&provider->queries[i]);
    }
    mysql_url_fini(&provider->mysql.url);
    mem_free(provider->mysql.tls_ca);
    mem_free(provider->path);
    mem_free(provider);
}

static enum err read_mysql(struct sql_provider *provider, const struct auth_settings *settings,
                           struct text *error)
{
    const char *why = NULL;
    enum err err = mysql_url_parse(settings->sql_database, &provider->mysql.url, &why);
    if (err != ERR_OK) {
        text_printf(error, "auth.sql_database: %s", why);
        return err;
    }
    provider->mysql.tls = settings->sql_tls;
    if (is_given(settings->sql_tls_ca)) {
        provider->mysql.tls_ca = mem_copy_text(settings->sql_tls_ca, strlen(settings->sql_tls_ca));
    }
    err = sql_mysql_init();
    if (err != ERR_OK) {
        text_add(error, "the client library of the database can't be used");
    }
    return err;
}

static enum err read_database(struct sql_provider *provider, const struct auth_settings *settings,
                              struct text *error)
{
    struct slice text = slice_text(settings->sql_database);
    if (slice_starts_with(text, "mysql://") || slice_starts_with(text, "mariadb://")) {
        return read_mysql(provider, settings, error);
    }
    provider->path = mem_copy_text(settings->sql_database, text.len);
    return ERR_OK;
}

static enum err read_settings(struct sql_provider *provider, const struct auth_settings *settings,
                              struct text *error)
{
    provider->timeout_ms = settings->sql_timeout_ms;
    enum err err = sql_query_read(&provider->queries[SQL_USER], settings->sql_user_query,
                                  "auth.sql_user_query", error);
    if (err == ERR_OK && is_given(settings->sql_acl_query)) {
        err = sql_query_read(&provider->queries[SQL_RULES], settings->sql_acl_query,
                             "auth.sql_acl_query", error);
    }
    return err == ERR_OK ? read_database(provider, settings, error) : err;
}

static enum err provider_create(const struct auth_settings *settings, unsigned thread_count,
                                struct auth_provider **out, struct text *error)
{
    struct sql_provider *provider = mem_alloc(sizeof(*provider));
    provider->base.type = &sql__provider;
    enum err err = read_settings(provider, settings, error);
    if (err != ERR_OK) {
        provider_destroy(&provider->base);
        return err;
    }
    provider->thread_count = thread_count;
    provider->connections = mem_alloc_array(thread_count, sizeof(*provider->connections));
    for (unsigned i = 0; i < thread_count; i++) {
        provider->connections[i] = provider->path != NULL
                                       ? sql_sqlite_create(provider->path, provider->queries)
                                       : sql_mysql_create(&provider->mysql, provider->queries);
    }
    *out = &provider->base;
    return ERR_OK;
}

static bool provider_usual_hash(struct auth_provider *base, struct password_hash *usual)
{
    struct sql_provider *provider = self(base);
    if (provider->has_usual) {
        *usual = provider->usual;
    }
    return provider->has_usual;
}

/* ---- the end of a login ---------------------------------------------------------------------- */

static void answer(struct auth_step *step, const struct auth_finding *finding)
{
    struct login *login = step->data;
    step->data = NULL;
    auth_step__answer(step, finding);
    grants_fini(&login->grants);
    text_fini(&login->trouble);
    OPENSSL_cleanse(login, sizeof(*login));
    mem_free(login);
}

static void answer_simply(struct auth_step *step, enum auth_outcome outcome, const char *reason)
{
    answer(step, &(struct auth_finding){.outcome = outcome, .reason = reason});
}

/* True: the question was answered by the database. Else the step has got its answer. */
static bool was_asked(struct auth_step *step)
{
    struct sql_provider *provider = self(step->provider);
    struct login *login = step->data;
    if (login->err == ERR_OK) {
        outage_worked(&provider->outage, "database");
        return true;
    }
    if (login->err == ERR_STOPPED) {
        answer_simply(step, AUTH_STEP_UNAVAILABLE, "the attempt has ended");
        return false;
    }
    outage_failed(&provider->outage, "database",
                  login->trouble.len > 0 ? login->trouble.data : err_text(login->err));
    answer_simply(step, AUTH_STEP_UNAVAILABLE, "the database can't be asked");
    return false;
}

static void allow(struct auth_step *step)
{
    struct login *login = step->data;
    answer(step, &(struct auth_finding){
                     .outcome = AUTH_STEP_ALLOWED,
                     .groups = slice_of(login->grants.groups.data, login->grants.groups.len),
                     .rules = &login->grants.rules,
                     .may_cache = true,
                     .fingerprint = hash_bytes(login->hash_text, login->hash_len),
                 });
}

/* ---- access rules ---------------------------------------------------------------------------- */

/* On a thread that waits. */
static void ask_database(struct auth_step *step, unsigned thread, enum sql_purpose purpose,
                         sql_row_fn take)
{
    struct sql_connection *connection = self(step->provider)->connections[thread];
    struct login *login = step->data;
    struct sql_question question = {
        .purpose = purpose,
        .values =
            {[SQL_USERNAME] = step->request->username, [SQL_CLIENT_ID] = step->request->client_id},
        .patience = {.deadline_ms = login->deadline_ms, .cancelled = &step->cancelled},
    };
    login->err = sql_patience_left(&question.patience);
    if (login->err == ERR_OK) {
        login->err = connection->type->ask(connection, &question, take, login, &login->trouble);
    }
}

static enum err say(struct login *login, const char *trouble)
{
    text_add(&login->trouble, trouble);
    return ERR_IO;
}

static enum err take_rule(void *context, const struct sql_row *row)
{
    struct login *login = context;
    if (row->count < 3) {
        return say(login, "the query for access rules gives fewer than three columns");
    }
    const char *why = "";
    enum err err =
        grants_add_rule(&login->grants, row->columns[0], row->columns[1], row->columns[2], &why);
    return err == ERR_SYNTAX ? say(login, why) : err;
}

static void find_rules(struct auth_step *step, unsigned thread)
{
    ask_database(step, thread, SQL_RULES, take_rule);
}

static void rules_found(struct auth_step *step)
{
    if (was_asked(step)) {
        allow(step);
    }
}

/* ---- the password ---------------------------------------------------------------------------- */

/* On a thread that computes. */
static void check_password(struct auth_step *step, unsigned thread)
{
    (void)thread;
    struct login *login = step->data;
    login->err = ERR_OK;
    if (login->has_hash) {
        login->fits = password_hash_fits(&login->hash, step->request->password);
    } else {
        password_waste(&login->hash, step->request->password);
    }
}

static void password_checked(struct auth_step *step)
{
    struct login *login = step->data;
    if (login->err == ERR_STOPPED) {
        answer_simply(step, AUTH_STEP_UNAVAILABLE, "the attempt has ended");
    } else if (!login->has_hash) {
        answer_simply(step, AUTH_STEP_DENIED, "the user has no hash that can be read");
    } else if (!login->fits) {
        answer_simply(step, AUTH_STEP_DENIED, "wrong password");
    } else if (self(step->provider)->queries[SQL_RULES].text == NULL) {
        allow(step);
    } else {
        login->err = ERR_STOPPED;
        auth_step__run(step, AUTH_LANE_WAIT, find_rules, rules_found);
    }
}

/* ---- the user -------------------------------------------------------------------------------- */

static enum err take_user(void *context, const struct sql_row *row)
{
    struct login *login = context;
    if (login->row_count++ > 0) {
        return say(login, "the query for a user gives more than one row");
    }
    if (row->columns[0].len > HASH_BYTES_MAX) {
        return say(login, "a hash is too long");
    }
    login->hash_len = row->columns[0].len;
    if (login->hash_len > 0) {
        memcpy(login->hash_text, row->columns[0].data, login->hash_len);
    }
    login->other_name = row->count > 2 && !slice_equal(row->columns[2], login->username);
    const char *why = "";
    enum err err = ERR_OK;
    if (row->count > 1) {
        err = grants_add_groups(&login->grants, row->columns[1], &why);
    }
    return err == ERR_SYNTAX ? say(login, why) : err;
}

static void find_user(struct auth_step *step, unsigned thread)
{
    ask_database(step, thread, SQL_USER, take_user);
}

/* Keeps what hashes cost here, for users that there are not. */
static void keep_usual(struct sql_provider *provider, const struct password_hash *hash)
{
    provider->usual = *hash;
    OPENSSL_cleanse(provider->usual.salt, sizeof(provider->usual.salt));
    OPENSSL_cleanse(provider->usual.key, sizeof(provider->usual.key));
    provider->has_usual = true;
}

static void read_hash(struct sql_provider *provider, struct login *login)
{
    struct text error = {.data = NULL};
    struct slice text = slice_of(login->hash_text, login->hash_len);
    login->has_hash =
        password_is_hash(text) && password_parse(text, &login->hash, &error) == ERR_OK;
    text_fini(&error);
    if (login->has_hash) {
        keep_usual(provider, &login->hash);
    } else if (provider->has_usual) {
        login->hash = provider->usual;
    } else {
        password_usual(PASSWORD_SCRYPT, &login->hash);
    }
}

static void user_found(struct auth_step *step)
{
    struct login *login = step->data;
    if (!was_asked(step)) {
        return;
    }
    if (login->row_count == 0 || login->other_name) {
        answer_simply(step, AUTH_STEP_UNKNOWN, NULL);
        return;
    }
    read_hash(self(step->provider), login);
    login->err = ERR_STOPPED;
    auth_step__run(step, AUTH_LANE_COMPUTE, check_password, password_checked);
}

static void provider_ask(struct auth_provider *base, struct auth_step *step)
{
    const struct auth_request *request = step->request;
    if (request->username.len == 0 || !request->has_password) {
        auth_step__answer(step, &(struct auth_finding){.outcome = AUTH_STEP_UNKNOWN});
        return;
    }
    struct login *login = mem_alloc(sizeof(*login));
    login->err = ERR_STOPPED;
    login->username = request->username;
    login->deadline_ms = clock_mono_ms() + self(base)->timeout_ms;
    step->data = login;
    auth_step__run(step, AUTH_LANE_WAIT, find_user, user_found);
}

const struct auth_provider_type sql__provider = {
    .kind = AUTH_SQL,
    .cacheable = true,
    .create = provider_create,
    .destroy = provider_destroy,
    .ask = provider_ask,
    .usual_hash = provider_usual_hash,
};
