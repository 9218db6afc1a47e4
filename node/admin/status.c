#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "node/admin/admin_priv.h"
#include "node/admin/body_priv.h"
#include "node/admin/describe_priv.h"
#include "node/admin/routes_priv.h"
#include "node/config.h"
#include "node/retained.h"

/* The node itself: its status, its log levels, reading its files again. */

/* ---- status ---------------------------------------------------------------------------------- */

static void add_node_id(struct text *page, const struct config *config)
{
    char hostname[256] = "";
    bool given = config->cluster_node_id != NULL && config->cluster_node_id[0] != '\0';
    if (!given) {
        (void)gethostname(hostname, sizeof(hostname) - 1); /* unknown: empty */
    }
    describe__text(page, "node_id", slice_text(given ? config->cluster_node_id : hostname));
}

static const char *engine_name(const struct config *config)
{
    static const char *const names[] = {
#define X(constant, word) word,
        STORAGE_ENGINES(X)
#undef X
    };
    return names[config->storage_engine];
}

static void add_listeners(struct text *page, const struct config *config)
{
    text_add(page, "\"listeners\":[");
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        bool named = listener->name != NULL && listener->name[0] != '\0';
        text_add(page, i > 0 ? ",{" : "{");
        describe__text(page, "name", slice_text(named ? listener->name : listener->bind));
        text_add(page, ",");
        describe__text(page, "bind", slice_text(listener->bind));
        text_printf(page, ",\"protocol\":\"%s\",\"tls\":%s}",
                    listener->protocol == CONFIG_PROTOCOL_WS ? "ws" : "mqtt",
                    listener->tls ? "true" : "false");
    }
    text_add(page, "]");
}

static void add_count(struct text *page, const struct broker *broker, const char *key,
                      enum metric metric)
{
    text_printf(page, ",\"%s\":%" PRId64, key,
                metric_sum(broker->metrics, broker->worker_count + 1, metric));
}

static void add_health(struct text *page, const struct admin *admin)
{
    const char *why = "";
    bool ready = admin->handlers.ready(admin->handlers.context, &why);
    text_printf(page, ",\"ready\":%s,", ready ? "true" : "false");
    describe__text(page, "trouble", slice_text(ready ? "" : why));
}

void handle__status(struct request *request)
{
    const struct admin *admin = request->admin;
    const struct broker *broker = admin->broker;
    struct text *page = request__page(request);
    text_add(page, "{");
    describe__text(page, "version", slice_text(PULSE_VERSION));
    text_add(page, ",");
    add_node_id(page, broker->config);
    text_add(page, ",");
    describe__moment(page, "started_at", broker->started_mono_ms);
    text_printf(page, ",\"uptime_s\":%" PRIu64 ",\"workers\":%u",
                (clock_mono_ms() - broker->started_mono_ms) / 1000, broker->worker_count);
    add_health(page, admin);
    text_printf(page, ",\"storage_engine\":\"%s\",", engine_name(broker->config));
    add_listeners(page, broker->config);
    add_count(page, broker, "clients", METRIC_CONNECTIONS);
    add_count(page, broker, "sessions", METRIC_SESSIONS);
    add_count(page, broker, "subscriptions", METRIC_SUBSCRIPTIONS);
    add_count(page, broker, "queued", METRIC_QUEUED);
    add_count(page, broker, "queued_bytes", METRIC_QUEUED_BYTES);
    text_printf(page, ",\"retained\":%zu,\"retained_bytes\":%zu}\n",
                retained_count(broker->retained), retained_bytes(broker->retained));
}

/* ---- log levels ------------------------------------------------------------------------------ */

void handle__log(struct request *request)
{
    struct text *page = request__page(request);
    text_add(page, "{\"levels\":{");
    for (unsigned i = 0; i < LOG_AREA_COUNT; i++) {
        enum log_area area = (enum log_area)i;
        text_printf(page, "%s\"%s\":\"%s\"", i > 0 ? "," : "", log_area_name(area),
                    log_level_name(log_level_of(area)));
    }
    text_add(page, "}}\n");
}

void handle__set_log(struct request *request)
{
    static const char *const keys[] = {"filter", NULL};
    json_t *body = body__parse(request, keys);
    const char *filter = body__string(body, "filter");
    if (body != NULL && (filter == NULL || log_set_filter(filter) != ERR_OK)) {
        request__fail(request, MHD_HTTP_BAD_REQUEST, "bad_body",
                      "filter must be a level (off, error, warning, notice, info, debug), "
                      "area=level, or several of them with commas between");
    } else if (body != NULL) {
        log_notice(LOG_ADMIN, "log filter changed", log_slice("filter", slice_text(filter)));
        handle__log(request);
    }
    json_decref(body);
}

/* ---- reload ---------------------------------------------------------------------------------- */

void handle__reload(struct request *request)
{
    const struct admin_handlers *handlers = &request->admin->handlers;
    struct text error = {0};
    if (handlers->reload(handlers->context, &error) == ERR_OK) {
        request->status = MHD_HTTP_NO_CONTENT;
    } else {
        request__fail(request, MHD_HTTP_CONFLICT, "reload_failed",
                      error.len > 0 ? error.data : "see the log");
    }
    text_fini(&error);
}
