#include "node/admin/stream_priv.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "node/admin/admin_priv.h"
#include "node/admin/routes_priv.h"
#include "node/inspect_time.h"
#include "node/trace.h"

/* GET /api/v1/clients/{client_id}/trace */

#define SECONDS 60
#define SECONDS_MAX 3600
#define BLOCK_BYTES 16384
/* For the last lines to be written. */
#define LAST_WORDS_MS 10000

/*
 * Invariants:
 *   a trace that was installed is removed by a question that takes its reference; that is sent
 *   when its stream ends, or at once when nobody waited for it any more;
 *   admin.stream_count == streams + errands that may become one.
 */
struct stream {
    struct list link;
    struct admin *admin;
    struct MHD_Connection *connection;
    struct trace *trace;
    struct text ready; /* of which `sent` bytes are gone */
    size_t sent;
    uint64_t until_ms;
    uint64_t dropped; /* that the client was told of */
    bool over;        /* nothing more is added to `ready` */
    bool broken;      /* its client is gone */
};

/* ---- removing a trace ------------------------------------------------------------------------ */

struct removal {
    struct question question;
    struct trace *trace;
};

static enum question_next removal_visit(struct question *question, struct worker *worker)
{
    struct removal *removal = container_of(question, struct removal, question);
    trace_remove(worker, removal->trace);
    return QUESTION_HOME;
}

static void removal_home(struct question *question)
{
    struct removal *removal = container_of(question, struct removal, question);
    trace_unref(removal->trace);
    mem_free(removal);
}

/* Takes the reference on `trace`. */
static void remove_trace(struct inspector *inspector, struct trace *trace, unsigned worker)
{
    struct removal *removal = mem_alloc(sizeof(*removal));
    removal->trace = trace;
    removal->question.visit = removal_visit;
    removal->question.home = removal_home;
    trace_close(trace);
    inspect_ask(inspector, &removal->question, worker);
}

/* ---- reading --------------------------------------------------------------------------------- */

static void add_event(struct text *out, const char *event, const char *key, uint64_t number)
{
    text_add(out, "{\"time\":\"");
    inspect_time_add(out, clock_wall_ms());
    text_printf(out, "\",\"event\":\"%s\",\"%s\":%" PRIu64 "}\n", event, key, number);
}

/* Takes what the trace has, unless there is something to be sent still. */
static void fill(struct stream *stream)
{
    if (stream->sent < stream->ready.len || stream->over) {
        return;
    }
    text_fini(&stream->ready);
    stream->sent = 0;
    (void)trace_take(stream->trace, &stream->ready); /* nothing new is fine */
    uint64_t dropped = trace_dropped(stream->trace);
    if (dropped > stream->dropped) {
        add_event(&stream->ready, "dropped", "lines", dropped - stream->dropped);
        stream->dropped = dropped;
    }
    if (clock_mono_ms() >= stream->until_ms) {
        add_event(&stream->ready, "end", "dropped", dropped);
        stream->over = true;
    }
}

/* An MHD_ContentReaderCallback. */
static ssize_t on_read(void *context, uint64_t position, char *out, size_t size)
{
    struct stream *stream = context;
    (void)position;
    fill(stream);
    size_t left = stream->ready.len - stream->sent;
    if (stream->broken) {
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    if (left > 0) {
        size_t len = left < size ? left : size;
        memcpy(out, stream->ready.data + stream->sent, len);
        stream->sent += len;
        return (ssize_t)len;
    }
    if (stream->over) {
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
    return http_daemon_suspend(stream->connection) ? 0 : MHD_CONTENT_READER_END_WITH_ERROR;
}

/* The response is gone, and the stream with it. */
static void on_end(void *context)
{
    struct stream *stream = context;
    struct admin *admin = stream->admin;
    struct slice client_id = trace_client_id(stream->trace);
    log_notice(LOG_TRACE, "trace ended", log_slice("client_id", client_id));
    remove_trace(admin->inspector, stream->trace, broker_worker_of(admin->broker, client_id));
    admin->stream_count--;
    list_remove(&stream->link);
    text_fini(&stream->ready);
    mem_free(stream);
}

void stream__on_bell(uv_async_t *bell)
{
    struct admin *admin = bell->data;
    list_foreach(item, &admin->streams)
    {
        http_daemon_resume(list_entry(item, struct stream, link)->connection);
    }
}

void stream__look_all(struct admin *admin, uint64_t now_ms)
{
    list_foreach(item, &admin->streams)
    {
        struct stream *stream = list_entry(item, struct stream, link);
        stream->broken = http_daemon_peer_left(stream->connection);
        if (stream->broken || stream->until_ms <= now_ms) {
            http_daemon_resume(stream->connection);
        }
    }
}

/* ---- starting -------------------------------------------------------------------------------- */

struct beginning {
    struct errand errand;
    struct admin *admin;
    struct trace *trace; /* NULL: it went on to the stream */
    uint64_t seconds;
    enum err err; /* of installing it */
    bool installed;
};

static void beginning_destroy(struct errand *errand)
{
    struct beginning *own = container_of(errand, struct beginning, errand);
    struct inspector *inspector = errand->question.inspector;
    if (own->trace != NULL) { /* it became no stream */
        if (!inspect_is_stopped(inspector)) {
            own->admin->stream_count--;
        }
        if (own->installed) {
            remove_trace(inspector, own->trace, errand->question.worker);
        } else {
            trace_unref(own->trace);
        }
    }
    mem_free(own);
}

static enum question_next beginning_visit(struct question *question, struct worker *worker)
{
    struct beginning *own = container_of(question, struct beginning, errand.question);
    /* Not on one that stops: nobody could remove it any more. */
    own->err = worker->stopping ? ERR_STOPPED : trace_install(worker, own->trace);
    own->installed = own->err == ERR_OK;
    return QUESTION_HOME;
}

/* Gives the response that reads from a new stream, which takes the trace. NULL: no memory. */
static struct MHD_Response *stream_create(struct beginning *own, struct request *request)
{
    struct stream *stream = mem_alloc(sizeof(*stream));
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, on_read, stream, on_end);
    if (response == NULL) {
        mem_free(stream);
        return NULL;
    }
    stream->admin = own->admin;
    stream->connection = request->connection;
    stream->trace = own->trace;
    stream->until_ms = clock_mono_ms() + own->seconds * 1000;
    list_append(&own->admin->streams, &stream->link);
    own->trace = NULL;
    return response;
}

static void beginning_reply(struct errand *errand, struct request *request)
{
    struct beginning *own = container_of(errand, struct beginning, errand);
    if (own->err == ERR_EXISTS) {
        request__fail(request, MHD_HTTP_CONFLICT, "conflict", "this client is traced already");
    } else if (own->err != ERR_OK) {
        request__fail(request, MHD_HTTP_SERVICE_UNAVAILABLE, "unavailable", err_text(own->err));
    } else {
        request->stream = stream_create(own, request);
        if (request->stream == NULL) {
            request__fail(request, MHD_HTTP_SERVICE_UNAVAILABLE, "unavailable", "out of memory");
            return;
        }
        request->status = MHD_HTTP_OK;
        http_daemon_hold(request->connection, own->seconds * 1000 + LAST_WORDS_MS);
        log_notice(LOG_TRACE, "trace begins", log_slice("client_id", request->variable),
                   log_uint("seconds", own->seconds));
        admin__tick(request->admin);
    }
}

void handle__trace(struct request *request)
{
    struct admin *admin = request->admin;
    uint64_t seconds = SECONDS;
    if (!request__number(request, "seconds", 1, SECONDS_MAX, SECONDS, &seconds)) {
        return;
    }
    if (admin->stream_count >= TRACES_MAX) {
        request__fail(request, MHD_HTTP_TOO_MANY_REQUESTS, "too_many",
                      "as many traces run as may run at the same time");
        return;
    }
    struct beginning *own = mem_alloc(sizeof(*own));
    own->errand.reply = beginning_reply;
    own->errand.destroy = beginning_destroy;
    own->admin = admin;
    own->seconds = seconds;
    own->trace = trace_create(request->variable, &admin->bell);
    admin->stream_count++;
    errand__send(&own->errand, request, beginning_visit,
                 broker_worker_of(admin->broker, request->variable));
}
