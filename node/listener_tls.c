#include "node/listener.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/tls/tls.h"
#include "node/worker.h"

/* TLS contexts of listeners: each worker has a reference, which mail replaces. */

static const char *text_or_null(const char *text)
{
    return text[0] == '\0' ? NULL : text;
}

static struct tls_settings tls_settings_of(const struct config_listener *config)
{
    return (struct tls_settings){
        .certificate_chain = text_or_null(config->certificate_chain),
        .private_key = text_or_null(config->private_key),
        .client_ca = text_or_null(config->client_ca),
        .client_crl = text_or_null(config->client_crl),
        .ciphers = text_or_null(config->ciphers),
        .ciphersuites = text_or_null(config->ciphersuites),
        .groups = text_or_null(config->groups),
        .client_auth = (enum tls_client_auth)config->client_auth,
        .min_version = (enum tls_version)config->min_version,
        .identity = (enum tls_identity)config->identity,
        .alpn_mqtt = config->protocol == CONFIG_PROTOCOL_MQTT,
        .session_tickets = config->session_tickets,
    };
}

/* A context from the files of `config`; with `old` it goes on with its ticket keys. */
static enum err read_tls(const struct config_listener *config, const struct tls_context *old,
                         struct tls_context **out)
{
    struct tls_settings settings = tls_settings_of(config);
    struct text error = {0};
    enum err err = old == NULL ? tls_context_create(&settings, out, &error)
                               : tls_context_reload(old, &settings, out, &error);
    if (err != ERR_OK) {
        log_error(LOG_TLS, "TLS can't be set up", log_text("bind", config->bind),
                  log_text("error", error.data));
    }
    text_fini(&error);
    return err;
}

enum err listener_load_tls(struct broker *broker)
{
    enum err err = ERR_OK;
    for (size_t i = 0; i < broker->listener_count && err == ERR_OK; i++) {
        struct listener *listener = &broker->listeners[i];
        if (!listener->config->tls) {
            continue;
        }
        err = read_tls(listener->config, NULL, &listener->tls);
        for (unsigned w = 0; w < broker->worker_count && err == ERR_OK; w++) {
            tls_context_ref(listener->tls);
            broker->workers[w]->listenings[i].tls = listener->tls;
        }
    }
    return err;
}

struct tls_mail {
    struct mail mail;
    size_t index;
    struct tls_context *tls;
};

static void open_tls_mail(struct worker *worker, struct mail *mail)
{
    struct tls_mail *own = container_of(mail, struct tls_mail, mail);
    struct listening *listening = &worker->listenings[own->index];
    tls_context_unref(listening->tls);
    listening->tls = own->tls;
    mem_free(own);
}

static void replace_tls(struct broker *broker, size_t index, struct tls_context *tls)
{
    tls_context_unref(broker->listeners[index].tls);
    broker->listeners[index].tls = tls;
    for (unsigned w = 0; w < broker->worker_count; w++) {
        struct tls_mail *own = mem_alloc(sizeof(*own));
        own->mail.open = open_tls_mail;
        own->index = index;
        own->tls = tls;
        tls_context_ref(tls);
        worker_post(broker->workers[w], &own->mail);
    }
}

/* The entry of `config` for the address that we listen at. */
static const struct config_listener *find_again(const struct config *config, const char *bind)
{
    for (size_t i = 0; i < config->listener_count; i++) {
        if (strcmp(config->listeners[i].bind, bind) == 0) {
            return &config->listeners[i];
        }
    }
    return NULL;
}

enum err listener_read_tls(struct broker *broker, const struct config *config,
                           struct tls_context ***out)
{
    size_t count = broker->listener_count;
    struct tls_context **fresh = mem_alloc_array(count, sizeof(*fresh));
    enum err err = ERR_OK;
    for (size_t i = 0; i < count && err == ERR_OK; i++) {
        const struct listener *listener = &broker->listeners[i];
        const struct config_listener *entry = find_again(config, listener->config->bind);
        if (listener->tls != NULL && entry != NULL && entry->tls) {
            err = read_tls(entry, listener->tls, &fresh[i]);
        }
    }
    if (err != ERR_OK) {
        listener_drop_tls(broker, fresh);
        fresh = NULL;
    }
    *out = fresh;
    return err;
}

void listener_use_tls(struct broker *broker, struct tls_context **fresh)
{
    for (size_t i = 0; i < broker->listener_count; i++) {
        if (fresh[i] != NULL) {
            replace_tls(broker, i, fresh[i]);
        }
    }
    mem_free(fresh);
}

void listener_drop_tls(struct broker *broker, struct tls_context **fresh)
{
    for (size_t i = 0; i < broker->listener_count; i++) {
        tls_context_unref(fresh[i]);
    }
    mem_free(fresh);
}
