#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/mem.h"
#include "node/ctl_priv.h"

/* What `pulse ctl` can do. Lists are read page by page. */

#define PAGE_ROWS 1000
#define PAYLOAD_BYTES_MAX (700 * 1024) /* in base64 it fits the limit of bodies */

/* ---- targets --------------------------------------------------------------------------------- */

static void add_parameter(struct text *target, const char *name, const char *value)
{
    if (value != NULL) {
        text_printf(target, "%c%s=", strchr(target->data, '?') == NULL ? '?' : '&', name);
        ctl__escape(target, value);
    }
}

static struct text target_of(const char *prefix, const char *variable, const char *suffix)
{
    struct text target = {0};
    text_add(&target, prefix);
    if (variable != NULL) {
        text_add(&target, "/");
        ctl__escape(&target, variable);
        text_add(&target, suffix);
    }
    return target;
}

/* ---- lists ----------------------------------------------------------------------------------- */

/* A list of the API while it is read. */
struct listing {
    const char *name; /* of the array in the answer */
    struct ctl_table table;
    unsigned long rows_left;
};

static void print_json_rows(const json_t *rows)
{
    size_t index;
    const json_t *row;
    json_array_foreach(rows, index, row)
    {
        json_dumpf(row, stdout, JSON_COMPACT);
        putchar('\n');
    }
}

/* Prints one page. Gives the cursor of the next one, to be freed, or NULL. */
static char *print_page(const struct ctl *ctl, struct listing *listing, json_t *page)
{
    json_t *rows = json_object_get(page, listing->name);
    while (json_array_size(rows) > listing->rows_left) {
        json_array_remove(rows, json_array_size(rows) - 1);
    }
    listing->rows_left -= json_array_size(rows);
    if (ctl->json != NULL) {
        print_json_rows(rows);
    } else {
        ctl__print_rows(&listing->table, rows);
    }
    const char *cursor = json_string_value(json_object_get(page, "cursor"));
    return cursor != NULL && listing->rows_left > 0 ? mem_copy_text(cursor, strlen(cursor)) : NULL;
}

static bool ask_page(const struct ctl *ctl, struct listing *listing, const char *target,
                     char **cursor)
{
    struct text full = {0};
    char limit[16];
    unsigned long rows = listing->rows_left < PAGE_ROWS ? listing->rows_left : PAGE_ROWS;
    snprintf(limit, sizeof(limit), "%lu", rows);
    text_add(&full, target);
    add_parameter(&full, "limit", limit);
    add_parameter(&full, "cursor", *cursor);
    json_t *page = ctl__ask(ctl->http, "GET", full.data, NULL);
    text_fini(&full);
    mem_free(*cursor);
    *cursor = page != NULL ? print_page(ctl, listing, page) : NULL;
    json_decref(page);
    return page != NULL;
}

static bool parse_limit(const char *words, unsigned long *out)
{
    char *end = NULL;
    if (words == NULL) {
        *out = (unsigned long)-1;
        return true;
    }
    errno = 0;
    *out = strtoul(words, &end, 10);
    return words[0] >= '0' && words[0] <= '9' && *end == '\0' && errno == 0 && *out > 0;
}

/* Takes `target`. */
static int print_list(const struct ctl *ctl, struct text target, const char *name,
                      const struct ctl_column *columns, size_t count)
{
    struct listing listing = {.name = name, .table = {.columns = columns, .count = count}};
    char *cursor = NULL;
    bool good = true;
    if (!parse_limit(ctl->limit, &listing.rows_left)) {
        text_fini(&target);
        (void)ctl__fail("--limit must be a number above 0");
        return CTL_USAGE;
    }
    do {
        good = ask_page(ctl, &listing, target.data, &cursor);
    } while (good && cursor != NULL);
    mem_free(cursor);
    text_fini(&target);
    return good ? ctl__finish_output() : CTL_FAILED;
}

static int run_clients(struct ctl *ctl)
{
    static const struct ctl_column columns[] = {
        {"client_id", "CLIENT ID"},       {"username", "USER"},         {"address", "ADDRESS"},
        {"listener", "LISTENER"},         {"protocol_version", "MQTT"}, {"tls_version", "TLS"},
        {"keep_alive_s", "KEEP ALIVE"},   {"subscriptions", "SUBS"},    {"queued", "QUEUED"},
        {"connected_at", "CONNECTED AT"},
    };
    struct text target = target_of("/api/v1/clients", NULL, "");
    add_parameter(&target, "client_id", ctl->client_id);
    add_parameter(&target, "username", ctl->username);
    add_parameter(&target, "address", ctl->address);
    add_parameter(&target, "listener", ctl->listener);
    return print_list(ctl, target, "clients", columns, ARRAY_COUNT(columns));
}

static int run_sessions(struct ctl *ctl)
{
    static const struct ctl_column columns[] = {
        {"client_id", "CLIENT ID"},     {"connected", "CONNECTED"},
        {"subscriptions", "SUBS"},      {"inflight", "INFLIGHT"},
        {"queued", "QUEUED"},           {"queued_bytes", "BYTES"},
        {"session_expiry_s", "EXPIRY"}, {"offline_since", "OFFLINE SINCE"},
        {"expires_at", "EXPIRES AT"},
    };
    struct text target = target_of("/api/v1/sessions", NULL, "");
    add_parameter(&target, "client_id", ctl->client_id);
    add_parameter(&target, "username", ctl->username);
    add_parameter(&target, "address", ctl->address);
    add_parameter(&target, "listener", ctl->listener);
    add_parameter(&target, "connected", ctl->connected);
    return print_list(ctl, target, "sessions", columns, ARRAY_COUNT(columns));
}

static int run_subscriptions(struct ctl *ctl)
{
    static const struct ctl_column columns[] = {
        {"client_id", "CLIENT ID"}, {"filter", "FILTER"},
        {"share", "SHARE"},         {"qos", "QOS"},
        {"no_local", "NO LOCAL"},   {"retain_as_published", "AS PUBLISHED"},
        {"identifier", "ID"},
    };
    const char *id = ctl->arguments[0];
    struct text target = id != NULL ? target_of("/api/v1/sessions", id, "/subscriptions")
                                    : target_of("/api/v1/subscriptions", NULL, "");
    add_parameter(&target, "client_id", ctl->client_id);
    add_parameter(&target, "filter", ctl->filter);
    add_parameter(&target, "topic", ctl->topic);
    return print_list(ctl, target, "subscriptions", columns, ARRAY_COUNT(columns));
}

/* ---- one object ------------------------------------------------------------------------------ */

/* Takes `target`. Prints the answer, if it has one. */
static int ask(const struct ctl *ctl, const char *method, struct text target, const json_t *body)
{
    json_t *answer = ctl__ask(ctl->http, method, target.data, body);
    text_fini(&target);
    if (answer == NULL) {
        return CTL_FAILED;
    }
    if (ctl->json != NULL && json_is_object(answer)) {
        json_dumpf(answer, stdout, JSON_COMPACT);
        putchar('\n');
    } else if (json_is_object(answer)) {
        ctl__print_object(answer, 0);
    }
    json_decref(answer);
    return ctl__finish_output();
}

static int run_status(struct ctl *ctl)
{
    return ask(ctl, "GET", target_of("/api/v1/status", NULL, ""), NULL);
}

static int run_client(struct ctl *ctl)
{
    return ask(ctl, "GET", target_of("/api/v1/clients", ctl->arguments[0], ""), NULL);
}

static int run_kick(struct ctl *ctl)
{
    return ask(ctl, "DELETE", target_of("/api/v1/clients", ctl->arguments[0], ""), NULL);
}

static int run_session(struct ctl *ctl)
{
    return ask(ctl, "GET", target_of("/api/v1/sessions", ctl->arguments[0], ""), NULL);
}

static int run_drop(struct ctl *ctl)
{
    return ask(ctl, "DELETE", target_of("/api/v1/sessions", ctl->arguments[0], ""), NULL);
}

static int run_reload(struct ctl *ctl)
{
    return ask(ctl, "POST", target_of("/api/v1/reload", NULL, ""), NULL);
}

static int run_retained(struct ctl *ctl)
{
    static const struct ctl_column columns[] = {
        {"topic", "TOPIC"},           {"qos", "QOS"},         {"payload_bytes", "BYTES"},
        {"expires_at", "EXPIRES AT"}, {"payload", "PAYLOAD"},
    };
    const char *topic = ctl->arguments[0];
    if (topic != NULL) {
        return ask(ctl, ctl->delete != NULL ? "DELETE" : "GET",
                   target_of("/api/v1/retained", topic, ""), NULL);
    }
    if (ctl->delete != NULL) {
        (void)ctl__fail("--delete needs the topic");
        return CTL_USAGE;
    }
    struct text target = target_of("/api/v1/retained", NULL, "");
    add_parameter(&target, "filter", ctl->filter);
    add_parameter(&target, "payload_bytes", ctl->payload_bytes);
    bool shows = ctl->payload_bytes != NULL && strcmp(ctl->payload_bytes, "0") != 0;
    return print_list(ctl, target, "retained", columns, ARRAY_COUNT(columns) - (shows ? 0 : 1));
}

static int run_log(struct ctl *ctl)
{
    struct text target = target_of("/api/v1/log", NULL, "");
    if (ctl->arguments[0] == NULL) {
        return ask(ctl, "GET", target, NULL);
    }
    json_t *body = json_pack("{s:s}", "filter", ctl->arguments[0]);
    if (body == NULL) {
        text_fini(&target);
        (void)ctl__fail("the filter is not UTF-8");
        return CTL_USAGE;
    }
    int code = ask(ctl, "PUT", target, body);
    json_decref(body);
    return code;
}

/* ---- publish --------------------------------------------------------------------------------- */

/* Reads the payload from the file; false: told. */
static bool read_file(const char *path, struct text *out)
{
    char part[4096];
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (file == NULL) {
        (void)ctl__fail("cannot read %s: %s", path, strerror(errno));
        return false;
    }
    size_t len = 1;
    while (len > 0 && out->len <= PAYLOAD_BYTES_MAX) {
        len = fread(part, 1, sizeof(part), file);
        text_add_bytes(out, part, len);
    }
    bool good = !ferror(file);
    if (!good) {
        (void)ctl__fail("cannot read %s: %s", path, strerror(errno));
    }
    if (file != stdin) {
        fclose(file);
    }
    return good;
}

/* Gives the body of the request, or NULL: told. */
static json_t *describe_message(const struct ctl *ctl, const struct text *payload)
{
    struct text coded = {0};
    text_add(&coded, "");
    base64_add(&coded, slice_of(payload->data, payload->len), BASE64_PADDED);
    json_t *body =
        json_pack("{s:s, s:s, s:i, s:b}", "topic", ctl->arguments[0], "payload_base64", coded.data,
                  "qos", ctl->qos != NULL ? atoi(ctl->qos) : 0, "retain", ctl->retain != NULL);
    text_fini(&coded);
    if (body == NULL) {
        (void)ctl__fail("the topic is not UTF-8");
    }
    return body;
}

static int run_publish(struct ctl *ctl)
{
    struct text payload = {0};
    bool qos_is_good =
        ctl->qos == NULL || (strlen(ctl->qos) == 1 && ctl->qos[0] >= '0' && ctl->qos[0] <= '2');
    if (!qos_is_good || (ctl->file != NULL && ctl->arguments[1] != NULL)) {
        (void)ctl__fail(qos_is_good ? "a payload and --file are one too many"
                                    : "--qos must be 0, 1 or 2");
        return CTL_USAGE;
    }
    text_add(&payload, ctl->arguments[1] != NULL ? ctl->arguments[1] : "");
    int code = CTL_FAILED;
    if (ctl->file != NULL && !read_file(ctl->file, &payload)) {
        code = CTL_FAILED;
    } else if (payload.len > PAYLOAD_BYTES_MAX) {
        code = ctl__fail("the payload is larger than %d bytes", PAYLOAD_BYTES_MAX);
    } else {
        json_t *body = describe_message(ctl, &payload);
        code = body == NULL ? CTL_USAGE
                            : ask(ctl, "POST", target_of("/api/v1/publish", NULL, ""), body);
        json_decref(body);
    }
    text_fini(&payload);
    return code;
}

/* ---- trace ----------------------------------------------------------------------------------- */

static void print_line(void *context, struct slice line)
{
    const struct ctl *ctl = context;
    json_t *object = ctl->json == NULL
                         ? json_loadb((const char *)line.data, line.len, JSON_ALLOW_NUL, NULL)
                         : NULL;
    if (object == NULL) { /* raw, or not to be understood: it is printable, as JSON is */
        fwrite(line.data, 1, line.len, stdout);
        putchar('\n');
    } else {
        const char *key;
        json_t *value;
        struct text words = {0};
        json_object_foreach(object, key, value)
        {
            bool head = strcmp(key, "time") == 0 || strcmp(key, "direction") == 0 ||
                        strcmp(key, "packet") == 0 || strcmp(key, "event") == 0;
            text_add(&words, words.len > 0 ? " " : "");
            if (!head) {
                text_printf(&words, "%s=", key);
            }
            if (json_is_array(value)) {
                char *array = json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII);
                text_add(&words, array != NULL ? array : "");
                free(array);
            } else {
                ctl__add_value(&words, value);
            }
        }
        printf("%s\n", words.data);
        text_fini(&words);
        json_decref(object);
    }
    fflush(stdout);
}

static int run_trace(struct ctl *ctl)
{
    long seconds = ctl->seconds != NULL ? atol(ctl->seconds) : 60;
    struct text target = target_of("/api/v1/clients", ctl->arguments[0], "/trace");
    add_parameter(&target, "seconds", ctl->seconds);
    int code = ctl__stream(ctl->http, target.data, seconds + 30, print_line, ctl);
    text_fini(&target);
    return code == CTL_DONE ? ctl__finish_output() : code;
}

/* clang-format off */
const struct ctl_verb ctl__verbs[] = {
    {"status",        "",                  "the node: version, uptime, health", "", 0, 0, run_status},
    {"clients",       "",                  "connected clients", " client-id username address listener limit ", 0, 0, run_clients},
    {"client",        "CLIENT_ID",         "one connected client", "", 1, 1, run_client},
    {"kick",          "CLIENT_ID",         "disconnect a client", "", 1, 1, run_kick},
    {"sessions",      "",                  "sessions, those whose client is away too", " client-id username address listener connected limit ", 0, 0, run_sessions},
    {"session",       "CLIENT_ID",         "one session", "", 1, 1, run_session},
    {"drop",          "CLIENT_ID",         "disconnect a client and end its session", "", 1, 1, run_drop},
    {"subscriptions", "[CLIENT_ID]",       "subscriptions of one session, or of all", " client-id filter topic limit ", 0, 1, run_subscriptions},
    {"retained",      "[TOPIC]",           "retained messages, or one of them", " filter payload-bytes limit delete ", 0, 1, run_retained},
    {"publish",       "TOPIC [PAYLOAD]",   "publish a message", " qos retain file ", 1, 2, run_publish},
    {"log",           "[FILTER]",          "log levels, or change them: info,conn=debug", "", 0, 1, run_log},
    {"trace",         "CLIENT_ID",         "packets of one client, as they come and go", " seconds ", 1, 1, run_trace},
    {"reload",        "",                  "read certificates, users and rules again", "", 0, 0, run_reload},
};
/* clang-format on */
const size_t ctl__verb_count = ARRAY_COUNT(ctl__verbs);
