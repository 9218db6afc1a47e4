#include "tests/bench/transport.h"
#include "tests/bench/frames.h"
#include "tests/bench/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

enum {
    RECORD_BYTES_MAX = 16 * 1024,
    READ_AHEAD_BYTES = 64 * 1024, /* a record each would cost the generator two reads */
    FRAME_BYTES_MAX = 64 * 1024,
    SESSIONS_MAX = 256,
};

enum step { STEP_TLS, STEP_REQUEST, STEP_ANSWER, STEP_OPEN };

struct transport_plan {
    SSL_CTX *context;                    /* NULL: no TLS */
    SSL_SESSION *sessions[SESSIONS_MAX]; /* a stack of `session_count` tickets */
    unsigned session_count;
    bool has_frames;
    bool resumes;
    const char *host;
    const char *path;
    uint64_t opened;
    uint64_t resumed;
};

/*
 * Invariants:
 *   [out_start, out_end) are framed bytes that the layer below has not taken yet;
 *   nothing is framed while there are any.
 */
struct transport {
    struct transport_plan *plan;
    SSL *ssl;
    int fd;
    enum step step;
    bool was_filled;
    bool wants_read; /* TLS waits for input before it can send */
    const char *error;
    uint8_t *out;
    size_t out_start;
    size_t out_end;
    uint32_t mask;
    char answer[FRAMES_ANSWER_BYTES_MAX];
    size_t answer_len;
    struct frames_reader reader;
};

/* ---- the plan -------------------------------------------------------------------------------- */

static const struct {
    const char *word;
    bool has_tls;
    bool has_frames;
} kinds[] = {{"tcp", false, false}, {"tls", true, false}, {"ws", false, true}, {"wss", true, true}};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static unsigned find_kind(const char *word)
{
    unsigned kind = 0;
    while (kind < KINDS && strcmp(kinds[kind].word, word) != 0) {
        kind++;
    }
    return kind;
}

bool transport_is_known(const char *word)
{
    return find_kind(word) < KINDS;
}

static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct transport_plan *plan = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    if (plan->session_count == SESSIONS_MAX) {
        return 0; /* OpenSSL frees it */
    }
    plan->sessions[plan->session_count++] = session;
    return 1;
}

/* Each ticket of 1.3 is used once: some brokers remember them. Those of 1.2 stay good. */
static bool resume(SSL *ssl, struct transport_plan *plan)
{
    SSL_SESSION *session = plan->sessions[plan->session_count - 1];
    bool is_set = SSL_set_session(ssl, session) == 1;
    if (SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION) {
        plan->session_count--;
        SSL_SESSION_free(session);
    }
    return is_set;
}

static SSL_CTX *create_context(struct transport_plan *plan, bool is_1_2)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    int version = is_1_2 ? TLS1_2_VERSION : TLS1_3_VERSION;
    if (context == NULL || SSL_CTX_set_min_proto_version(context, version) != 1 ||
        SSL_CTX_set_max_proto_version(context, version) != 1) {
        SSL_CTX_free(context);
        return NULL;
    }
    SSL_CTX_set_app_data(context, plan);
    /* Chains are checked by tests; here it would only be the generator's time. */
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, READ_AHEAD_BYTES);
    if (plan->resumes) {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(context, on_new_session);
    }
    return context;
}

bool transport_plan_create(const struct options *options, struct transport_plan **out)
{
    unsigned kind = find_kind(options->transport);
    *out = NULL;
    if (!kinds[kind].has_tls && !kinds[kind].has_frames) {
        return true;
    }
    struct transport_plan *plan = calloc(1, sizeof(*plan));
    if (plan == NULL) {
        return false;
    }
    plan->has_frames = kinds[kind].has_frames;
    plan->resumes = options->resume;
    plan->host = options->host;
    plan->path = options->path;
    plan->context = kinds[kind].has_tls ? create_context(plan, options->tls_1_2) : NULL;
    if (kinds[kind].has_tls && plan->context == NULL) {
        fprintf(stderr, "pulse-bench: OpenSSL: %s\n",
                ERR_reason_error_string(ERR_peek_last_error()));
        free(plan);
        return false;
    }
    *out = plan;
    return true;
}

void transport_plan_destroy(struct transport_plan *plan)
{
    if (plan != NULL) {
        for (unsigned i = 0; i < plan->session_count; i++) {
            SSL_SESSION_free(plan->sessions[i]);
        }
        SSL_CTX_free(plan->context);
        free(plan);
    }
}

uint64_t transport_plan_opened(const struct transport_plan *plan)
{
    return plan != NULL ? plan->opened : 0;
}

uint64_t transport_plan_resumed(const struct transport_plan *plan)
{
    return plan != NULL ? plan->resumed : 0;
}

/* ---- one connection -------------------------------------------------------------------------- */

static bool begin_tls(struct transport *transport)
{
    struct transport_plan *plan = transport->plan;
    transport->ssl = SSL_new(plan->context);
    if (transport->ssl == NULL || SSL_set_fd(transport->ssl, transport->fd) != 1) {
        return false;
    }
    SSL_set_connect_state(transport->ssl);
    return plan->session_count == 0 || resume(transport->ssl, plan);
}

/* Cheap, and never the same twice in a row: nobody is to be kept from guessing it. */
static uint32_t next_mask(struct transport *transport)
{
    transport->mask = transport->mask * 1664525u + 1013904223u;
    return transport->mask;
}

struct transport *transport_create(struct transport_plan *plan, int fd)
{
    struct transport *transport = calloc(1, sizeof(*transport));
    if (transport == NULL) {
        return NULL;
    }
    transport->plan = plan;
    transport->fd = fd;
    transport->step = plan->context != NULL ? STEP_TLS : STEP_REQUEST;
    transport->mask = (uint32_t)fd * 0x9E3779B9u + 1;
    transport->error = "";
    if (plan->context != NULL && !begin_tls(transport)) {
        transport_destroy(transport);
        return NULL;
    }
    return transport;
}

void transport_destroy(struct transport *transport)
{
    if (transport == NULL) {
        return;
    }
    if (transport->ssl != NULL) {
        /* Without a good-bye OpenSSL would not let its session be resumed. */
        SSL_set_shutdown(transport->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        SSL_free(transport->ssl);
    }
    free(transport->out);
    free(transport);
}

const char *transport_error(const struct transport *transport)
{
    return transport->error;
}

bool transport_has_output(const struct transport *transport)
{
    return transport->out_end > transport->out_start;
}

bool transport_has_input(const struct transport *transport)
{
    return transport->was_filled;
}

static ssize_t fail(struct transport *transport, const char *error)
{
    transport->error = error;
    errno = EPROTO;
    return -1;
}

/* ---- the layer below: TCP or TLS ------------------------------------------------------------- */

/* After a call of OpenSSL that gave `result`: sets errno, or gives 0 for the end of the stream. */
static ssize_t explain(struct transport *transport, int result)
{
    int reason = SSL_get_error(transport->ssl, result);
    transport->wants_read = reason == SSL_ERROR_WANT_READ;
    if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE) {
        errno = EAGAIN;
        return -1;
    }
    if (reason == SSL_ERROR_ZERO_RETURN) {
        return 0;
    }
    unsigned long code = ERR_get_error();
    const char *text = code != 0 ? ERR_reason_error_string(code) : strerror(errno);
    ERR_clear_error();
    return fail(transport, text != NULL ? text : "TLS failed");
}

static ssize_t send_below(struct transport *transport, const uint8_t *bytes, size_t len)
{
    if (transport->ssl == NULL) {
        return send(transport->fd, bytes, len, MSG_NOSIGNAL);
    }
    size_t sent = 0;
    while (sent < len) {
        size_t left = len - sent;
        int result = SSL_write(transport->ssl, bytes + sent,
                               left < RECORD_BYTES_MAX ? (int)left : RECORD_BYTES_MAX);
        if (result <= 0) {
            ssize_t why = explain(transport, result);
            return sent > 0 ? (ssize_t)sent : why;
        }
        sent += (size_t)result;
    }
    return (ssize_t)sent;
}

/* Reads as much as there is: for what OpenSSL has read ahead there are no events. */
static ssize_t receive_below(struct transport *transport, uint8_t *to, size_t len)
{
    if (transport->ssl == NULL) {
        return recv(transport->fd, to, len, 0);
    }
    size_t got = 0;
    while (got < len) {
        int result = SSL_read(transport->ssl, to + got, (int)(len - got));
        if (result <= 0) {
            ssize_t why = explain(transport, result);
            return got > 0 ? (ssize_t)got : why;
        }
        got += (size_t)result;
    }
    return (ssize_t)got;
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* Gives 0, or -1 with errno while something waits. */
static int flush_frames(struct transport *transport)
{
    while (transport_has_output(transport)) {
        ssize_t sent = send_below(transport, transport->out + transport->out_start,
                                  transport->out_end - transport->out_start);
        if (sent < 0) {
            return -1;
        }
        transport->out_start += (size_t)sent;
    }
    transport->out_start = transport->out_end = 0;
    return 0;
}

static bool has_buffer(struct transport *transport)
{
    if (transport->out == NULL) {
        transport->out = malloc(FRAMES_HEADER_BYTES_MAX + FRAME_BYTES_MAX);
    }
    return transport->out != NULL;
}

static void put_frame(struct transport *transport, unsigned opcode, const uint8_t *bytes,
                      size_t len)
{
    uint32_t mask = next_mask(transport);
    uint8_t *to = transport->out + transport->out_end;
    size_t header_len = frames_put_header(to, opcode, len, mask);
    frames_mask(to + header_len, bytes, len, mask);
    transport->out_end += header_len + len;
}

static ssize_t send_frames(struct transport *transport, const uint8_t *bytes, size_t len)
{
    if (!has_buffer(transport)) {
        return fail(transport, "out of memory");
    }
    size_t sent = 0;
    int status = flush_frames(transport);
    while (status == 0 && sent < len) {
        size_t piece = len - sent < FRAME_BYTES_MAX ? len - sent : FRAME_BYTES_MAX;
        put_frame(transport, FRAMES_BINARY, bytes + sent, piece);
        sent += piece;
        status = flush_frames(transport);
    }
    return status != 0 && (errno != EAGAIN || sent == 0) ? -1 : (ssize_t)sent;
}

/* A ping is answered, unless our own bytes are in the way: then the next one is. */
static void answer_ping(struct transport *transport)
{
    struct frames_reader *reader = &transport->reader;
    reader->has_ping = false;
    if (has_buffer(transport) && flush_frames(transport) == 0) {
        put_frame(transport, FRAMES_PONG, reader->control, reader->control_len);
        (void)flush_frames(transport); /* what is left goes with the next message */
    }
}

static ssize_t take_frames(struct transport *transport, uint8_t *bytes, size_t len)
{
    size_t data_len = 0;
    enum frames_status status = frames_read(&transport->reader, bytes, len, &data_len);
    if (transport->reader.has_ping) {
        answer_ping(transport);
    }
    if (data_len > 0) {
        return (ssize_t)data_len;
    }
    switch (status) {
    case FRAMES_GOOD:
    case FRAMES_PARTIAL:
        errno = EAGAIN;
        return -1;
    case FRAMES_CLOSED:
        return 0;
    case FRAMES_BROKEN:
        break;
    }
    return fail(transport, "bytes that are not WebSocket");
}

ssize_t transport_send(struct transport *transport, const void *bytes, size_t len)
{
    if (transport->plan->has_frames) {
        return send_frames(transport, bytes, len);
    }
    return len > 0 ? send_below(transport, bytes, len) : 0;
}

ssize_t transport_receive(struct transport *transport, void *to, size_t len)
{
    ssize_t got = receive_below(transport, to, len);
    transport->was_filled = got == (ssize_t)len;
    return got > 0 && transport->plan->has_frames ? take_frames(transport, to, (size_t)got) : got;
}

/* ---- opening --------------------------------------------------------------------------------- */

static enum transport_status status_of_failure(struct transport *transport)
{
    if (errno != EAGAIN) {
        transport->error = transport->error[0] != 0 ? transport->error : strerror(errno);
        return TRANSPORT_BROKEN;
    }
    return transport->ssl != NULL && transport->wants_read ? TRANSPORT_WANTS_READ
                                                           : TRANSPORT_WANTS_WRITE;
}

static enum transport_status shake_hands(struct transport *transport)
{
    int result = SSL_do_handshake(transport->ssl);
    if (result != 1) {
        if (explain(transport, result) == 0) {
            transport->error = "closed during the TLS handshake";
            return TRANSPORT_BROKEN;
        }
        return status_of_failure(transport);
    }
    transport->plan->opened++;
    transport->plan->resumed += SSL_session_reused(transport->ssl) == 1;
    transport->step = transport->plan->has_frames ? STEP_REQUEST : STEP_OPEN;
    return TRANSPORT_OPEN;
}

/* The request leaves through the frames' buffer. */
static enum transport_status send_request(struct transport *transport)
{
    if (!transport_has_output(transport)) {
        if (!has_buffer(transport)) {
            transport->error = "out of memory";
            return TRANSPORT_BROKEN;
        }
        transport->out_end = frames_put_request((char *)transport->out, transport->plan->host,
                                                transport->plan->path);
    }
    if (flush_frames(transport) != 0) {
        return status_of_failure(transport);
    }
    transport->step = STEP_ANSWER;
    return TRANSPORT_OPEN;
}

static enum transport_status read_answer(struct transport *transport)
{
    size_t room = sizeof(transport->answer) - transport->answer_len;
    ssize_t got =
        receive_below(transport, (uint8_t *)transport->answer + transport->answer_len, room);
    if (got <= 0) {
        transport->error = got == 0 ? "closed before the answer" : transport->error;
        return got < 0 && errno == EAGAIN ? TRANSPORT_WANTS_READ : TRANSPORT_BROKEN;
    }
    transport->answer_len += (size_t)got;
    size_t used = 0;
    enum frames_status status = frames_read_answer(transport->answer, transport->answer_len, &used);
    if (status == FRAMES_PARTIAL) {
        return TRANSPORT_WANTS_READ;
    }
    /* Nothing may follow it: it is the client who speaks first. */
    if (status != FRAMES_GOOD || used != transport->answer_len) {
        transport->error = "the WebSocket request was not accepted";
        return TRANSPORT_BROKEN;
    }
    transport->step = STEP_OPEN;
    return TRANSPORT_OPEN;
}

enum transport_status transport_advance(struct transport *transport)
{
    static enum transport_status (*const steps[])(struct transport *) = {
        [STEP_TLS] = shake_hands,
        [STEP_REQUEST] = send_request,
        [STEP_ANSWER] = read_answer,
    };
    enum transport_status status = TRANSPORT_OPEN;
    while (status == TRANSPORT_OPEN && transport->step != STEP_OPEN) {
        status = steps[transport->step](transport);
    }
    return status;
}
