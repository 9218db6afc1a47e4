#include "node/config_together_priv.h"

#include "base/mem.h"
#include "node/config_value_priv.h"

/* Sets a text of a listener to a copy of `text`. */
static void set(const char **field, const char *text)
{
    mem_free((char *)*field);
    *field = mem_copy_text(text, strlen(text));
}

/* Where the value of an option comes from, for people. */
static const char *place_of(const struct config *config, size_t option)
{
    const char *place = config->priv->places[option];
    return place == NULL ? "default" : place;
}

static struct config_listener *add(struct config *config, size_t bind_option, const char *name)
{
    struct config_listener *listener = config__list_add(&config__lists[CONFIG_LIST_LISTENERS],
                                                        config, place_of(config, bind_option));
    set(&listener->name, name);
    set(&listener->bind, config__value_load(&config__options[bind_option], config).text);
    return listener;
}

/* Copies every key of server.tls that listeners have too. */
static void add_tls(const struct config *config, struct config_listener *listener)
{
    const struct config_list *list = &config__lists[CONFIG_LIST_LISTENERS];
    listener->tls = true;
    for (size_t i = 0; i < list->key_count; i++) {
        const struct config_option *key = &list->keys[i];
        const struct config_option *option =
            config__option_find(CONFIG_SECTION_server_tls, key->key);
        if (option != NULL) {
            config__value_store(key, config__value_load(option, config), listener);
        }
    }
}

/* Turns server.bind off where the list of listeners replaces its default. */
static void yield_to_list(struct config *config)
{
    bool given = config->priv->places[CONFIG_OPTION_server_bind] != NULL;
    if (config->listener_count > 0 && !given) {
        const char *place = "off, because there are listeners";
        set(&config->server_bind, "");
        config->priv->places[CONFIG_OPTION_server_bind] = mem_copy_text(place, strlen(place));
    }
}

/* A listener without a name is called by its address. */
static void name_all(struct config *config)
{
    for (size_t i = 0; i < config->listener_count; i++) {
        struct config_listener *listener = &config->listeners[i];
        if (listener->name[0] == '\0') {
            set(&listener->name, listener->bind);
        }
    }
}

void config__listeners_complete(struct config *config)
{
    config->priv->listeners_given = config->listener_count;
    name_all(config);
    yield_to_list(config);
    if (config->server_bind[0] != '\0') {
        struct config_listener *mqtt = add(config, CONFIG_OPTION_server_bind, "mqtt");
        mqtt->proxy_protocol = config->server_proxy_protocol;
        if (config->server_tls_enabled) {
            add_tls(config, mqtt);
        }
    }
    if (config->websocket_enabled) {
        struct config_listener *websocket = add(config, CONFIG_OPTION_websocket_bind, "websocket");
        websocket->protocol = CONFIG_PROTOCOL_WS;
        set(&websocket->path, config->websocket_path);
        set(&websocket->origins, config->websocket_origins);
        if (config->websocket_tls) {
            add_tls(config, websocket);
        }
    }
}

/* ---- what a listener must obey --------------------------------------------------------------- */

static bool given(const char *text)
{
    return text[0] != '\0';
}

static bool lacks_chain(const struct config_listener *listener)
{
    return listener->tls && !given(listener->certificate_chain);
}

static bool lacks_key(const struct config_listener *listener)
{
    return listener->tls && !given(listener->private_key);
}

static bool lacks_authority(const struct config_listener *listener)
{
    return listener->tls && listener->client_auth != TLS_CLIENT_AUTH_DISABLED &&
           !given(listener->client_ca);
}

static bool lacks_client_auth(const struct config_listener *listener)
{
    return listener->tls && listener->client_auth == TLS_CLIENT_AUTH_DISABLED &&
           listener->identity != TLS_IDENTITY_NONE;
}

static bool revokes_nothing(const struct config_listener *listener)
{
    return listener->tls && listener->client_auth == TLS_CLIENT_AUTH_DISABLED &&
           given(listener->client_crl);
}

/* Who names a certificate expects encryption. */
static bool lacks_tls(const struct config_listener *listener)
{
    return !listener->tls && (given(listener->certificate_chain) || given(listener->private_key) ||
                              listener->client_auth != TLS_CLIENT_AUTH_DISABLED);
}

static bool has_bad_mode(const struct config_listener *listener)
{
    bool bad = false;
    for (uint64_t digits = listener->unix_mode; digits > 0; digits /= 10) {
        bad = bad || digits % 10 > 7;
    }
    return bad;
}

/* A rule: a listener is wrong if `broken` says so; the error begins at `key`. */
struct rule {
    bool (*broken)(const struct config_listener *listener);
    const char *key;
    const char *why;
};

static const struct rule rules[] = {
    {lacks_chain, "certificate_chain", "must be given for TLS"},
    {lacks_key, "private_key", "must be given for TLS"},
    {lacks_authority, "client_ca", "must be given unless client_auth is disabled"},
    {lacks_client_auth, "identity", "needs client_auth optional or required"},
    {revokes_nothing, "client_crl", "needs client_auth optional or required"},
    {lacks_tls, "tls", "must be true where certificates are given"},
    {has_bad_mode, "unix_mode", "its digits are octal, 0 to 7"},
};

/* Adds what a key of a listener is called where the listener comes from. */
static void add_path(const struct config *config, size_t index, const char *key, struct text *text)
{
    if (index < config->priv->listeners_given) {
        text_printf(text, "listeners[%zu].%s", index, key);
        return;
    }
    bool mqtt = config->listeners[index].protocol == CONFIG_PROTOCOL_MQTT;
    const char *bind = mqtt ? "server.bind" : "websocket.bind";
    if (strcmp(key, "bind") == 0) {
        text_add(text, bind);
    } else if (strcmp(key, "name") == 0) {
        text_printf(text, "the name of %s", bind);
    } else {
        text_printf(text, "server.tls.%s", key);
    }
}

static enum err check_alone(const struct config *config, size_t index, struct text *error)
{
    const struct config_listener *listener = &config->listeners[index];
    for (size_t i = 0; i < ARRAY_COUNT(rules); i++) {
        if (rules[i].broken(listener)) {
            if (index < config->priv->listeners_given) {
                text_printf(error, "%s: ", listener->place);
            }
            add_path(config, index, rules[i].key, error);
            text_printf(error, ": %s", rules[i].why);
            return ERR_INVALID;
        }
    }
    return ERR_OK;
}

/* Names and addresses tell listeners apart. */
static enum err check_difference(const struct config *config, size_t index, size_t other,
                                 struct text *error)
{
    const struct config_listener *listeners = config->listeners;
    bool bind = strcmp(listeners[index].bind, listeners[other].bind) == 0;
    if (!bind && strcmp(listeners[index].name, listeners[other].name) != 0) {
        return ERR_OK;
    }
    /* One that is not in the list has a name that nobody wrote. */
    bool swap = !bind && index >= config->priv->listeners_given;
    size_t wrong = swap ? other : index;
    text_printf(error, "%s: ", listeners[wrong].place);
    add_path(config, wrong, bind ? "bind" : "name", error);
    text_add(error, ": must differ from ");
    add_path(config, swap ? index : other, bind ? "bind" : "name", error);
    return ERR_INVALID;
}

enum err config__check_listeners(const struct config *config, struct text *error)
{
    enum err err = ERR_OK;
    if (config->listener_count == 0) {
        config__complain(config, CONFIG_OPTION_server_bind, error);
        text_add(error, "there must be a listener; give server.bind, listeners, or "
                        "websocket.enabled");
        return ERR_INVALID;
    }
    for (size_t i = 0; i < config->listener_count && err == ERR_OK; i++) {
        err = check_alone(config, i, error);
        for (size_t j = 0; j < i && err == ERR_OK; j++) {
            err = check_difference(config, i, j, error);
        }
    }
    return err;
}
