#include "node/config_together_priv.h"

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

static bool shares_its_address(const struct config *config)
{
    return strcmp(config->server_bind, config->observability_metrics_bind) == 0;
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
    {shares_its_address, CONFIG_OPTION_observability_metrics_bind, "must differ from server.bind"},
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

enum err config__check_together(const struct config *config,
                                char *const places[static CONFIG_OPTION_COUNT], struct text *error)
{
    for (size_t i = 0; i < ARRAY_COUNT(rules); i++) {
        if (rules[i].broken(config)) {
            const char *place = places[rules[i].option];
            text_printf(error, "%s%s%s: %s", place == NULL ? "" : place, place == NULL ? "" : ": ",
                        config__options[rules[i].option].path, rules[i].why);
            return ERR_INVALID;
        }
    }
    return ERR_OK;
}

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

void config__warn_together(const struct config *config, struct text *warnings)
{
    int engine = config->storage_engine;
    warn_if_unused(config->storage_sqlite, STORAGE_SQLITE, engine, "storage.sqlite", warnings);
    warn_if_unused(config->storage_mysql, STORAGE_MYSQL, engine, "storage.mysql", warnings);
}
