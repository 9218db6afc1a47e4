#include "node/auth_settings.h"

#include <uv.h>

#include "base/mem.h"

static void add_users(const struct config *config, struct auth_settings_made *made)
{
    made->users = mem_alloc_array(config->user_count, sizeof(*made->users));
    for (size_t i = 0; i < config->user_count; i++) {
        made->users[i] = (struct auth_user){.username = config->users[i].username,
                                            .password = config->users[i].password,
                                            .groups = config->users[i].groups};
    }
    made->settings.users = made->users;
    made->settings.user_count = config->user_count;
}

static enum err add_rules(const struct config *config, struct auth_settings_made *made,
                          struct text *error)
{
    for (size_t i = 0; i < config->acl_rule_count; i++) {
        const struct config_acl_rule *entry = &config->acl_rules[i];
        const struct acl_rule rule = {.permission = (enum acl_permission)entry->permission,
                                      .action = (enum acl_action)entry->action,
                                      .username = slice_text(entry->username),
                                      .group = slice_text(entry->group),
                                      .anonymous = entry->anonymous,
                                      .filter = slice_text(entry->topic_filter)};
        enum err err = acl_rules_add(&made->rules, &rule);
        if (err != ERR_OK) {
            text_printf(error, "%s: auth.acl: %s", entry->place, err_text(err));
            return err;
        }
    }
    made->settings.rules = &made->rules;
    return ERR_OK;
}

static unsigned thread_count(const struct config *config)
{
    unsigned wanted = (unsigned)config->auth_threads;
    unsigned cores = uv_available_parallelism();
    return wanted > 0 ? wanted : cores > 2 ? cores / 2 : 1;
}

enum err auth_settings_make(const struct config *config, struct auth_settings_made *made,
                            struct text *error)
{
    *made = (struct auth_settings_made){
        .settings = {.allow_anonymous = config->auth_allow_anonymous,
                     .acl_file = config->auth_acl_file,
                     .default_allow = config->auth_no_match == ACL_ALLOW,
                     .password_file = config->auth_password_file,
                     .jwt_key_file = config->auth_jwt_key_file,
                     .jwt_algorithms = config->auth_jwt_algorithms,
                     .jwt_issuer = config->auth_jwt_issuer,
                     .jwt_audience = config->auth_jwt_audience,
                     .jwt_username_claim = config->auth_jwt_username_claim,
                     .jwt_acl_claim = config->auth_jwt_acl_claim,
                     .jwt_groups_claim = config->auth_jwt_groups_claim,
                     .sql_database = config->auth_sql_database,
                     .sql_user_query = config->auth_sql_user_query,
                     .sql_acl_query = config->auth_sql_acl_query,
                     .sql_timeout_ms = config->auth_sql_timeout,
                     .sql_tls = (enum storage_mysql_tls)config->auth_sql_tls,
                     .sql_tls_ca = config->auth_sql_tls_ca,
                     .http_url = config->auth_http_url,
                     .http_ca = config->auth_http_ca,
                     .http_token_file = config->auth_http_token_file,
                     .http_timeout_ms = config->auth_http_timeout,
                     .cache_ttl_ms = config->auth_cache_ttl,
                     .scram = config->auth_scram,
                     .failure_delay_ms = config->auth_failure_delay,
                     .failure_delay_max_ms = config->auth_failure_delay_max,
                     .attempts_max = config->auth_attempts_max,
                     .threads = thread_count(config)}};
    made->settings.chain_len = config_auth_chain(config, made->settings.chain);
    add_users(config, made);
    enum err err = add_rules(config, made, error);
    if (err != ERR_OK) {
        auth_settings_fini(made);
    }
    return err;
}

void auth_settings_fini(struct auth_settings_made *made)
{
    mem_free(made->users);
    acl_rules_fini(&made->rules);
    *made = (struct auth_settings_made){.users = NULL};
}
