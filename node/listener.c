#include "node/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/conn.h"
#include "node/layers.h"
#include "node/worker.h"

#define BACKLOG 4096
/* Others have their turn in between. */
#define ACCEPTS_PER_EVENT 64
#define UNIX_PREFIX "unix:"

/* ---- accepting ------------------------------------------------------------------------------- */

/*
 * Out of descriptors: the connection that waits would wake us for ever. Give up the spare
 * descriptor, take the connection, close it, and take the spare back.
 */
static void turn_away(struct worker *worker, int listener)
{
    close(worker->spare_fd);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        close(fd);
        metric_add(&worker->metrics, METRIC_SOCKETS_REFUSED, 1);
        worker_warn_limit(worker, "client turned away: no descriptor left");
    }
    worker->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void open_accepted(struct listening *listening, int fd)
{
    struct worker *worker = listening->worker;
    bool failed = false;
    if (worker->stopping || !conn_enter_limits(worker, listening->listener)) {
        close(fd);
        return;
    }
    struct layers *layers = layers_create(listening, &failed);
    if (failed) {
        close(fd);
        conn_undo_limits(worker, listening->listener);
        metric_add(&worker->metrics, METRIC_SOCKETS_REFUSED, 1);
        worker_warn_limit(worker, "client turned away: no memory left");
        return;
    }
    const struct conn_start start = {.fd = fd, .listener = listening->listener, .layers = layers};
    conn_open(worker, &start);
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    struct listening *listening = container_of(poll, struct listening, poll);
    struct worker *worker = listening->worker;
    (void)events;
    for (int i = 0; status == 0 && i < ACCEPTS_PER_EVENT; i++) {
        if (!conn_may_come(worker)) {
            return; /* listener_go_on follows */
        }
        int fd = accept4(listening->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            open_accepted(listening, fd);
        } else if (errno == EMFILE || errno == ENFILE) {
            turn_away(worker, listening->fd);
        } else if (errno != ECONNABORTED && errno != EINTR) {
            return; /* EAGAIN: that was all */
        }
    }
}

/* ---- binding --------------------------------------------------------------------------------- */

/* Gives `fd` back, or closes it and gives -1 with the error of what failed. */
static int keep_if(bool ok, int fd)
{
    if (ok) {
        return fd;
    }
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int bind_tcp(const struct addrinfo *address, bool share)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    int on = 1;
    int off = 0;
    bool ok = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
              (!share || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0) &&
              /* [::] is every address, whatever the system's default */
              (address->ai_family != AF_INET6 ||
               setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == 0) &&
              bind(fd, address->ai_addr, address->ai_addrlen) == 0;
    /* Inherited by accepted sockets: peers that vanished without a word, where keep alive is 0. */
    int idle_s = 60;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    return keep_if(ok, fd);
}

/* Sockets that share a port with SO_REUSEPORT would also share it with another Pulse of the same
 * user: a socket that doesn't share finds out. */
static bool taken_by_another(const struct addrinfo *address)
{
    int probe = bind_tcp(address, false);
    if (probe < 0) {
        return true;
    }
    close(probe);
    return false;
}

static bool bind_each(struct broker *broker, size_t index, const struct addrinfo *address)
{
    bool share = broker->worker_count > 1;
    if (share && taken_by_another(address)) {
        return false;
    }
    for (unsigned i = 0; i < broker->worker_count; i++) {
        int fd = bind_tcp(address, share);
        broker->workers[i]->listenings[index].fd = fd;
        if (fd < 0) {
            return false;
        }
    }
    return true;
}

static bool bind_address(struct broker *broker, size_t index, const char *where, const char **why)
{
    char host[CONFIG_HOST_SIZE];
    char port[8];
    uint16_t number = 0;
    *why = "not an address"; /* can't be: config has checked it */
    if (config_split_address(where, host, &number) != ERR_OK) {
        return false;
    }
    snprintf(port, sizeof(port), "%u", number);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int status = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, &found);
    if (status != 0) {
        *why = gai_strerror(status);
        return false;
    }
    bool ok = bind_each(broker, index, found);
    *why = strerror(errno);
    freeaddrinfo(found);
    return ok;
}

/* A socket that a dead process left is replaced; one that somebody listens at is not. */
static bool is_abandoned(const struct sockaddr_un *address)
{
    struct stat status;
    if (stat(address->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode)) {
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool dead = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0 &&
                errno == ECONNREFUSED;
    if (fd >= 0) {
        close(fd);
    }
    return dead;
}

/* 660 as it is written means octal. */
static mode_t mode_of(uint64_t digits)
{
    return (mode_t)((digits / 100 % 10) << 6 | (digits / 10 % 10) << 3 | digits % 10);
}

static int bind_unix(const char *path, uint64_t mode, const char **why)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        *why = "the path is too long for a unix socket";
        return -1;
    }
    strcpy(address.sun_path, path);
    if (is_abandoned(&address)) {
        (void)unlink(path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        bool ok = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
                  chmod(path, mode_of(mode)) == 0;
        fd = keep_if(ok, fd);
    }
    *why = strerror(errno);
    return fd;
}

/* One socket, of which each worker has a descriptor. */
static bool bind_path(struct broker *broker, size_t index, const struct config_listener *config,
                      const char **why)
{
    int fd = bind_unix(config->bind + strlen(UNIX_PREFIX), config->unix_mode, why);
    broker->listeners[index].made_path = fd >= 0;
    for (unsigned i = 0; i < broker->worker_count && fd >= 0; i++) {
        int own = i == 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 0);
        broker->workers[i]->listenings[index].fd = own;
        if (own < 0) {
            *why = strerror(errno);
            return false;
        }
    }
    return fd >= 0;
}

static bool is_path(const struct config_listener *config)
{
    return strncmp(config->bind, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0;
}

static enum err bind_listener(struct broker *broker, size_t index)
{
    const struct config_listener *config = broker->listeners[index].config;
    const char *why = "";
    bool ok = is_path(config) ? bind_path(broker, index, config, &why)
                              : bind_address(broker, index, config->bind, &why);
    if (!ok) {
        log_error(LOG_LISTENER, "can't listen", log_text("bind", config->bind),
                  log_text("error", why));
        return ERR_ADDRESS;
    }
    return ERR_OK;
}

static void describe(struct listener *listener, const struct config_listener *config)
{
    listener->config = config;
    listener->name = config->name;
    listener->ws = (struct ws_rules){.path = config->path, .origins = config->origins};
}

enum err listener_bind(struct broker *broker)
{
    const struct config *config = broker->config;
    size_t count = config->listener_count;
    broker->listeners = mem_alloc_array(count, sizeof(*broker->listeners));
    broker->listener_count = count;
    for (size_t i = 0; i < count; i++) {
        describe(&broker->listeners[i], &config->listeners[i]);
    }
    for (unsigned w = 0; w < broker->worker_count; w++) {
        struct worker *worker = broker->workers[w];
        worker->listenings = mem_alloc_array(count, sizeof(*worker->listenings));
        worker->listening_count = count;
        for (size_t i = 0; i < count; i++) {
            worker->listenings[i] =
                (struct listening){.worker = worker, .listener = &broker->listeners[i], .fd = -1};
        }
    }
    enum err err = ERR_OK;
    for (size_t i = 0; i < count && err == ERR_OK; i++) {
        err = bind_listener(broker, i);
    }
    return err;
}

/* ---- TLS ------------------------------------------------------------------------------------- */

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

/* ---- life ------------------------------------------------------------------------------------ */

static bool start(struct worker *worker, struct listening *listening)
{
    bool ok = listen(listening->fd, BACKLOG) == 0 &&
              uv_poll_init(&worker->loop, &listening->poll, listening->fd) == 0;
    listening->polls = ok;
    return ok && uv_poll_start(&listening->poll, UV_READABLE, on_connection) == 0;
}

enum err listener_start(struct broker *broker)
{
    for (unsigned w = 0; w < broker->worker_count; w++) {
        struct worker *worker = broker->workers[w];
        worker->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        for (size_t i = 0; i < worker->listening_count; i++) {
            if (!start(worker, &worker->listenings[i])) {
                log_error(LOG_LISTENER, "can't listen",
                          log_text("bind", worker->listenings[i].listener->config->bind),
                          log_text("error", strerror(errno)));
                return ERR_ADDRESS;
            }
        }
    }
    for (size_t i = 0; i < broker->listener_count; i++) {
        const struct config_listener *config = broker->listeners[i].config;
        log_notice(LOG_LISTENER, "listening", log_text("bind", config->bind),
                   log_text("protocol", config->protocol == CONFIG_PROTOCOL_WS ? "ws" : "mqtt"),
                   log_uint("tls", config->tls), log_uint("workers", broker->worker_count));
    }
    return ERR_OK;
}

void listener_pause(struct worker *worker)
{
    for (size_t i = 0; i < worker->listening_count; i++) {
        if (worker->listenings[i].polls) {
            uv_poll_stop(&worker->listenings[i].poll);
        }
    }
}

void listener_go_on(struct worker *worker)
{
    for (size_t i = 0; i < worker->listening_count; i++) {
        if (worker->listenings[i].polls) {
            uv_poll_start(&worker->listenings[i].poll, UV_READABLE, on_connection);
        }
    }
}

void listener_stop(struct worker *worker)
{
    for (size_t i = 0; i < worker->listening_count; i++) {
        struct listening *listening = &worker->listenings[i];
        if (listening->polls) {
            listening->polls = false;
            uv_close((uv_handle_t *)&listening->poll, NULL);
        }
        if (listening->fd >= 0) {
            close(listening->fd);
            listening->fd = -1;
        }
    }
    if (worker->spare_fd >= 0) {
        close(worker->spare_fd);
        worker->spare_fd = -1;
    }
}

void listener_forget(struct worker *worker)
{
    for (size_t i = 0; i < worker->listening_count; i++) {
        tls_context_unref(worker->listenings[i].tls);
    }
    mem_free(worker->listenings);
}

void listener_destroy_all(struct broker *broker)
{
    for (size_t i = 0; i < broker->listener_count; i++) {
        const struct listener *listener = &broker->listeners[i];
        tls_context_unref(listener->tls);
        if (listener->made_path) {
            (void)unlink(listener->config->bind + strlen(UNIX_PREFIX));
        }
    }
    mem_free(broker->listeners);
}
