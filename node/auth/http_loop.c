#include "base/mem.h"
#include "node/auth/http_priv.h"

/* One socket that curl wants to be watched. */
struct watcher {
    uv_poll_t poll;
    struct http_client *client;
    struct list link; /* in http_client.sockets; in no list: closing */
    curl_socket_t socket;
};

/* ---- handles --------------------------------------------------------------------------------- */

static void handle_closed(struct http_client *client)
{
    client->handle_count--;
    if (client->stopped && client->handle_count == 0) {
        http__client_free(client);
    }
}

static void watcher_closed(uv_handle_t *handle)
{
    struct watcher *watcher = handle->data;
    struct http_client *client = watcher->client;
    mem_free(watcher);
    handle_closed(client);
}

/* curl closes the socket as soon as we return, so the loop must not know it any more then. */
static void watcher_close(struct watcher *watcher)
{
    list_remove(&watcher->link);
    (void)uv_poll_stop(&watcher->poll); /* fails never */
    uv_close((uv_handle_t *)&watcher->poll, watcher_closed);
}

static void timer_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

/* ---- what the loop says ---------------------------------------------------------------------- */

static void act(struct http_client *client, curl_socket_t socket, int events)
{
    int running = 0;
    /* what went wrong with a transfer, its own result says */
    (void)curl_multi_socket_action(client->multi, socket, events, &running);
    http__client_take(client);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct watcher *watcher = poll->data;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;
    flags |= (events & UV_READABLE) != 0 ? CURL_CSELECT_IN : 0;
    flags |= (events & UV_WRITABLE) != 0 ? CURL_CSELECT_OUT : 0;
    act(watcher->client, watcher->socket, flags);
}

static void on_timer(uv_timer_t *timer)
{
    act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

/* ---- what curl wants ------------------------------------------------------------------------- */

static struct watcher *watcher_create(struct http_client *client, curl_socket_t socket)
{
    struct watcher *watcher = mem_alloc(sizeof(*watcher));
    if (uv_poll_init_socket(client->loop, &watcher->poll, socket) != 0) {
        mem_free(watcher);
        return NULL;
    }
    client->handle_count++;
    watcher->poll.data = watcher;
    watcher->client = client;
    watcher->socket = socket;
    list_init(&watcher->link);
    list_append(&client->sockets, &watcher->link);
    return watcher;
}

/* -1 ends all transfers with an error. */
static int watch(struct http_client *client, struct watcher *watcher, curl_socket_t socket,
                 int what)
{
    if (watcher == NULL) {
        watcher = watcher_create(client, socket);
        if (watcher == NULL || curl_multi_assign(client->multi, socket, watcher) != CURLM_OK) {
            return -1;
        }
    }
    int events = (what & CURL_POLL_IN) != 0 ? UV_READABLE : 0;
    events |= (what & CURL_POLL_OUT) != 0 ? UV_WRITABLE : 0;
    return uv_poll_start(&watcher->poll, events, on_ready) == 0 ? 0 : -1;
}

static int on_socket_wanted(CURL *easy, curl_socket_t socket, int what, void *user, void *data)
{
    (void)easy;
    struct watcher *watcher = data;
    if (what != CURL_POLL_REMOVE) {
        return watch(user, watcher, socket, what);
    }
    if (watcher != NULL) {
        watcher_close(watcher);
    }
    return 0;
}

/* Never calls curl from here: it is not done yet. */
static int on_timer_wanted(CURLM *multi, long timeout_ms, void *user)
{
    (void)multi;
    struct http_client *client = user;
    int result = timeout_ms < 0 ? uv_timer_stop(&client->timer)
                                : uv_timer_start(&client->timer, on_timer, (uint64_t)timeout_ms, 0);
    return result == 0 ? 0 : -1;
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool set_options(struct http_client *client)
{
    CURLM *multi = client->multi;
    return curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted) == CURLM_OK &&
           curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, client) == CURLM_OK &&
           curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted) == CURLM_OK &&
           curl_multi_setopt(multi, CURLMOPT_TIMERDATA, client) == CURLM_OK &&
           curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)HTTP_CALLS_MAX) == CURLM_OK;
}

enum err http__loop_start(struct http_client *client, uv_loop_t *loop)
{
    client->loop = loop;
    client->multi = curl_multi_init();
    if (client->multi == NULL || !set_options(client) || uv_timer_init(loop, &client->timer) != 0) {
        (void)curl_multi_cleanup(client->multi); /* nothing runs */
        client->multi = NULL;
        return ERR_MEMORY;
    }
    client->timer.data = client;
    client->handle_count++;
    return ERR_OK;
}

void http__loop_stop(struct http_client *client)
{
    client->stopped = true;
    if (client->multi == NULL) {
        http__client_free(client);
        return;
    }
    (void)curl_multi_cleanup(client->multi); /* no transfer is under way */
    list_foreach(item, &client->sockets)
    {
        watcher_close(list_entry(item, struct watcher, link));
    }
    uv_close((uv_handle_t *)&client->timer, timer_closed);
}
