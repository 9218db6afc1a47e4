#include "tests/unit/storage/proxy_support.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"

#define LINKS 16
#define TICK_MS 10
/* So long the answer is awaited after which a connection is cut. */
#define ANSWER_MS 300

struct link {
    int client; /* -1: unused */
    int server;
    bool frozen;
    uint64_t cut_ms; /* 0: not to be cut */
    char *held;      /* NULL: nothing */
    size_t held_len;
};

struct proxy {
    pthread_t thread;
    int listener;
    uint16_t port;
    uint16_t server_port;
    const char *word;
    _Atomic int mode;
    _Atomic bool stop;
    _Atomic bool freeze;
    _Atomic bool release;
    _Atomic unsigned cuts;
    struct link links[LINKS];
};

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void end_link(struct link *link)
{
    close(link->client);
    close(link->server);
    mem_free(link->held);
    *link = (struct link){.client = -1};
}

static void set_no_delay(int fd)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* only slower without */
}

static void accept_link(struct proxy *proxy)
{
    struct sockaddr_in address = loopback(proxy->server_port);
    int client = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client < 0 || server < 0 ||
        connect(server, (struct sockaddr *)&address, sizeof address) != 0) {
        close(client);
        close(server);
        return;
    }
    set_no_delay(client);
    set_no_delay(server);
    for (unsigned i = 0; i < LINKS; i++) {
        if (proxy->links[i].client < 0) {
            proxy->links[i] = (struct link){.client = client, .server = server};
            return;
        }
    }
    close(client);
    close(server);
}

static bool send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        data += sent;
        len -= (size_t)sent;
    }
    return true;
}

static void from_client(struct proxy *proxy, struct link *link)
{
    static char data[65536];
    ssize_t len = recv(link->client, data, sizeof data, 0);
    size_t word = strlen(proxy->word);
    bool hit = len >= (ssize_t)word && memcmp(data + (size_t)len - word, proxy->word, word) == 0;
    int mode = atomic_load(&proxy->mode);
    if (hit && mode != PROXY_PASS) {
        atomic_store(&proxy->mode, PROXY_PASS);
        link->cut_ms = mode == PROXY_CUT_ANSWER ? clock_mono_ms() + ANSWER_MS : 0;
    }
    if (hit && mode == PROXY_HOLD) {
        link->held = mem_copy_text(data, (size_t)len);
        link->held_len = (size_t)len;
        link->frozen = true;
        atomic_fetch_add(&proxy->cuts, 1);
    } else if (len <= 0 || (hit && mode == PROXY_CUT_REQUEST)) {
        atomic_fetch_add(&proxy->cuts, len > 0);
        end_link(link);
    } else if (!send_all(link->server, data, (size_t)len)) {
        end_link(link);
    }
}

static void from_server(struct link *link)
{
    static char data[65536];
    ssize_t len = recv(link->server, data, sizeof data, 0);
    if (len <= 0 || (link->cut_ms == 0 && !send_all(link->client, data, (size_t)len))) {
        end_link(link);
    }
}

static void pass(struct proxy *proxy)
{
    struct pollfd fds[1 + 2 * LINKS] = {{.fd = proxy->listener, .events = POLLIN}};
    for (unsigned i = 0; i < LINKS; i++) {
        bool on = proxy->links[i].client >= 0 && !proxy->links[i].frozen;
        fds[1 + 2 * i] = (struct pollfd){.fd = on ? proxy->links[i].client : -1, .events = POLLIN};
        fds[2 + 2 * i] = (struct pollfd){.fd = on ? proxy->links[i].server : -1, .events = POLLIN};
    }
    if (poll(fds, 1 + 2 * LINKS, TICK_MS) < 0) {
        return;
    }
    for (unsigned i = 0; i < LINKS; i++) {
        struct link *link = &proxy->links[i];
        if (fds[1 + 2 * i].revents != 0) {
            from_client(proxy, link);
        }
        if (fds[2 + 2 * i].revents != 0 && link->client >= 0) {
            from_server(link);
        }
        if (link->client >= 0 && link->cut_ms != 0 && clock_mono_ms() >= link->cut_ms) {
            atomic_fetch_add(&proxy->cuts, 1);
            end_link(link);
        }
    }
    if (fds[0].revents != 0) {
        accept_link(proxy);
    }
}

static void release_held(struct proxy *proxy)
{
    for (unsigned i = 0; i < LINKS; i++) {
        struct link *link = &proxy->links[i];
        if (link->client >= 0 && link->held != NULL) {
            (void)send_all(link->server, link->held, link->held_len); /* it may be gone */
            mem_free(link->held);
            link->held = NULL;
        }
    }
}

static void *serve(void *context)
{
    struct proxy *proxy = context;
    while (!atomic_load(&proxy->stop)) {
        if (atomic_exchange(&proxy->freeze, false)) {
            for (unsigned i = 0; i < LINKS; i++) {
                proxy->links[i].frozen = true;
            }
        }
        if (atomic_load(&proxy->release)) {
            release_held(proxy);
            atomic_store(&proxy->release, false);
        }
        pass(proxy);
    }
    return NULL;
}

struct proxy *proxy_create(uint16_t port, const char *word)
{
    struct proxy *proxy = mem_alloc(sizeof *proxy);
    struct sockaddr_in address = loopback(0);
    socklen_t len = sizeof address;
    proxy->server_port = port;
    proxy->word = word;
    for (unsigned i = 0; i < LINKS; i++) {
        proxy->links[i].client = -1;
    }
    proxy->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(proxy->listener >= 0);
    assert_int_equal(bind(proxy->listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(proxy->listener, LINKS), 0);
    assert_int_equal(getsockname(proxy->listener, (struct sockaddr *)&address, &len), 0);
    proxy->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&proxy->thread, NULL, serve, proxy), 0);
    return proxy;
}

void proxy_destroy(struct proxy *proxy)
{
    atomic_store(&proxy->stop, true);
    assert_int_equal(pthread_join(proxy->thread, NULL), 0);
    for (unsigned i = 0; i < LINKS; i++) {
        if (proxy->links[i].client >= 0) {
            end_link(&proxy->links[i]);
        }
    }
    close(proxy->listener);
    mem_free(proxy);
}

uint16_t proxy_port(const struct proxy *proxy)
{
    return proxy->port;
}

void proxy_set(struct proxy *proxy, enum proxy_mode mode)
{
    atomic_store(&proxy->mode, mode);
}

void proxy_freeze(struct proxy *proxy)
{
    atomic_store(&proxy->freeze, true);
    while (atomic_load(&proxy->freeze)) {
        (void)poll(NULL, 0, 1); /* until its thread has seen it */
    }
}

void proxy_release(struct proxy *proxy)
{
    atomic_store(&proxy->release, true);
    while (atomic_load(&proxy->release)) {
        (void)poll(NULL, 0, 1); /* until its thread has done it */
    }
}

unsigned proxy_cuts(const struct proxy *proxy)
{
    return atomic_load(&proxy->cuts);
}
