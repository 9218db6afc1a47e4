#include "node/storage_settings.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

/* Options that are off are empty texts; storage knows them as NULL. */
static const char *text_or_null(const char *text)
{
    return text[0] == '\0' ? NULL : text;
}

static void read_hostname(char name[static NODE_ID_SIZE])
{
    struct utsname system;
    bool known = uname(&system) == 0 && system.nodename[0] != '\0';
    snprintf(name, NODE_ID_SIZE, "%s", known ? system.nodename : "localhost");
}

void storage_settings_init(struct storage_settings *settings, const struct config *config)
{
    bool named = config->cluster_node_id[0] != '\0';
    *settings = (struct storage_settings){0};
    read_hostname(settings->hostname);
    settings->storage = (struct storage_config){
        .engine = (enum storage_engine_kind)config->storage_engine,
        .policy = (enum storage_policy)config->storage_commit_policy,
        .wal_dir = config->storage_wal_dir,
        .wal_segment_bytes = config->storage_wal_segment_bytes,
        .wal_compact_max_bytes = config->storage_wal_compact_max_bytes,
        .wal_compact_interval_ms = config->storage_wal_compact_interval_ms,
        .wal_damage = (enum storage_damage)config->storage_wal_damage,
        .sqlite_path = text_or_null(config->storage_sqlite),
        .mysql_url = text_or_null(config->storage_mysql),
        .mysql_tls = (enum storage_mysql_tls)config->storage_mysql_tls,
        .mysql_tls_ca = text_or_null(config->storage_mysql_tls_ca),
        .mysql_tls_certificate = text_or_null(config->storage_mysql_tls_certificate),
        .mysql_tls_key = text_or_null(config->storage_mysql_tls_key),
        .mysql_timeout_ms = config->storage_mysql_timeout_ms,
        .owner = named ? config->cluster_node_id : settings->hostname,
    };
}
