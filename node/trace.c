#include "node/trace.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "base/mailbox.h"
#include "base/mem.h"
#include "node/conn.h"
#include "node/inspect_time.h"
#include "node/session.h"
#include "node/trace_line_priv.h"
#include "node/worker.h"

/*
 * Invariants:
 *   the worker's reference is held exactly while the trace is in worker->traces;
 *   conn->trace is the trace in worker->traces that has the client id of its session, or NULL.
 */
struct trace {
    _Atomic uint32_t refs;
    uv_async_t *bell;
    struct mailbox lines;
    _Atomic uint32_t line_count; /* in the mailbox */
    _Atomic size_t line_bytes;
    _Atomic uint64_t dropped;
    _Atomic bool closed;
    size_t client_id_len;
    uint8_t client_id[];
};

struct line {
    struct letter letter;
    struct text text;
};

/* ---- main ------------------------------------------------------------------------------------ */

struct trace *trace_create(struct slice client_id, uv_async_t *bell)
{
    struct trace *trace = mem_alloc(sizeof(*trace) + client_id.len);
    atomic_store_explicit(&trace->refs, 1, memory_order_relaxed);
    trace->bell = bell;
    trace->client_id_len = client_id.len;
    memcpy(trace->client_id, client_id.data, client_id.len);
    return trace;
}

struct slice trace_client_id(const struct trace *trace)
{
    return slice_of(trace->client_id, trace->client_id_len);
}

bool trace_take(struct trace *trace, struct text *out)
{
    struct letter *letter = mailbox_take(&trace->lines);
    bool any = letter != NULL;
    while (letter != NULL) {
        struct line *line = container_of(letter, struct line, letter);
        letter = letter->next;
        text_add_bytes(out, line->text.data, line->text.len);
        atomic_fetch_sub_explicit(&trace->line_count, 1, memory_order_relaxed);
        atomic_fetch_sub_explicit(&trace->line_bytes, line->text.len, memory_order_relaxed);
        text_fini(&line->text);
        mem_free(line);
    }
    return any;
}

uint64_t trace_dropped(const struct trace *trace)
{
    return atomic_load_explicit(&trace->dropped, memory_order_relaxed);
}

void trace_close(struct trace *trace)
{
    atomic_store_explicit(&trace->closed, true, memory_order_release);
}

void trace_unref(struct trace *trace)
{
    if (atomic_fetch_sub_explicit(&trace->refs, 1, memory_order_acq_rel) == 1) {
        struct text rest = {0};
        (void)trace_take(trace, &rest); /* nobody reads it any more */
        text_fini(&rest);
        mem_free(trace);
    }
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* Takes `text`. */
static void push(struct trace *trace, struct text text)
{
    struct line *line = mem_alloc(sizeof(*line));
    line->text = text;
    atomic_fetch_add_explicit(&trace->line_count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&trace->line_bytes, text.len, memory_order_relaxed);
    if (mailbox_push(&trace->lines, &line->letter)) {
        uv_async_send(trace->bell);
    }
}

/* Whether another line may wait; else it counts as dropped. */
static bool has_room(struct trace *trace)
{
    if (atomic_load_explicit(&trace->closed, memory_order_acquire)) {
        return false;
    }
    if (atomic_load_explicit(&trace->line_count, memory_order_relaxed) < TRACE_LINES_MAX &&
        atomic_load_explicit(&trace->line_bytes, memory_order_relaxed) < TRACE_BYTES_MAX) {
        return true;
    }
    atomic_fetch_add_explicit(&trace->dropped, 1, memory_order_relaxed);
    return false;
}

static struct text begin_line(void)
{
    struct text line = {0};
    text_add(&line, "{\"time\":\"");
    inspect_time_add(&line, clock_wall_ms());
    text_add(&line, "\"");
    return line;
}

static void end_line(struct trace *trace, struct text *line)
{
    text_add(line, "}\n");
    push(trace, *line);
}

void trace_packet(const struct conn *conn, enum trace_direction direction, struct slice bytes)
{
    struct trace *trace = conn->trace;
    if (!has_room(trace)) {
        return;
    }
    struct text line = begin_line();
    text_printf(&line, ",\"direction\":\"%s\"", direction == TRACE_IN ? "in" : "out");
    trace__describe(&line, bytes, (enum mqtt_version)conn->version);
    end_line(trace, &line);
}

static void say_online(const struct conn *conn)
{
    char peer[128];
    if (!has_room(conn->trace)) {
        return;
    }
    struct text line = begin_line();
    text_printf(&line, ",\"event\":\"online\",\"protocol_level\":%u,\"keep_alive_s\":%u",
                conn->version, conn_keep_alive_s(conn));
    text_add(&line, ",\"address\":\"");
    text_add_json(&line, slice_text(conn_peer(conn, peer, sizeof(peer))));
    text_add(&line, "\"");
    end_line(conn->trace, &line);
}

static void say_event(struct trace *trace, const char *event, const struct conn *conn)
{
    if (!has_room(trace)) {
        return;
    }
    struct text line = begin_line();
    text_printf(&line, ",\"event\":\"%s\"", event);
    if (conn != NULL) {
        const char *cause = strchr(metric_info(conn->close_metric)->labels, '"');
        text_printf(&line, ",\"cause\":\"%.*s\",\"reason\":\"0x%02x %s\"",
                    cause != NULL ? (int)strcspn(cause + 1, "\"") : 0,
                    cause != NULL ? cause + 1 : "", conn->close_reason,
                    mqtt_reason_name(conn->close_reason));
    }
    end_line(trace, &line);
}

/* ---- its worker ------------------------------------------------------------------------------ */

static struct session *find_session(struct worker *worker, const struct trace *trace)
{
    return session_table_find(&worker->sessions, trace_client_id(trace));
}

static struct trace *find_trace(struct worker *worker, struct slice client_id)
{
    for (unsigned i = 0; i < TRACES_MAX; i++) {
        struct trace *trace = worker->traces[i];
        if (trace != NULL && slice_equal(trace_client_id(trace), client_id)) {
            return trace;
        }
    }
    return NULL;
}

static struct trace **find_place(struct worker *worker, const struct trace *trace)
{
    for (unsigned i = 0; i < TRACES_MAX; i++) {
        if (worker->traces[i] == trace) {
            return &worker->traces[i];
        }
    }
    return NULL;
}

enum err trace_install(struct worker *worker, struct trace *trace)
{
    if (find_trace(worker, trace_client_id(trace)) != NULL) {
        return ERR_EXISTS;
    }
    struct trace **place = find_place(worker, NULL);
    if (place == NULL) {
        return ERR_FULL;
    }
    atomic_fetch_add_explicit(&trace->refs, 1, memory_order_relaxed);
    *place = trace;
    struct session *session = find_session(worker, trace);
    if (session != NULL && conn_online(session->conn)) {
        trace_attach(session->conn);
    } else {
        say_event(trace, "offline", NULL);
    }
    return ERR_OK;
}

void trace_remove(struct worker *worker, struct trace *trace)
{
    struct trace **place = find_place(worker, trace);
    if (place == NULL) {
        return;
    }
    struct session *session = find_session(worker, trace);
    if (session != NULL && session->conn != NULL) {
        session->conn->trace = NULL;
    }
    *place = NULL;
    trace_unref(trace);
}

void trace_attach(struct conn *conn)
{
    conn->trace = find_trace(conn->worker, session_client_id(conn->session));
    if (conn->trace != NULL) {
        say_online(conn);
    }
}

void trace_detach(struct conn *conn)
{
    if (conn->trace != NULL) {
        say_event(conn->trace, "offline", conn);
        conn->trace = NULL;
    }
}
