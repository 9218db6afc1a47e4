#include "node/http.h"

#include "base/mem.h"
#include "node/http_daemon.h"
#include "node/http_routes_priv.h"

struct http_server {
    struct http_daemon *daemon;
    struct http_handlers handlers;
};

enum err http_start(uv_loop_t *loop, const char *bind, const struct http_handlers *handlers,
                    struct http_server **out)
{
    struct http_server *server = mem_alloc(sizeof(*server));
    server->handlers = *handlers;
    const struct http_daemon_options options = {.bind = bind,
                                                .area = LOG_HTTP,
                                                .context = &server->handlers,
                                                .answer = http__answer,
                                                .answered = http__answered};
    enum err err = http_daemon_start(loop, &options, &server->daemon);
    if (err != ERR_OK) {
        mem_free(server);
        return err;
    }
    *out = server;
    return ERR_OK;
}

uint16_t http_port(const struct http_server *server)
{
    return http_daemon_port(server->daemon);
}

void http_set_lifetime(struct http_server *server, uint64_t lifetime_ms)
{
    http_daemon_set_lifetime(server->daemon, lifetime_ms);
}

void http_stop(struct http_server *server)
{
    if (server != NULL) {
        http_daemon_stop(server->daemon); /* its last callback comes in there */
        mem_free(server);
    }
}
