/* Texts that say where something is in the network. */
#include "node/config_rule_priv.h"

#include <curl/curl.h>
#include <sys/un.h>

#include "storage/mysql_url.h"

/* ---- databases ------------------------------------------------------------------------------- */

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
    text_add(out, CONFIG_HIDDEN);
    text_add(out, user_end);
}

const struct config_text_rule config__mysql_url = {
    .noun = "not the URL of a database",
    .allowed = "mysql://user:password@host:port/database, each part percent-encoded",
    .check = check_mysql_url,
    .add_shown = add_mysql_url_shown,
};

/* Whoever writes a scheme does not mean a file. */
static bool is_url(const char *text)
{
    return strstr(text, "://") != NULL;
}

static enum err check_sql_database(const char *text)
{
    return is_url(text) ? check_mysql_url(text) : config__check_name(text);
}

static void add_sql_database_shown(const char *text, struct text *out)
{
    if (is_url(text)) {
        add_mysql_url_shown(text, out);
    } else {
        text_add(out, text);
    }
}

const struct config_text_rule config__sql_database = {
    .noun = "not a database",
    .allowed =
        "mysql://user:password@host:port/database, each part percent-encoded, or the name of "
        "a file",
    .check = check_sql_database,
    .add_shown = add_sql_database_shown,
};

/* ---- HTTP ------------------------------------------------------------------------------------ */

/* Does the URL have this part? */
static bool has_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    bool there = curl_url_get(url, part, &text, 0) == CURLUE_OK;
    curl_free(text);
    return there;
}

static bool is_http(CURLU *url)
{
    char *scheme = NULL;
    bool good = curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    curl_free(scheme);
    return good;
}

/* A user and a password in it would be logged by somebody; there is auth.http_token_file. */
static enum err check_http_url(const char *text)
{
    CURLU *url = curl_url();
    if (url == NULL) {
        return ERR_MEMORY;
    }
    bool good = config__check_name(text) == ERR_OK && strchr(text, ' ') == NULL &&
                strstr(text, ":///") == NULL &&
                curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
                is_http(url) && !has_part(url, CURLUPART_USER) &&
                !has_part(url, CURLUPART_PASSWORD) && !has_part(url, CURLUPART_FRAGMENT);
    curl_url_cleanup(url);
    return good ? ERR_OK : ERR_SYNTAX;
}

/* What some put into the query is a key. */
static void add_http_url_shown(const char *text, struct text *out)
{
    size_t len = strcspn(text, "?");
    text_add_bytes(out, text, len);
    if (text[len] != '\0') {
        text_add(out, "?" CONFIG_HIDDEN);
    }
}

const struct config_text_rule config__http_url = {
    .noun = "not the URL of an HTTP server",
    .allowed = "http:// or https://, host, port and path, without user and password",
    .check = check_http_url,
    .add_shown = add_http_url_shown,
};

static enum err check_url_path(const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        if (*at <= ' ' || *at >= 0x7f || strchr("?#\"<>\\^`{|}", *at) != NULL) {
            return ERR_SYNTAX;
        }
    }
    return text[0] == '/' ? ERR_OK : ERR_SYNTAX;
}

const struct config_text_rule config__url_path = {
    .noun = "not the path of a URL",
    .allowed = "a path that begins with /, without query, such as /mqtt",
    .check = check_url_path,
};

/* ---- listeners ------------------------------------------------------------------------------- */

/* The name of a socket has its limit in the system. */
static bool is_socket_name(const char *name)
{
    size_t len = strlen(name);
    return name[0] == '/' && name[len - 1] != '/' &&
           len < sizeof(((struct sockaddr_un *)NULL)->sun_path) &&
           config__check_name(name) == ERR_OK;
}

static enum err check_listener_address(const char *text)
{
    static const char scheme[] = "unix:";
    char host[CONFIG_HOST_SIZE];
    uint16_t port = 0;
    if (strncmp(text, scheme, strlen(scheme)) == 0) {
        return is_socket_name(text + strlen(scheme)) ? ERR_OK : ERR_SYNTAX;
    }
    return config_split_address(text, host, &port);
}

const struct config_text_rule config__listener_address = {
    .noun = "not an address",
    .allowed = "host:port, such as 127.0.0.1:1883 or [::1]:1883, or unix: and the whole path of a "
               "socket of at most 107 bytes",
    .check = check_listener_address,
};
