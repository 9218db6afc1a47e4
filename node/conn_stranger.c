#include "node/conn_stranger.h"

#include "base/log.h"
#include "node/conn.h"
#include "node/worker.h"

/* RFC 8446 section 6.2, alert protocol_version, fatal. */
static const uint8_t tls_alert[] = {21, 3, 1, 0, 2, 2, 70};

static const char http_answer[] = "HTTP/1.1 400 Bad Request\r\n"
                                  "Content-Type: text/plain\r\n"
                                  "Content-Length: 39\r\n"
                                  "Connection: close\r\n"
                                  "\r\n"
                                  "This is a port for MQTT, not for HTTP.\n";

enum tongue { TLS, HTTP, PROXY, TONGUES };

static const struct {
    const char *what; /* for the log */
    struct slice answer;
} tongues[TONGUES] = {
    [TLS] = {"TLS on a port without TLS", {tls_alert, sizeof(tls_alert)}},
    [HTTP] = {"HTTP on a port for MQTT", {(const uint8_t *)http_answer, sizeof(http_answer) - 1}},
    [PROXY] = {"a PROXY header, but proxy_protocol is off", {NULL, 0}},
};

static const struct {
    const char *prefix;
    enum tongue tongue;
} prefixes[] = {
    {"\x16\x03", TLS},  {"GET ", HTTP},     {"HEAD ", HTTP},   {"POST ", HTTP},     {"PUT ", HTTP},
    {"OPTIONS ", HTTP}, {"CONNECT ", HTTP}, {"PROXY ", PROXY}, {"\r\n\r\n", PROXY},
};

/* TONGUES: not known. */
static enum tongue tongue_of(struct slice bytes)
{
    for (size_t i = 0; i < ARRAY_COUNT(prefixes); i++) {
        if (slice_starts_with(bytes, prefixes[i].prefix)) {
            return prefixes[i].tongue;
        }
    }
    return TONGUES;
}

bool conn_turn_stranger_away(struct conn *conn, struct slice bytes)
{
    enum tongue tongue = tongue_of(bytes);
    if (tongue == TONGUES) {
        return false;
    }
    char peer[CONN_PEER_SIZE];
    log_debug(LOG_CONN, "wrong protocol", log_text("what", tongues[tongue].what),
              log_text("peer", conn_peer(conn, peer, sizeof(peer))));
    if (outbuf_append(&conn->out, &conn->worker->pool, tongues[tongue].answer) == ERR_OK) {
        conn_dirty(conn);
    }
    conn_close(conn, METRIC_CLOSED_WRONG_PROTOCOL, MQTT_REASON_PROTOCOL_ERROR, false);
    return true;
}
