/* Texts that are lists. */
#include "node/config_rule_priv.h"

#include "node/auth/auth.h"
#include "node/auth/jwt.h"
#include "node/network_list.h"

struct slice config__next_item(struct slice *list)
{
    return slice_trim(slice_cut(list, ','), " \t");
}

bool config__all_items(const char *text, bool (*is_good)(struct slice item))
{
    struct slice rest = slice_text(text);
    bool good = true;
    while (good && rest.data != NULL) {
        good = is_good(config__next_item(&rest));
    }
    return good;
}

/* ---- providers ------------------------------------------------------------------------------- */

static enum err check_auth_chain(const char *text)
{
    enum auth_provider_kind chain[AUTH_PROVIDER_COUNT];
    size_t len = 0;
    return config__read_chain(text, chain, &len);
}

const struct config_text_rule config__auth_chain = {
    .noun = "not a list of providers",
    .allowed = "each once, separated by commas:"
#define X(constant, word) " " word
    AUTH_PROVIDERS(X),
#undef X
    .check = check_auth_chain,
    .none = "default",
};

/* ---- algorithms ------------------------------------------------------------------------------ */

static bool is_jwt_algorithm(struct slice item)
{
    static const char *const words[] = {
#define X(word) #word,
        JWT_ALGORITHMS(X)
#undef X
    };
    bool known = false;
    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        known = known || slice_equal(item, slice_text(words[i]));
    }
    return known;
}

static enum err check_jwt_algorithms(const char *text)
{
    return config__all_items(text, is_jwt_algorithm) ? ERR_OK : ERR_SYNTAX;
}

const struct config_text_rule config__jwt_algorithms = {
    .noun = "not a list of algorithms",
    .allowed = "separated by commas:"
#define X(word) " " #word
    JWT_ALGORITHMS(X),
#undef X
    .check = check_jwt_algorithms,
};

/* OpenSSL says at the start whether it knows the names. */
static enum err check_openssl_list(const char *text)
{
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                               "-+!@=_.:, ";
    return text[strspn(text, good)] == '\0' ? ERR_OK : ERR_SYNTAX;
}

const struct config_text_rule config__openssl_list = {
    .noun = "not a list of names",
    .allowed = "names that OpenSSL knows, separated by colons",
    .check = check_openssl_list,
    .none = "default",
};

/* ---- networks and origins -------------------------------------------------------------------- */

static enum err check_networks(const char *text)
{
    struct network_list *networks = NULL;
    struct text why = {0};
    enum err err = network_list_parse(text, &networks, &why);
    text_fini(&why);
    network_list_destroy(networks);
    return err;
}

const struct config_text_rule config__networks = {
    .noun = "not a list of networks",
    .allowed =
        "addresses such as 192.0.2.7, and networks such as 10.0.0.0/8 and fd00::/8, separated "
        "by commas",
    .check = check_networks,
};

/* RFC 6454 section 6.2: what a browser sends, without a path. */
static bool is_origin(struct slice item)
{
    static const char schemes[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.";
    if (slice_equal(item, slice_text("null"))) {
        return true;
    }
    size_t len = 0;
    while (len < item.len && strchr(schemes, item.data[len]) != NULL) {
        len++;
    }
    struct slice host = slice_from(item, len);
    if (len == 0 || !slice_starts_with(host, "://") || host.len == strlen("://")) {
        return false;
    }
    host = slice_from(host, strlen("://"));
    for (size_t i = 0; i < host.len; i++) {
        if (host.data[i] <= ' ' || host.data[i] >= 0x7f ||
            strchr("/?#@\\*", host.data[i]) != NULL) {
            return false;
        }
    }
    return true;
}

static enum err check_origins(const char *text)
{
    return config__all_items(text, is_origin) ? ERR_OK : ERR_SYNTAX;
}

const struct config_text_rule config__origins = {
    .noun = "not a list of origins",
    .allowed = "scheme://host or scheme://host:port, separated by commas, such as "
               "https://example.org",
    .check = check_origins,
    .none = "any",
};
