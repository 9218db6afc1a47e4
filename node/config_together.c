#include "node/config_together_priv.h"

#include <strings.h>

#include "node/config_value_priv.h"
#include "node/ip.h"

/* A rule: what it looks at is wrong if `broken` says so; the error begins at `option`. */
struct rule {
    bool (*broken)(const struct config *config);
    size_t option;
    const char *why;
};

static bool given(const char *text)
{
    return text[0] != '\0';
}

/* Is `address` that of a listener? */
static bool is_of_listener(const struct config *config, const char *address)
{
    bool is = false;
    for (size_t i = 0; i < config->listener_count; i++) {
        is = is || strcmp(config->listeners[i].bind, address) == 0;
    }
    return is;
}

static bool metrics_share_their_address(const struct config *config)
{
    return is_of_listener(config, config->observability_metrics_bind);
}

static bool admin_shares_its_address(const struct config *config)
{
    return config->admin_enabled &&
           (is_of_listener(config, config->admin_bind) ||
            strcmp(config->admin_bind, config->observability_metrics_bind) == 0);
}

/* Can only this machine reach it? */
static bool is_loopback(const char *address)
{
    char host[CONFIG_HOST_SIZE];
    uint16_t port = 0;
    struct ip ip;
    if (config_split_address(address, host, &port) != ERR_OK) {
        return false;
    }
    return ip_of_text(host, &ip) ? ip_is_loopback(&ip) : strcmp(host, "localhost") == 0;
}

static bool admin_is_open_to_all(const struct config *config)
{
    return config->admin_enabled && !is_loopback(config->admin_bind) &&
           !given(config->admin_token_file) && !given(config->admin_tls_client_ca);
}

static bool admin_lacks_key(const struct config *config)
{
    return given(config->admin_tls_certificate_chain) && !given(config->admin_tls_private_key);
}

static bool admin_lacks_certificate(const struct config *config)
{
    return given(config->admin_tls_private_key) && !given(config->admin_tls_certificate_chain);
}

/* Who names who may sign expects certificates. */
static bool admin_lacks_tls(const struct config *config)
{
    return given(config->admin_tls_client_ca) && !given(config->admin_tls_certificate_chain);
}

static bool has_sql_authority_without_tls(const struct config *config)
{
    return config->auth_sql_tls == MYSQL_TLS_OFF && given(config->auth_sql_tls_ca);
}

/* A file has no server to be encrypted to. */
static bool has_sql_tls_for_nothing(const struct config *config)
{
    return config->auth_sql_tls != MYSQL_TLS_OFF && given(config->auth_sql_database) &&
           strstr(config->auth_sql_database, "://") == NULL;
}

static bool delays_fall(const struct config *config)
{
    return config->auth_enabled && config->auth_failure_delay > config->auth_failure_delay_max;
}

/* The client would be closed before it gets its answer. */
static bool delays_too_long(const struct config *config)
{
    return config->auth_enabled && config->auth_failure_delay > 0 &&
           config->auth_failure_delay_max >= config->auth_wait_max;
}

static bool queues_nowhere(const struct config *config)
{
    return config->limits_slow_consumer_policy == SLOW_CONSUMER_QUEUE_OFFLINE &&
           config->limits_max_offline_queue_len == 0;
}

static bool has_two_databases(const struct config *config)
{
    return given(config->storage_sqlite) && given(config->storage_mysql);
}

static bool lacks_sqlite(const struct config *config)
{
    return config->storage_engine == STORAGE_SQLITE && !given(config->storage_sqlite);
}

static bool lacks_mysql(const struct config *config)
{
    return config->storage_engine == STORAGE_MYSQL && !given(config->storage_mysql);
}

/* Who names a certificate expects encryption. */
static bool has_certificates_without_tls(const struct config *config)
{
    return config->storage_mysql_tls == MYSQL_TLS_OFF &&
           (given(config->storage_mysql_tls_ca) || given(config->storage_mysql_tls_certificate) ||
            given(config->storage_mysql_tls_key));
}

static bool has_certificate_without_key(const struct config *config)
{
    return given(config->storage_mysql_tls_certificate) && !given(config->storage_mysql_tls_key);
}

static bool has_key_without_certificate(const struct config *config)
{
    return given(config->storage_mysql_tls_key) && !given(config->storage_mysql_tls_certificate);
}

static const struct rule rules[] = {
    {metrics_share_their_address, CONFIG_OPTION_observability_metrics_bind,
     "must differ from the addresses of listeners"},
    {admin_shares_its_address, CONFIG_OPTION_admin_bind,
     "must differ from the addresses of listeners and from observability.metrics_bind"},
    {admin_is_open_to_all, CONFIG_OPTION_admin_bind,
     "other machines can reach this address, so admin.token_file or admin.tls_client_ca must be "
     "given"},
    {admin_lacks_key, CONFIG_OPTION_admin_tls_certificate_chain, "needs admin.tls_private_key"},
    {admin_lacks_certificate, CONFIG_OPTION_admin_tls_private_key,
     "needs admin.tls_certificate_chain"},
    {admin_lacks_tls, CONFIG_OPTION_admin_tls_client_ca, "needs admin.tls_certificate_chain"},
    {has_sql_authority_without_tls, CONFIG_OPTION_auth_sql_tls,
     "must be required or verify when auth.sql_tls_ca is given"},
    {has_sql_tls_for_nothing, CONFIG_OPTION_auth_sql_tls,
     "needs a server: auth.sql_database is a file"},
    {delays_fall, CONFIG_OPTION_auth_failure_delay, "must not be above auth.failure_delay_max"},
    {delays_too_long, CONFIG_OPTION_auth_failure_delay_max, "must be below auth.wait_max"},
    {queues_nowhere, CONFIG_OPTION_limits_slow_consumer_policy,
     "queue-offline needs limits.max_offline_queue_len above 0"},
    {has_two_databases, CONFIG_OPTION_storage_mysql,
     "only one of storage.sqlite and storage.mysql can be given; set the other to off"},
    {lacks_sqlite, CONFIG_OPTION_storage_engine, "sqlite needs storage.sqlite"},
    {lacks_mysql, CONFIG_OPTION_storage_engine, "mysql needs storage.mysql"},
    {has_certificates_without_tls, CONFIG_OPTION_storage_mysql_tls,
     "must be required or verify when storage.mysql_tls_ca, storage.mysql_tls_certificate or "
     "storage.mysql_tls_key is given"},
    {has_certificate_without_key, CONFIG_OPTION_storage_mysql_tls_certificate,
     "needs storage.mysql_tls_key"},
    {has_key_without_certificate, CONFIG_OPTION_storage_mysql_tls_key,
     "needs storage.mysql_tls_certificate"},
};

void config__complain(const struct config *config, size_t option, struct text *error)
{
    const char *place = config->priv->places[option];
    text_printf(error, "%s%s%s: ", place == NULL ? "" : place, place == NULL ? "" : ": ",
                config__options[option].path);
}

enum err config__check_together(const struct config *config, struct text *error)
{
    enum err err = config__check_listeners(config, error);
    for (size_t i = 0; i < ARRAY_COUNT(rules) && err == ERR_OK; i++) {
        if (rules[i].broken(config)) {
            config__complain(config, rules[i].option, error);
            text_add(error, rules[i].why);
            err = ERR_INVALID;
        }
    }
    return err == ERR_OK ? config__check_auth(config, error) : err;
}

/* ---- warnings -------------------------------------------------------------------------------- */

/* A place that is named in vain is a slip more often than not. */
static void warn_if_unused(const char *text, enum storage_engine_kind kind, int engine,
                           const char *path, struct text *warnings)
{
    static const char *const words[] = {
#define X(constant, word) word,
        STORAGE_ENGINES(X)
#undef X
    };
    if (given(text) && engine != (int)kind) {
        text_printf(warnings, "pulse: %s is not used, because storage.engine is %s\n", path,
                    words[engine]);
    }
}

/* Warns of the first option of `section` that says something other than its default, but for the
 * option `but`. */
static void warn_if_section_unused(const struct config *config, enum config_section section,
                                   size_t but, const char *why, struct text *warnings)
{
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        if (config__options[i].section == section && i != but &&
            !config__value_is_default(&config__options[i], config)) {
            text_add(warnings, "pulse: ");
            config__complain(config, i, warnings);
            text_printf(warnings, "is not used, because %s\n", why);
            return;
        }
    }
}

static void warn_of_unused_sections(const struct config *config, struct text *warnings)
{
    bool has_mqtt = given(config->server_bind);
    bool tls = (has_mqtt && config->server_tls_enabled) ||
               (config->websocket_enabled && config->websocket_tls);
    if (!tls) {
        warn_if_section_unused(config, CONFIG_SECTION_server_tls, CONFIG_OPTION_server_tls_enabled,
                               has_mqtt ? "server.tls.enabled is false" : "server.bind is off",
                               warnings);
    }
    if (!config->websocket_enabled) {
        warn_if_section_unused(config, CONFIG_SECTION_websocket, CONFIG_OPTION_websocket_enabled,
                               "websocket.enabled is false", warnings);
    }
    if (!config->admin_enabled) {
        warn_if_section_unused(config, CONFIG_SECTION_admin, CONFIG_OPTION_admin_enabled,
                               "admin.enabled is false", warnings);
    }
    if (config->auth_enabled) {
        return;
    }
    const char *why = "auth.enabled is false: everybody may do everything";
    if (config->user_count > 0 || config->acl_rule_count > 0) {
        text_printf(warnings, "pulse: %s: auth.%s is not used, because %s\n",
                    config->user_count > 0 ? config->users[0].place : config->acl_rules[0].place,
                    config->user_count > 0 ? "users" : "acl", why);
    } else {
        warn_if_section_unused(config, CONFIG_SECTION_auth, CONFIG_OPTION_auth_enabled, why,
                               warnings);
    }
}

/* Every user of the machine can see the arguments of a process. */
static void warn_of_secrets_in_flags(const struct config *config, struct text *warnings)
{
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        const struct config_option *option = &config__options[i];
        if (config->priv->origins[i] == CONFIG_FLAG && option->kind == CONFIG_KIND_STRING &&
            config__value_has_secret(option, config__value_load(option, config).text)) {
            text_printf(warnings,
                        "pulse: %s: others on this machine can see the secret in the arguments; "
                        "give it in the environment or in the file\n",
                        config->priv->places[i]);
        }
    }
}

static void warn_of_admin_in_the_clear(const struct config *config, struct text *warnings)
{
    if (config->admin_enabled && !is_loopback(config->admin_bind) &&
        !given(config->admin_tls_certificate_chain)) {
        text_add(warnings, "pulse: ");
        config__complain(config, CONFIG_OPTION_admin_bind, warnings);
        text_add(warnings, "the token goes over the network in the clear; give "
                           "admin.tls_certificate_chain\n");
    }
}

/* Does the URL say http, and the name of another machine? */
static bool is_http_elsewhere(const char *url)
{
    static const char scheme[] = "http://";
    struct text address = {0};
    if (strncasecmp(url, scheme, strlen(scheme)) != 0) {
        return false;
    }
    const char *host = url + strlen(scheme);
    size_t len = strcspn(host, "/?");
    bool has_port = memchr(host, ':', len) != NULL && host[len - 1] != ']';
    text_add_bytes(&address, host, len);
    text_add(&address, has_port ? "" : ":80");
    bool elsewhere = !is_loopback(address.data);
    text_fini(&address);
    return elsewhere;
}

static void warn_of_passwords_in_the_clear(const struct config *config, struct text *warnings)
{
    if (config->auth_enabled && is_http_elsewhere(config->auth_http_url)) {
        text_add(warnings, "pulse: ");
        config__complain(config, CONFIG_OPTION_auth_http_url, warnings);
        text_add(warnings, "passwords go over the network in the clear; use https\n");
    }
}

void config__warn_together(const struct config *config, struct text *warnings)
{
    int engine = config->storage_engine;
    warn_if_unused(config->storage_sqlite, STORAGE_SQLITE, engine, "storage.sqlite", warnings);
    warn_if_unused(config->storage_mysql, STORAGE_MYSQL, engine, "storage.mysql", warnings);
    warn_of_unused_sections(config, warnings);
    warn_of_admin_in_the_clear(config, warnings);
    warn_of_passwords_in_the_clear(config, warnings);
    warn_of_secrets_in_flags(config, warnings);
    config__warn_auth(config, warnings);
}
