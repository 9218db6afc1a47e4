#include "node/admin/admin_priv.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/whole_file.h"
#include "node/admin/stream_priv.h"
#include "node/config.h"

#define PEM_BYTES_MAX (1024 * 1024)

/* ---- time ------------------------------------------------------------------------------------ */

static void end_patience(struct request *request)
{
    if (request->errand != NULL) {
        request->errand->request = NULL;
        request->errand = NULL;
        request__fail(request, MHD_HTTP_SERVICE_UNAVAILABLE, "unavailable",
                      "the workers did not answer in time");
    }
    request__go_on(request);
}

static void on_clock(uv_timer_t *clock)
{
    struct admin *admin = clock->data;
    uint64_t now = clock_mono_ms();
    list_foreach(item, &admin->waiting)
    {
        struct request *request = list_entry(item, struct request, waiting_link);
        if (request->due_ms <= now) {
            end_patience(request);
        }
    }
    stream__look_all(admin, now);
    if (list_empty(&admin->waiting) && list_empty(&admin->streams)) {
        uv_timer_stop(clock);
    }
}

void admin__tick(struct admin *admin)
{
    if (!uv_is_active((uv_handle_t *)&admin->clock)) {
        uv_timer_start(&admin->clock, on_clock, CLOCK_TICK_MS, CLOCK_TICK_MS);
    }
}

/* ---- start and stop -------------------------------------------------------------------------- */

static bool given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* The files of HTTPS, for as long as the endpoint starts. */
struct pem {
    struct whole_file certificate;
    struct whole_file key;
    struct whole_file client_ca;
};

static bool read_pem(const char *option, const char *path, struct whole_file *file)
{
    struct text error = {0};
    enum err err = whole_file_read(file, path, PEM_BYTES_MAX, &error);
    if (err != ERR_OK) {
        log_error(LOG_ADMIN, "file can't be read", log_text("option", option),
                  log_text("error", error.data));
    }
    text_fini(&error);
    return err == ERR_OK;
}

static bool read_all_pem(const struct config *config, struct pem *pem)
{
    return read_pem("admin.tls_certificate_chain", config->admin_tls_certificate_chain,
                    &pem->certificate) &&
           read_pem("admin.tls_private_key", config->admin_tls_private_key, &pem->key) &&
           (!given(config->admin_tls_client_ca) ||
            read_pem("admin.tls_client_ca", config->admin_tls_client_ca, &pem->client_ca));
}

static void pem_fini(struct pem *pem)
{
    whole_file_fini(&pem->certificate);
    whole_file_fini(&pem->key);
    whole_file_fini(&pem->client_ca);
}

static enum err listen_on(struct admin *admin, uv_loop_t *loop)
{
    const struct config *config = admin->broker->config;
    struct pem pem = {.certificate = {0}};
    bool https = given(config->admin_tls_certificate_chain);
    if (https && !read_all_pem(config, &pem)) {
        pem_fini(&pem);
        return ERR_INVALID;
    }
    const struct http_daemon_options options = {.bind = config->admin_bind,
                                                .area = LOG_ADMIN,
                                                .context = admin,
                                                .answer = admin__on_request,
                                                .answered = admin__on_completed,
                                                .target = admin__on_target,
                                                .header_bytes_max = 65536,
                                                .certificate = (const char *)pem.certificate.data,
                                                .key = (const char *)pem.key.data,
                                                .client_ca = (const char *)pem.client_ca.data};
    enum err err = http_daemon_start(loop, &options, &admin->http);
    pem_fini(&pem);
    return err;
}

static enum err load_access(struct admin *admin)
{
    struct text error = {0};
    enum err err = access__load(&admin->access, admin->broker->config, &error);
    if (err != ERR_OK) {
        log_error(LOG_ADMIN, "the API can't start", log_text("why", error.data));
    }
    text_fini(&error);
    return err;
}

enum err admin_start(uv_loop_t *loop, struct broker *broker, const struct admin_handlers *handlers,
                     struct admin **out)
{
    struct admin *admin = mem_alloc(sizeof(*admin));
    admin->broker = broker;
    admin->handlers = *handlers;
    list_init(&admin->waiting);
    list_init(&admin->streams);
    enum err err = load_access(admin);
    err = err == ERR_OK ? listen_on(admin, loop) : err;
    if (err != ERR_OK) {
        mem_free(admin);
        return err;
    }
    admin->inspector = inspect_start(loop, broker);
    uv_timer_init(loop, &admin->clock);
    admin->clock.data = admin;
    uv_async_init(loop, &admin->bell, stream__on_bell);
    admin->bell.data = admin;
    admin->open_handles = 2;
    *out = admin;
    return ERR_OK;
}

enum err admin_reload(struct admin *admin, struct text *error)
{
    return access__load(&admin->access, admin->broker->config, error);
}

uint16_t admin_port(const struct admin *admin)
{
    return http_daemon_port(admin->http);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct admin *admin = handle->data;
    admin->open_handles--;
    if (admin->open_handles == 0) {
        mem_free(admin);
    }
}

void admin_stop(struct admin *admin)
{
    if (admin == NULL) {
        return;
    }
    http_daemon_stop(admin->http); /* ends all requests, and traces with them */
    inspect_stop(admin->inspector);
    uv_close((uv_handle_t *)&admin->clock, on_handle_closed);
    uv_close((uv_handle_t *)&admin->bell, on_handle_closed);
}
