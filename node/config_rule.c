#include "node/config_option_priv.h"

#include "base/log.h"
#include "codec/topic.h"
#include "storage/mysql_url.h"

/* The one place that knows the syntax is the log; a filter that is good is in effect from then on.
 */
const struct config_text_rule config__log_filter = {
    .noun = "not a log filter",
    .allowed = "off, error, warning, notice, info or debug, and area=level pairs behind it, "
               "separated by commas; areas:"
#define X(name, text) " " text
    LOG_AREAS(X),
#undef X
    .check = log_set_filter,
};

static enum err check_topic_prefix(const char *text)
{
    struct slice prefix = slice_text(text);
    return topic_name_valid(prefix) && utf8_valid(prefix) ? ERR_OK : ERR_SYNTAX;
}

const struct config_text_rule config__topic_prefix = {
    .noun = "not the beginning of a topic name",
    .allowed = "UTF-8 without + and #",
    .check = check_topic_prefix,
};

/* Whatever the system takes, but nothing that tears a line of a log. */
static enum err check_name(const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f) {
            return ERR_SYNTAX;
        }
    }
    return ERR_OK;
}

const struct config_text_rule config__file_name = {
    .noun = "not the name of a file",
    .allowed = "the name of a file",
    .check = check_name,
};

const struct config_text_rule config__folder_name = {
    .noun = "not the name of a folder",
    .allowed = "the name of a folder",
    .check = check_name,
};

const struct config_text_rule config__ca_file_name = {
    .noun = "not the name of a file",
    .allowed = "the name of a file",
    .check = check_name,
    .none = "system",
};

static enum err check_node_id(const char *text)
{
    return check_name(text) == ERR_OK && utf8_valid(slice_text(text)) ? ERR_OK : ERR_SYNTAX;
}

const struct config_text_rule config__node_id = {
    .noun = "not the name of a node",
    .allowed = "1 to 255 bytes of UTF-8 without control characters",
    .check = check_node_id,
    .none = "hostname",
};

static enum err check_mysql_url(const char *text)
{
    struct mysql_url url;
    const char *why = NULL;
    enum err err = mysql_url_parse(text, &url, &why);
    if (err == ERR_OK) {
        mysql_url_fini(&url);
    }
    return err;
}

/* All from the first colon behind the scheme to the last @ is hidden. */
static void add_mysql_url_shown(const char *text, struct text *out)
{
    const char *user = strstr(text, "://") + strlen("://");
    const char *user_end = strrchr(user, '@');
    const char *colon = strchr(user, ':');
    if (user_end == NULL || colon == NULL || colon > user_end) {
        text_add(out, text);
        return;
    }
    text_add_bytes(out, text, (size_t)(colon + 1 - text));
    text_add(out, "***");
    text_add(out, user_end);
}

const struct config_text_rule config__mysql_url = {
    .noun = "not the URL of a database",
    .allowed = "mysql://user:password@host:port/database, each part percent-encoded",
    .check = check_mysql_url,
    .add_shown = add_mysql_url_shown,
};

const struct config_text_rule config__acl_filter = {
    .noun = "not a topic filter",
    .allowed = "text without control characters",
    .check = check_name,
};

const struct config_text_rule config__auth_chain = {
    .noun = "not a list of providers",
    .allowed = "text without control characters",
    .check = check_name,
    .none = "default",
};

const struct config_text_rule config__http_url = {
    .noun = "not a URL",
    .allowed = "text without control characters",
    .check = check_name,
};

const struct config_text_rule config__jwt_algorithms = {
    .noun = "not a list of algorithms",
    .allowed = "text without control characters",
    .check = check_name,
};

const struct config_text_rule config__listener_address = {
    .noun = "not an address",
    .allowed = "text without control characters",
    .check = check_name,
};

const struct config_text_rule config__networks = {
    .noun = "not a list of networks",
    .allowed = "text without control characters",
    .check = check_name,
};

const struct config_text_rule config__openssl_list = {
    .noun = "not a list",
    .allowed = "text without control characters",
    .check = check_name,
    .none = "default",
};

const struct config_text_rule config__origins = {
    .noun = "not a list of origins",
    .allowed = "text without control characters",
    .check = check_name,
    .none = "any",
};

const struct config_text_rule config__plain_text = {
    .noun = "not plain text",
    .allowed = "text without control characters",
    .check = check_name,
};

const struct config_text_rule config__secret = {
    .noun = "not a secret",
    .allowed = "text without control characters",
    .check = check_name,
};

const struct config_text_rule config__sql_database = {
    .noun = "not a database",
    .allowed = "text without control characters",
    .check = check_name,
};

const struct config_text_rule config__url_path = {
    .noun = "not a path",
    .allowed = "text without control characters",
    .check = check_name,
};
