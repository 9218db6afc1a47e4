#include "node/layers.h"

#include "base/log.h"
#include "base/mem.h"
#include "node/conn.h"
#include "node/listener.h"
#include "node/transport.h"
#include "node/worker.h"

/* What is encoded ahead of the socket, about; and at once, at most. */
#define WIRE_MAX 65536
#define ENCODE_BUFS 64
/* How much larger than the largest packet a WebSocket frame may be. */
#define FRAME_SLACK (1024 * 1024)
/* A worker's time for handshakes in one iteration: others wait no longer than this and one more
 * handshake. */
#define HANDSHAKE_BUDGET_NS 500000

struct layers *layers_create(const struct listening *listening, bool *failed)
{
    const struct config_listener *config = listening->listener->config;
    bool websocket = config->protocol == CONFIG_PROTOCOL_WS;
    *failed = false;
    if (listening->tls == NULL && !websocket && config->proxy_protocol == PROXY_OFF) {
        return NULL;
    }
    *failed = true;
    struct layers *layers = mem_try_alloc(sizeof(*layers));
    if (layers == NULL) {
        return NULL;
    }
    *layers = (struct layers){.proxy_mode = (uint8_t)config->proxy_protocol,
                              .websocket = websocket,
                              .ws_close = WS_CLOSE_NORMAL};
    if (listening->tls != NULL) {
        layers->tls = tls_stream_create(listening->tls);
        if (layers->tls == NULL) {
            mem_free(layers);
            return NULL;
        }
    }
    *failed = false;
    return layers;
}

void layers_destroy(struct layers *layers, struct out_pool *pool)
{
    if (layers == NULL) {
        return;
    }
    outbuf_clear(&layers->wire, pool);
    tls_stream_destroy(layers->tls);
    mem_free(layers->source);
    mem_free(layers->early);
    mem_free(layers);
}

/* ---- output ---------------------------------------------------------------------------------- */

static void no_memory(struct conn *conn)
{
    conn_close(conn, METRIC_CLOSED_LIMIT, MQTT_REASON_QUOTA_EXCEEDED, false);
}

/* A tls_sink, and where unencrypted bytes go too. */
static void to_wire(void *user, struct slice bytes)
{
    struct conn *conn = user;
    if (outbuf_append(&conn->layers->wire, &conn->worker->pool, bytes) != ERR_OK) {
        no_memory(conn);
    }
}

/* Sends bytes through the layers below WebSocket. */
static void send_below(struct conn *conn, struct slice bytes)
{
    struct layers *layers = conn->layers;
    if (layers->tls == NULL) {
        to_wire(conn, bytes);
    } else if (tls_stream_write(layers->tls, bytes, to_wire, conn) != ERR_OK) {
        no_memory(conn);
    }
}

/* Encrypts what was coalesced as a whole: a copy is cheaper than a record for each chunk. */
static void encode_joined(struct conn *conn, const uv_buf_t *bufs, unsigned count, size_t len)
{
    uint8_t *buffer = conn->worker->layer_buffer;
    uint8_t *at = buffer;
    if (conn->layers->websocket) {
        at += ws_write_header(buffer, len);
    }
    for (unsigned i = 0; i < count; i++) {
        memcpy(at, bufs[i].base, bufs[i].len);
        at += bufs[i].len;
    }
    send_below(conn, slice_of(buffer, (size_t)(at - buffer)));
}

static void encode_framed(struct conn *conn, const uv_buf_t *bufs, unsigned count, size_t len)
{
    uint8_t header[WS_HEADER_MAX];
    to_wire(conn, slice_of(header, ws_write_header(header, len)));
    for (unsigned i = 0; i < count; i++) {
        to_wire(conn, slice_of(bufs[i].base, bufs[i].len));
    }
}

/* One WebSocket message, or one run of TLS records, of what waits. */
static void encode_some(struct conn *conn)
{
    uv_buf_t bufs[ENCODE_BUFS];
    unsigned count = outbuf_peek(&conn->out, bufs, ENCODE_BUFS, WIRE_MAX);
    size_t len = 0;
    for (unsigned i = 0; i < count; i++) {
        size_t room = WIRE_MAX - len; /* the last one may be larger than is wanted */
        bufs[i].len = bufs[i].len < room ? bufs[i].len : room;
        len += bufs[i].len;
    }
    if (conn->layers->tls != NULL) {
        encode_joined(conn, bufs, count, len);
    } else if (conn->layers->websocket) {
        encode_framed(conn, bufs, count, len);
    } else {
        for (unsigned i = 0; i < count; i++) {
            to_wire(conn, slice_of(bufs[i].base, bufs[i].len));
        }
    }
    transport_took(conn, len);
}

static bool is_open(const struct layers *layers)
{
    return !layers->said_farewell && (layers->tls == NULL || layers->secured) &&
           (!layers->websocket || layers->upgraded);
}

static void say_farewell(struct conn *conn)
{
    struct layers *layers = conn->layers;
    layers->said_farewell = true;
    if (layers->websocket && layers->upgraded) {
        uint8_t frame[WS_HEADER_MAX + WS_CONTROL_MAX];
        bool stopping = conn->close_metric == METRIC_CLOSED_SHUTDOWN;
        uint16_t code = stopping ? WS_CLOSE_GOING_AWAY : layers->ws_close;
        send_below(conn, slice_of(frame, ws_write_close(frame, code)));
    }
    if (layers->tls != NULL && layers->secured) {
        tls_stream_shutdown(layers->tls, to_wire, conn);
    }
}

struct outbuf *layers_output(struct conn *conn)
{
    struct layers *layers = conn->layers;
    if (!is_open(layers)) { /* nobody could read it */
        outbuf_clear(&conn->out, &conn->worker->pool);
    } else if (conn->out.len > 0 && layers->wire.len < WIRE_MAX) {
        encode_some(conn);
    }
    if (conn->state == CONN_LINGER && conn->out.len == 0 && !layers->said_farewell) {
        say_farewell(conn);
    }
    return &layers->wire;
}

bool layers_drained(const struct conn *conn)
{
    const struct layers *layers = conn->layers;
    return conn->out.len == 0 && layers->wire.len == 0 &&
           (layers->said_farewell || !is_open(layers));
}

/* The peer's side is over, for good or ill; where the connection goes to, too, if it moves. */
static void ended(struct conn *conn, enum metric metric, enum mqtt_reason reason)
{
    conn->layers->ended = true;
    conn_close(conn, metric, reason, false);
}

void layers_moved(struct conn *conn)
{
    if (conn->layers->ended) {
        conn_close(conn, METRIC_CLOSED_PEER, MQTT_REASON_UNSPECIFIED_ERROR, false);
    }
}

/* ---- WebSocket ------------------------------------------------------------------------------- */

static void websocket_failed(struct conn *conn, uint16_t code, const char *why)
{
    char peer[CONN_PEER_SIZE];
    log_debug(LOG_CONN, "WebSocket error", log_text("why", why), log_uint("close_code", code),
              log_text("peer", conn_peer(conn, peer, sizeof(peer))));
    conn->layers->ws_close = code;
    ended(conn, METRIC_CLOSED_WEBSOCKET, MQTT_REASON_PROTOCOL_ERROR);
}

/* Who sends pings and does not read what it gets has no answer to each (RFC 6455 section 5.5.3). */
static void answer_ping(struct conn *conn, struct slice data)
{
    uint8_t frame[WS_HEADER_MAX + WS_CONTROL_MAX];
    if (conn->layers->wire.len < WIRE_MAX) {
        send_below(conn, slice_of(frame, ws_write_pong(frame, data)));
        conn_dirty(conn);
    }
}

/* The peer has sent a close frame: it gets one back, and nobody was told good-bye by MQTT. */
static void peer_closed(struct conn *conn)
{
    conn->layers->ws_close = conn->layers->reader.close_code;
    transport_flush(conn); /* answers to what came before it: no data frame may follow ours */
    say_farewell(conn);
    transport_flush(conn);
    ended(conn, METRIC_CLOSED_PEER, MQTT_REASON_UNSPECIFIED_ERROR);
}

/* False: nothing more is to be read. */
static bool on_frame(struct conn *conn, enum ws_event event, struct slice data)
{
    switch (event) {
    case WS_DATA:
        conn_input(conn, data);
        return true;
    case WS_PING:
        answer_ping(conn, data);
        return true;
    case WS_PONG:
        return true;
    case WS_CLOSED:
        peer_closed(conn);
        return false;
    case WS_ERROR:
        websocket_failed(conn, conn->layers->reader.close_code, conn->layers->reader.why);
        return false;
    case WS_MORE:
        return false;
    }
    return false;
}

/* What a connection that moves has read goes with it. */
static bool reads_on(const struct conn *conn)
{
    return !conn->closing || conn->moving;
}

static void read_frames(struct conn *conn, uint8_t *bytes, size_t len)
{
    /* A frame may hold many packets: nothing of it is kept before they are whole. */
    uint64_t max = conn->worker->config->limits_server_maximum_packet_size + FRAME_SLACK;
    struct slice data = slice_of(NULL, 0);
    enum ws_event event = WS_DATA;
    do {
        event = ws_read(&conn->layers->reader, &bytes, &len, max, &data);
    } while (on_frame(conn, event, data) && reads_on(conn));
}

/* ---- input that has to be whole: the PROXY header, the WebSocket request --------------------- */

/* Keeps as much of the input as fits below `max` behind what is there; how much that was. */
static size_t gather(struct conn *conn, const uint8_t *bytes, size_t len, size_t max)
{
    struct layers *layers = conn->layers;
    size_t part = max - layers->early_len < len ? max - layers->early_len : len;
    uint8_t *grown = mem_try_resize(layers->early, layers->early_len + part);
    if (grown == NULL) {
        no_memory(conn);
        return 0;
    }
    memcpy(grown + layers->early_len, bytes, part);
    layers->early = grown;
    layers->early_len += (uint32_t)part;
    return part;
}

/* Hands what was gathered, from `used` on, and the input behind it to the next layer. */
static void pass_on(struct conn *conn, size_t used, uint8_t *bytes, size_t len,
                    void (*next)(struct conn *conn, uint8_t *bytes, size_t len))
{
    uint8_t *early = conn->layers->early;
    size_t early_len = conn->layers->early_len;
    conn->layers->early = NULL;
    conn->layers->early_len = 0;
    if (used < early_len && reads_on(conn)) {
        next(conn, early + used, early_len - used);
    }
    mem_free(early);
    if (len > 0 && reads_on(conn)) {
        next(conn, bytes, len);
    }
}

static void upgrade(struct conn *conn, uint8_t *bytes, size_t len)
{
    struct layers *layers = conn->layers;
    size_t taken = gather(conn, bytes, len, WS_REQUEST_MAX + 1);
    char response[WS_RESPONSE_MAX];
    size_t response_len = 0;
    size_t used = 0;
    const char *why = NULL;
    struct slice request = slice_of(layers->early, layers->early_len);
    switch (ws_handshake(request, &conn->listener->ws, &used, response, &response_len, &why)) {
    case WS_HANDSHAKE_MORE:
        return;
    case WS_HANDSHAKE_REFUSED:
        send_below(conn, slice_of(response, response_len));
        websocket_failed(conn, WS_CLOSE_PROTOCOL, why);
        return;
    case WS_HANDSHAKE_DONE:
        layers->upgraded = true;
        metric_add(&conn->worker->metrics, METRIC_WEBSOCKETS_TOTAL, 1);
        send_below(conn, slice_of(response, response_len));
        conn_dirty(conn);
        pass_on(conn, used, bytes + taken, len - taken, read_frames);
    }
}

static void input_plain(struct conn *conn, uint8_t *bytes, size_t len)
{
    if (!conn->layers->websocket) {
        conn_input(conn, slice_of(bytes, len));
    } else if (conn->layers->upgraded) {
        read_frames(conn, bytes, len);
    } else {
        upgrade(conn, bytes, len);
    }
}

/* ---- TLS ------------------------------------------------------------------------------------- */

static void secured(struct conn *conn)
{
    struct layers *layers = conn->layers;
    bool resumed = tls_stream_resumed(layers->tls);
    layers->secured = true;
    metric_add(&conn->worker->metrics,
               resumed ? METRIC_TLS_HANDSHAKES_RESUMED : METRIC_TLS_HANDSHAKES_FULL, 1);
    log_debug(LOG_TLS, "handshake done", log_text("version", tls_stream_version(layers->tls)),
              log_text("cipher", tls_stream_cipher(layers->tls)), log_uint("resumed", resumed));
}

static void tls_failed(struct conn *conn)
{
    char peer[CONN_PEER_SIZE];
    metric_add(&conn->worker->metrics, METRIC_TLS_FAILURES, 1);
    log_debug(LOG_TLS, "TLS failed", log_text("why", tls_stream_error(conn->layers->tls)),
              log_slice("certificate", tls_stream_refused(conn->layers->tls)),
              log_text("peer", conn_peer(conn, peer, sizeof(peer))));
    conn->layers->secured = false; /* nothing more is encrypted */
    ended(conn, METRIC_CLOSED_TLS, MQTT_REASON_PROTOCOL_ERROR);
}

static void decrypt(struct conn *conn, uint8_t *bytes, size_t len)
{
    struct layers *layers = conn->layers;
    struct slice wire = slice_of(bytes, len);
    uint8_t *plain = conn->worker->plain_buffer;
    enum tls_status status = TLS_DATA;
    while (status == TLS_DATA && reads_on(conn)) {
        size_t got = 0;
        status =
            tls_stream_read(layers->tls, &wire, plain, WORKER_READ_BUFFER, &got, to_wire, conn);
        if (!layers->secured && tls_stream_ready(layers->tls)) {
            secured(conn);
        }
        if (got > 0) {
            input_plain(conn, plain, got);
        }
    }
    if (status == TLS_FAILED) {
        tls_failed(conn);
    } else if (status == TLS_CLOSED && (conn->moving || conn_login_wants_rest(conn))) {
        transport_read_stop(conn); /* the socket's end follows */
    } else if (status == TLS_CLOSED) {
        ended(conn, METRIC_CLOSED_PEER, MQTT_REASON_UNSPECIFIED_ERROR);
    }
    if (layers->wire.len > 0) {
        conn_dirty(conn);
    }
}

/* The time of this iteration is used up: it goes on in the next one, and nothing is read before. */
static void wait_for_turn(struct conn *conn, const uint8_t *bytes, size_t len)
{
    transport_read_stop(conn);
    if (gather(conn, bytes, len, UINT32_MAX) < len) {
        return;
    }
    conn->layers->handshake_due = true;
    list_remove(&conn->pending_link);
    list_append(&conn->worker->handshakes, &conn->pending_link);
    worker_spin(conn->worker);
}

static void shake_hands(struct conn *conn, uint8_t *bytes, size_t len)
{
    uint64_t start = uv_hrtime();
    decrypt(conn, bytes, len);
    conn->worker->handshake_ns += uv_hrtime() - start;
}

static void input_encoded(struct conn *conn, uint8_t *bytes, size_t len)
{
    if (conn->layers->tls == NULL) {
        input_plain(conn, bytes, len);
    } else if (conn->layers->secured) {
        decrypt(conn, bytes, len);
    } else if (conn->worker->handshake_ns >= HANDSHAKE_BUDGET_NS) {
        wait_for_turn(conn, bytes, len);
    } else {
        shake_hands(conn, bytes, len);
    }
}

void layers_go_on(struct worker *worker)
{
    worker->handshake_ns = 0;
    while (!list_empty(&worker->handshakes) && worker->handshake_ns < HANDSHAKE_BUDGET_NS) {
        struct conn *conn = list_entry(worker->handshakes.next, struct conn, pending_link);
        struct layers *layers = conn->layers;
        uint8_t *bytes = layers->early;
        size_t len = layers->early_len;
        list_remove(&conn->pending_link);
        layers->handshake_due = false;
        layers->early = NULL;
        layers->early_len = 0;
        shake_hands(conn, bytes, len);
        mem_free(bytes);
        if (!conn->closing && !conn_is_paused(conn)) {
            transport_read_start(conn);
        }
    }
}

/* ---- the PROXY header ------------------------------------------------------------------------ */

static void note_source(struct conn *conn, const struct proxy_source *source)
{
    if (source->known) {
        struct sockaddr_storage *kept = mem_alloc(sizeof(*kept));
        *kept = source->address;
        conn->layers->source = kept;
    }
    conn->layers->proxy_mode = PROXY_OFF;
    conn_admit_address(conn);
}

static void read_proxy_header(struct conn *conn, uint8_t *bytes, size_t len)
{
    struct layers *layers = conn->layers;
    size_t taken = gather(conn, bytes, len, PROXY_HEADER_MAX + 1);
    struct proxy_source source;
    size_t used = 0;
    struct slice header = slice_of(layers->early, layers->early_len);
    switch (proxy_header_read(header, (enum proxy_mode)layers->proxy_mode, &source, &used)) {
    case PROXY_MORE:
        return;
    case PROXY_BAD:
        log_debug(LOG_CONN, "no PROXY header where one must be");
        conn_close(conn, METRIC_CLOSED_PROXY_HEADER, MQTT_REASON_PROTOCOL_ERROR, false);
        return;
    case PROXY_DONE:
        note_source(conn, &source);
        pass_on(conn, used, bytes + taken, len - taken, input_encoded);
    }
}

void layers_input(struct conn *conn, uint8_t *bytes, size_t len)
{
    if (conn->layers->proxy_mode != PROXY_OFF) {
        read_proxy_header(conn, bytes, len);
    } else {
        input_encoded(conn, bytes, len);
    }
}
