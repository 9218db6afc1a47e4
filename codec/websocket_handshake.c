#include "codec/websocket.h"

#include <openssl/sha.h>
#include <strings.h>

#include "base/base64.h"
#include "base/macros.h"
#include "base/text.h"

/*
 * The request is read line by line and strictly: a line ends with CRLF, there is no folding, no
 * blank before a colon, no control character. What two parsers (ours and a proxy's) could
 * understand in two ways is refused.
 */

/* RFC 6455 section 1.3. */
#define ACCEPT_SUFFIX "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define KEY_LEN 24
/* A first word longer than this is no method of anybody. */
#define METHOD_MAX 20

#define CLOSES "Connection: close\r\n"
#define UPGRADES "Upgrade: websocket\r\nConnection: Upgrade, close\r\n"

/* X(NAME, "status line", header fields, "text"): every answer but 101. */
#define REFUSALS(X)                                                                                \
    X(NOT_HTTP, "400 Bad Request", CLOSES, "this is not an HTTP request")                          \
    X(BAD_LINE, "400 Bad Request", CLOSES, "malformed request line")                               \
    X(BAD_FIELD, "400 Bad Request", CLOSES, "malformed header field")                              \
    X(REPEATED, "400 Bad Request", CLOSES, "a header field is there twice that may be there once") \
    X(NO_HOST, "400 Bad Request", CLOSES, "the header field Host is missing")                      \
    X(BODY, "400 Bad Request", CLOSES, "a request with a body")                                    \
    X(KEY, "400 Bad Request", CLOSES, "Sec-WebSocket-Key is not the base64 form of 16 bytes")      \
    X(PROTOCOL, "400 Bad Request", CLOSES,                                                         \
      "the client must offer the sub-protocol mqtt: Sec-WebSocket-Protocol: mqtt")                 \
    X(ORIGIN, "403 Forbidden", CLOSES, "pages of this origin may not connect here")                \
    X(PATH, "404 Not Found", CLOSES, "nothing is here; MQTT over WebSocket has another path")      \
    X(METHOD, "405 Method Not Allowed", CLOSES "Allow: GET\r\n", "only GET is understood here")    \
    X(UPGRADE, "426 Upgrade Required", UPGRADES,                                                   \
      "MQTT over WebSocket is spoken here; connect with an MQTT client")                           \
    X(VERSION, "426 Upgrade Required", UPGRADES "Sec-WebSocket-Version: 13\r\n",                   \
      "the WebSocket version must be 13")                                                          \
    X(TOO_LONG, "431 Request Header Fields Too Large", CLOSES, "the request is too long")          \
    X(HTTP_VERSION, "505 HTTP Version Not Supported", CLOSES, "the HTTP version must be 1.1")      \
    X(FAILED, "500 Internal Server Error", CLOSES, "the answer could not be computed")

#define X(name, status, fields, text) REFUSED_##name,
enum refusal { REFUSED_NOT, REFUSALS(X) };
#undef X

static const struct {
    const char *status;
    const char *fields;
    const char *text;
} refusals[] = {
#define X(name, status, fields, text) [REFUSED_##name] = {status, fields, text},
    REFUSALS(X)
#undef X
};

struct request;

/* What an item of a list means. */
static void read_connection(struct request *request, struct slice item);
static void read_upgrade(struct request *request, struct slice item);
static void read_protocol(struct request *request, struct slice item);

/* X(NAME, "field name", reader of its items): the header fields that are looked at. A field that is
 * not a list (NULL) may be there once; the items of lists are joined. */
#define FIELDS(X)                                   \
    X(HOST, "Host", NULL)                           \
    X(ORIGIN, "Origin", NULL)                       \
    X(KEY, "Sec-WebSocket-Key", NULL)               \
    X(VERSION, "Sec-WebSocket-Version", NULL)       \
    X(CONTENT_LENGTH, "Content-Length", NULL)       \
    X(TRANSFER_ENCODING, "Transfer-Encoding", NULL) \
    X(CONNECTION, "Connection", read_connection)    \
    X(UPGRADE, "Upgrade", read_upgrade)             \
    X(PROTOCOL, "Sec-WebSocket-Protocol", read_protocol)

#define X(name, text, read_item) FIELD_##name,
enum field { FIELDS(X) FIELD_COUNT };
#undef X

static const struct {
    const char *name;
    void (*read_item)(struct request *request, struct slice item);
} fields[] = {
#define X(name, text, read_item) [FIELD_##name] = {text, read_item},
    FIELDS(X)
#undef X
};

struct request {
    struct slice method, target, version;
    struct slice value[FIELD_COUNT];
    bool present[FIELD_COUNT];
    bool connection_upgrade, upgrade_websocket; /* the words are in these lists */
    bool mqtt, mqttv31;                         /* sub-protocols that are offered */
};

/* ---- words ----------------------------------------------------------------------------------- */

static bool equals_text(struct slice s, const char *text)
{
    return slice_equal(s, slice_text(text));
}

static bool equals_nocase(struct slice s, const char *text)
{
    return s.len == strlen(text) && strncasecmp((const char *)s.data, text, s.len) == 0;
}

/* RFC 7230 section 3.2.6. */
static bool is_token_char(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!is_token_char(s.data[i])) {
            return false;
        }
    }
    return s.len > 0;
}

static struct slice trim(struct slice s)
{
    return slice_trim(s, " \t");
}

/* The next item of a list with commas; false at its end. */
static bool next_item(struct slice *list, struct slice *item)
{
    if (list->data == NULL) {
        return false;
    }
    *item = trim(slice_cut(list, ','));
    return true;
}

/* ---- the lines of a request ------------------------------------------------------------------ */

static bool has_control_char(struct slice line)
{
    for (size_t i = 0; i < line.len; i++) {
        if ((line.data[i] < ' ' && line.data[i] != '\t') || line.data[i] == 0x7f) {
            return true;
        }
    }
    return false;
}

/* Cuts the next line off; there is one. False: it ends with a bare LF, or holds what no text does.
 */
static bool next_line(struct slice *rest, struct slice *line)
{
    *line = slice_cut(rest, '\n');
    if (line->len == 0 || line->data[line->len - 1] != '\r') {
        return false;
    }
    line->len--;
    return !has_control_char(*line);
}

/* TLS, MQTT without WebSocket and other things that are no HTTP are told at once. */
static bool may_be_http(struct slice bytes)
{
    size_t at = 0;
    while (at < bytes.len && at < METHOD_MAX && is_token_char(bytes.data[at])) {
        at++;
    }
    return at == bytes.len || (at > 0 && bytes.data[at] == ' ');
}

static enum refusal read_request_line(struct slice line, struct request *request)
{
    request->method = slice_cut(&line, ' ');
    request->target = slice_cut(&line, ' ');
    request->version = line;
    if (!is_token(request->method) || request->target.len == 0 || request->version.len == 0) {
        return REFUSED_BAD_LINE;
    }
    if (!slice_starts_with(request->version, "HTTP/") ||
        memchr(request->version.data, ' ', request->version.len) != NULL) {
        return REFUSED_BAD_LINE;
    }
    return equals_text(request->version, "HTTP/1.1") ? REFUSED_NOT : REFUSED_HTTP_VERSION;
}

static void read_connection(struct request *request, struct slice item)
{
    request->connection_upgrade |= equals_nocase(item, "upgrade");
}

static void read_upgrade(struct request *request, struct slice item)
{
    request->upgrade_websocket |= equals_nocase(item, "websocket");
}

static void read_protocol(struct request *request, struct slice item)
{
    request->mqtt |= equals_text(item, "mqtt");
    request->mqttv31 |= equals_text(item, "mqttv3.1");
}

static enum refusal note_field(struct request *request, enum field field, struct slice value)
{
    struct slice item;
    bool again = request->present[field];
    request->present[field] = true;
    request->value[field] = value;
    if (fields[field].read_item == NULL) {
        return again ? REFUSED_REPEATED : REFUSED_NOT;
    }
    while (next_item(&value, &item)) {
        fields[field].read_item(request, item);
    }
    return REFUSED_NOT;
}

static enum refusal read_field(struct slice line, struct request *request)
{
    struct slice value = line;
    struct slice name = slice_cut(&value, ':');
    if (value.data == NULL || !is_token(name)) {
        return REFUSED_BAD_FIELD; /* also a folded line: it begins with a blank */
    }
    for (unsigned i = 0; i < FIELD_COUNT; i++) {
        if (equals_nocase(name, fields[i].name)) {
            return note_field(request, (enum field)i, trim(value));
        }
    }
    return REFUSED_NOT;
}

/* Reads the lines of a request, up to the empty one. */
static enum refusal read_request(struct slice rest, struct request *request)
{
    struct slice line;
    if (!next_line(&rest, &line)) {
        return REFUSED_BAD_LINE;
    }
    enum refusal refusal = read_request_line(line, request);
    while (refusal == REFUSED_NOT) {
        if (!next_line(&rest, &line)) {
            return REFUSED_BAD_FIELD;
        }
        if (line.len == 0) {
            return REFUSED_NOT;
        }
        refusal = read_field(line, request);
    }
    return refusal;
}

/*
 * How long the request is, or 0. Only a whole one is read: a client that sends it byte by byte must
 * not make us read it as often.
 */
static size_t find_end(struct slice bytes)
{
    static const char end[] = {'\r', '\n', '\r', '\n'};
    size_t len = bytes.len < WS_REQUEST_MAX ? bytes.len : WS_REQUEST_MAX;
    const uint8_t *at = len > 0 ? memmem(bytes.data, len, end, sizeof(end)) : NULL;
    return at != NULL ? (size_t)(at - bytes.data) + sizeof(end) : 0;
}

/* What can be said of a request that has not ended yet. */
static enum refusal check_start(struct slice bytes)
{
    struct slice behind = bytes;
    struct slice line = slice_cut(&behind, '\n');
    if (!may_be_http(bytes)) {
        return REFUSED_NOT_HTTP;
    }
    if (behind.data != NULL && line.data[line.len - 1] != '\r') {
        return REFUSED_BAD_LINE; /* typed by hand: the end would never come */
    }
    return bytes.len >= WS_REQUEST_MAX ? REFUSED_TOO_LONG : REFUSED_NOT;
}

/* ---- what is asked for ----------------------------------------------------------------------- */

/* Also "http://host/path", which servers must understand (RFC 7230 section 5.3.2). */
static bool path_matches(struct slice target, const char *path)
{
    static const char *const schemes[] = {"http://", "https://"};
    struct slice rest = target;
    target = slice_cut(&rest, '?'); /* without its query */
    for (size_t i = 0; i < ARRAY_COUNT(schemes); i++) {
        size_t len = strlen(schemes[i]);
        if (target.len > len && strncasecmp((const char *)target.data, schemes[i], len) == 0) {
            target = slice_from(target, len);
            const uint8_t *slash = memchr(target.data, '/', target.len);
            target =
                slash == NULL ? slice_text("/") : slice_from(target, (size_t)(slash - target.data));
            break;
        }
    }
    return equals_text(target, path);
}

struct origin {
    struct slice scheme, host;
    unsigned port;
};

/* "scheme://host[:port]". False: something else, such as "null". */
static bool read_origin(struct slice text, struct origin *origin)
{
    const uint8_t *colon = text.len > 0 ? memchr(text.data, ':', text.len) : NULL;
    if (colon == NULL) {
        return false;
    }
    origin->scheme = slice_of(text.data, (size_t)(colon - text.data));
    struct slice rest = slice_from(text, origin->scheme.len);
    if (!slice_starts_with(rest, "://")) {
        return false;
    }
    rest = slice_from(rest, 3);
    origin->port = equals_nocase(origin->scheme, "https")  ? 443
                   : equals_nocase(origin->scheme, "http") ? 80
                                                           : 0;
    size_t len = rest.len;
    while (len > 0 && rest.data[len - 1] >= '0' && rest.data[len - 1] <= '9') {
        len--;
    }
    if (len > 0 && len < rest.len && rest.data[len - 1] == ':') {
        unsigned port = 0;
        for (size_t i = len; i < rest.len && port <= UINT16_MAX; i++) {
            port = port * 10 + (unsigned)(rest.data[i] - '0');
        }
        origin->port = port;
        rest.len = len - 1;
    }
    origin->host = rest;
    return true;
}

static bool slices_equal_nocase(struct slice a, struct slice b)
{
    return a.len == b.len && strncasecmp((const char *)a.data, (const char *)b.data, a.len) == 0;
}

/* RFC 6454 section 5: scheme, host and port are the same. */
static bool origins_equal(struct slice a, struct slice b)
{
    struct origin left, right;
    if (!read_origin(a, &left) || !read_origin(b, &right)) {
        return slice_equal(a, b);
    }
    return left.port == right.port && slices_equal_nocase(left.scheme, right.scheme) &&
           slices_equal_nocase(left.host, right.host);
}

/* Who sends no Origin is no browser, and could send whatever is asked for. */
static bool origin_allowed(const struct request *request, const char *allowed)
{
    if (allowed == NULL || allowed[0] == '\0' || !request->present[FIELD_ORIGIN]) {
        return true;
    }
    struct slice list = slice_text(allowed);
    struct slice item;
    while (next_item(&list, &item)) {
        if (item.len > 0 && origins_equal(item, request->value[FIELD_ORIGIN])) {
            return true;
        }
    }
    return false;
}

/* 22 characters of base64 and "==" are 16 bytes. */
static bool key_valid(struct slice key)
{
    if (key.len != KEY_LEN || key.data[KEY_LEN - 2] != '=' || key.data[KEY_LEN - 1] != '=') {
        return false;
    }
    for (size_t i = 0; i < KEY_LEN - 2; i++) {
        uint8_t c = key.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '+' && c != '/') {
            return false;
        }
    }
    return true;
}

/* What comes behind a request must be frames. */
static bool has_body(const struct request *request)
{
    return request->present[FIELD_TRANSFER_ENCODING] ||
           (request->present[FIELD_CONTENT_LENGTH] &&
            !equals_text(request->value[FIELD_CONTENT_LENGTH], "0"));
}

static enum refusal check_request(const struct request *request, const struct ws_rules *rules)
{
    if (!request->present[FIELD_HOST]) {
        return REFUSED_NO_HOST;
    }
    if (!equals_text(request->method, "GET")) {
        return REFUSED_METHOD;
    }
    if (has_body(request)) {
        return REFUSED_BODY;
    }
    if (!path_matches(request->target, rules->path)) {
        return REFUSED_PATH;
    }
    if (!request->upgrade_websocket || !request->connection_upgrade) {
        return REFUSED_UPGRADE;
    }
    if (!origin_allowed(request, rules->origins)) {
        return REFUSED_ORIGIN;
    }
    if (!equals_text(request->value[FIELD_VERSION], "13")) {
        return REFUSED_VERSION;
    }
    if (!key_valid(request->value[FIELD_KEY])) {
        return REFUSED_KEY;
    }
    return request->mqtt || request->mqttv31 ? REFUSED_NOT : REFUSED_PROTOCOL;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static size_t write_refusal(char response[static WS_RESPONSE_MAX], enum refusal refusal,
                            bool with_body)
{
    struct text out = text_fixed(response, WS_RESPONSE_MAX);
    text_printf(&out,
                "HTTP/1.1 %s\r\n%sContent-Type: text/plain; charset=utf-8\r\n"
                "Content-Length: %zu\r\n\r\n",
                refusals[refusal].status, refusals[refusal].fields,
                strlen(refusals[refusal].text) + 1);
    if (with_body) {
        text_printf(&out, "%s\n", refusals[refusal].text);
    }
    ASSERT(!out.cut);
    return out.len;
}

/* RFC 6455 section 4.2.2. Returns 0 when the library has no SHA-1. */
static size_t write_acceptance(char response[static WS_RESPONSE_MAX], const struct request *request)
{
    uint8_t joined[KEY_LEN + sizeof(ACCEPT_SUFFIX) - 1];
    uint8_t digest[SHA_DIGEST_LENGTH];
    memcpy(joined, request->value[FIELD_KEY].data, KEY_LEN);
    memcpy(joined + KEY_LEN, ACCEPT_SUFFIX, sizeof(ACCEPT_SUFFIX) - 1);
    if (SHA1(joined, sizeof(joined), digest) == NULL) {
        return 0;
    }
    struct text out = text_fixed(response, WS_RESPONSE_MAX);
    text_add(&out, "HTTP/1.1 101 Switching Protocols\r\n"
                   "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ");
    base64_add(&out, slice_of(digest, sizeof(digest)), BASE64_PADDED);
    text_printf(&out, "\r\nSec-WebSocket-Protocol: %s\r\n\r\n",
                request->mqtt ? "mqtt" : "mqttv3.1");
    ASSERT(!out.cut);
    return out.len;
}

static enum ws_handshake_status refuse(enum refusal refusal, const struct request *request,
                                       char response[static WS_RESPONSE_MAX], size_t *response_len,
                                       const char **why)
{
    *response_len = write_refusal(response, refusal, !equals_text(request->method, "HEAD"));
    *why = refusals[refusal].text;
    return WS_HANDSHAKE_REFUSED;
}

enum ws_handshake_status ws_handshake(struct slice bytes, const struct ws_rules *rules,
                                      size_t *used, char response[static WS_RESPONSE_MAX],
                                      size_t *response_len, const char **why)
{
    struct request request = {0};
    size_t len = find_end(bytes);
    enum refusal refusal =
        len > 0 ? read_request(slice_of(bytes.data, len), &request) : check_start(bytes);
    if (refusal == REFUSED_NOT && len == 0) {
        return WS_HANDSHAKE_MORE;
    }
    if (refusal == REFUSED_NOT) {
        refusal = check_request(&request, rules);
    }
    if (refusal != REFUSED_NOT) {
        return refuse(refusal, &request, response, response_len, why);
    }
    *response_len = write_acceptance(response, &request);
    if (*response_len == 0) {
        return refuse(REFUSED_FAILED, &request, response, response_len, why);
    }
    *used = len;
    *why = "";
    return WS_HANDSHAKE_DONE;
}
