#include "node/admin/describe_priv.h"

#include <inttypes.h>
#include <string.h>

#include "base/message.h"
#include "node/auth/auth.h"
#include "node/conn.h"
#include "node/inspect_time.h"
#include "node/layers.h"
#include "node/listener.h"
#include "node/session.h"
#include "node/tls/tls.h"
#include "node/transport.h"
#include "node/will.h"
#include "node/worker.h"

#define PEER_SIZE 128

/* ---- pieces ---------------------------------------------------------------------------------- */

void describe__text(struct text *out, const char *key, struct slice value)
{
    text_printf(out, "\"%s\":\"", key);
    text_add_json(out, value);
    text_add(out, "\"");
}

/* The same, but null when there is none. */
static void add_text_or_null(struct text *out, const char *key, struct slice value)
{
    if (value.len > 0) {
        describe__text(out, key, value);
    } else {
        text_printf(out, "\"%s\":null", key);
    }
}

static void add_number(struct text *out, const char *key, uint64_t value)
{
    text_printf(out, ",\"%s\":%" PRIu64, key, value);
}

static void add_bool(struct text *out, const char *key, bool value)
{
    text_printf(out, ",\"%s\":%s", key, value ? "true" : "false");
}

void describe__moment(struct text *out, const char *key, uint64_t mono_ms)
{
    text_printf(out, "\"%s\":", key);
    if (mono_ms == CLOCK_NEVER) {
        text_add(out, "null");
        return;
    }
    text_add(out, "\"");
    inspect_time_add(out, inspect_time_of(mono_ms));
    text_add(out, "\"");
}

static const char *version_text(uint8_t version)
{
    switch ((enum mqtt_version)version) {
    case MQTT_V31:
        return "3.1";
    case MQTT_V311:
        return "3.1.1";
    case MQTT_V5:
        return "5.0";
    }
    return "";
}

/* ---- what a connection says ------------------------------------------------------------------ */

struct slice describe__username(const struct conn *conn)
{
    const struct auth_identity *identity = conn != NULL ? conn_identity(conn) : NULL;
    return identity != NULL ? identity->username : slice_of(NULL, 0);
}

static struct slice groups(const struct conn *conn)
{
    const struct auth_identity *identity = conn_identity(conn);
    return identity != NULL ? identity->groups_text : slice_of(NULL, 0);
}

struct slice describe__listener(const struct conn *conn)
{
    bool known = conn != NULL && conn->listener != NULL;
    return known ? slice_text(conn->listener->name) : slice_of(NULL, 0);
}

const char *describe__address(const struct conn *conn, char *out, size_t size)
{
    (void)conn_peer(conn, out, size);
    char *port = strrchr(out, ':');
    if (port != NULL) {
        *port = '\0';
    }
    size_t len = strlen(out);
    if (out[0] == '[' && out[len - 1] == ']') {
        memmove(out, out + 1, len - 2);
        out[len - 2] = '\0';
    }
    return out;
}

static const struct tls_stream *tls_of(const struct conn *conn)
{
    return conn->layers != NULL ? conn->layers->tls : NULL;
}

static struct slice tls_version(const struct conn *conn)
{
    const struct tls_stream *tls = tls_of(conn);
    return tls != NULL ? slice_text(tls_stream_version(tls)) : slice_of(NULL, 0);
}

static struct slice tls_cipher(const struct conn *conn)
{
    const struct tls_stream *tls = tls_of(conn);
    return tls != NULL ? slice_text(tls_stream_cipher(tls)) : slice_of(NULL, 0);
}

static bool is_websocket(const struct conn *conn)
{
    return conn->layers != NULL && conn->layers->websocket;
}

/* ---- objects --------------------------------------------------------------------------------- */

static void add_queue(struct text *out, const struct session *session)
{
    add_number(out, "subscriptions", session->subscription_count);
    add_number(out, "inflight", session->outbound.inflight);
    add_number(out, "queued", outbound_waiting(&session->outbound));
    add_number(out, "queued_bytes", session->outbound.bytes);
}

static void add_will(struct text *out, const struct session *session)
{
    const struct will *will = session->will;
    if (will == NULL) {
        text_add(out, ",\"will\":null");
        return;
    }
    text_add(out, ",\"will\":{");
    describe__text(out, "topic", message_topic(will->message));
    add_number(out, "qos", will->message->qos);
    add_bool(out, "retain", will->message->retain);
    add_number(out, "delay_s", will->delay_s);
    add_number(out, "payload_bytes", will->message->payload_len);
    text_add(out, "}");
}

/* In seconds; null: it never ends by itself. */
static void add_expiry(struct text *out, const struct session *session)
{
    if (session->expiry_s == SESSION_EXPIRY_NEVER) {
        text_add(out, ",\"session_expiry_s\":null");
    } else {
        add_number(out, "session_expiry_s", session->expiry_s);
    }
}

static void add_session_details(struct text *out, const struct session *session)
{
    const struct inbound *inbound = session->inbound;
    add_will(out, session);
    add_number(out, "received_unfinished", inbound != NULL ? inbound_unfinished(inbound) : 0);
    add_bool(out, "paused", session->pauses > 0);
    add_bool(out, "stored", session->stored_id != 0);
    add_number(out, "worker", session->worker->index);
}

static void add_client_details(struct text *out, const struct conn *conn)
{
    text_add(out, ",");
    add_text_or_null(out, "groups", groups(conn));
    text_add(out, ",");
    add_text_or_null(out, "tls_cipher", tls_cipher(conn));
    add_bool(out, "resumed", conn->resumed);
    add_number(out, "receive_maximum", conn->receive_maximum);
    add_number(out, "maximum_packet_size", conn->max_packet_size);
    add_number(out, "topic_alias_maximum", conn->alias_out_maximum);
    add_number(out, "output_bytes", conn->out.len);
    add_bool(out, "traced", conn->trace != NULL);
}

/* What is to be told of a connected client, without the braces. */
static void add_client(struct text *out, const struct session *session)
{
    const struct conn *conn = session->conn;
    char peer[PEER_SIZE];
    add_text_or_null(out, "username", describe__username(conn));
    text_add(out, ",");
    describe__text(out, "address", slice_text(conn_peer(conn, peer, sizeof(peer))));
    text_add(out, ",");
    add_text_or_null(out, "listener", describe__listener(conn));
    text_add(out, ",");
    describe__text(out, "protocol", slice_text(is_websocket(conn) ? "ws" : "mqtt"));
    text_add(out, ",");
    describe__text(out, "protocol_version", slice_text(version_text(conn->version)));
    text_add(out, ",");
    add_text_or_null(out, "tls_version", tls_version(conn));
    add_number(out, "keep_alive_s", conn_keep_alive_s(conn));
    text_add(out, ",");
    describe__moment(out, "connected_at", conn->online_since_ms);
    add_number(out, "bytes_in", conn->bytes_in);
    add_number(out, "bytes_out", conn->bytes_out);
}

void describe__client(struct text *out, const struct session *session, bool full)
{
    text_add(out, "{");
    describe__text(out, "client_id", session_client_id(session));
    text_add(out, ",");
    add_client(out, session);
    add_expiry(out, session);
    add_queue(out, session);
    if (full) {
        add_client_details(out, session->conn);
        add_session_details(out, session);
    }
    text_add(out, "}");
}

void describe__session(struct text *out, const struct session *session, bool full)
{
    const struct conn *conn = session->conn;
    text_add(out, "{");
    describe__text(out, "client_id", session_client_id(session));
    add_bool(out, "connected", conn != NULL);
    add_expiry(out, session);
    text_add(out, ",");
    describe__moment(out, "offline_since", conn == NULL ? session->offline_since_ms : CLOCK_NEVER);
    text_add(out, ",");
    describe__moment(out, "expires_at", conn == NULL ? session->expires_at_ms : CLOCK_NEVER);
    add_queue(out, session);
    if (full) {
        add_session_details(out, session);
    }
    if (full && conn != NULL) {
        text_add(out, ",\"client\":{");
        add_client(out, session);
        add_client_details(out, conn);
        text_add(out, "}");
    } else if (full) {
        text_add(out, ",\"client\":null");
    }
    text_add(out, "}");
}
