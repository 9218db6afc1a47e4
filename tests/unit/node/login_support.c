#include "tests/unit/node/login_support.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/reclaim.h"
#include "codec/mqtt.h"
#include "node/auth/auth.h"

#define PATIENCE_MS 10000

static char config_path[] = "/tmp/pulse-login-XXXXXX";
static char *arguments[6];

/* ---- the broker ------------------------------------------------------------------------------ */

void login_rig_rewrite(const char *yaml)
{
    FILE *file = fopen(config_path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(yaml, 1, strlen(yaml), file), strlen(yaml));
    assert_int_equal(fclose(file), 0);
}

char *const *login_rig_argv(int *argc)
{
    *argc = 5;
    return arguments;
}

void login_rig_start(struct rig *rig, unsigned workers, const char *yaml)
{
    static char count[32];
    static char log[] = "--log=error";
    static char name[] = "pulse";
    static char flag[] = "--config";
    char *environment[] = {NULL};
    strcpy(config_path + strlen(config_path) - 6, "XXXXXX");
    int fd = mkstemp(config_path);
    assert_true(fd >= 0);
    close(fd);
    login_rig_rewrite(yaml);
    snprintf(count, sizeof(count), "--worker-threads=%u", workers);
    char *all[] = {name, count, log, flag, config_path, NULL};
    memcpy(arguments, all, sizeof(all));
    *rig = (struct rig){.broker = NULL};
    (void)signal(SIGPIPE, SIG_IGN);
    FILE *nowhere = fopen("/dev/null", "w"); /* plain passwords are warned of */
    assert_int_equal(config_load(&rig->config, 5, arguments, environment, stdout, nowhere),
                     CONFIG_RUN);
    fclose(nowhere);
    reclaim_thread_register();
    assert_int_equal(broker_create(&rig->config, &rig->broker), ERR_OK);
    assert_int_equal(broker_load_secrets(rig->broker), ERR_OK);
    if (rig->broker->auth != NULL) {
        assert_int_equal(auth_start(rig->broker->auth), ERR_OK);
    }
    rig->worker = rig->broker->workers[0];
    rig_turn(rig);
}

void login_rig_stop(struct rig *rig)
{
    if (rig->broker->auth != NULL) {
        auth_stop(rig->broker->auth); /* as broker_join: before the workers are destroyed */
    }
    rig_stop(rig);
    unlink(config_path);
}

/* ---- CONNECT and AUTH ------------------------------------------------------------------------ */

static void put_16(struct writer *w, size_t value)
{
    *w->at++ = (uint8_t)(value >> 8);
    *w->at++ = (uint8_t)value;
}

static void put_bytes(struct writer *w, const void *bytes, size_t len)
{
    if (len > 0) {
        memcpy(w->at, bytes, len);
    }
    w->at += len;
}

static void put_text(struct writer *w, const char *text)
{
    put_16(w, strlen(text));
    put_bytes(w, text, strlen(text));
}

static void put_data(struct writer *w, uint8_t property, struct slice data)
{
    *w->at++ = property;
    put_16(w, data.len);
    put_bytes(w, data.data, data.len);
}

static void put_length(struct writer *w, size_t len)
{
    for (; len > 127; len >>= 7) {
        *w->at++ = (uint8_t)(len | 128);
    }
    *w->at++ = (uint8_t)len;
}

static void put_properties(struct writer *w, const struct login_wish *wish)
{
    uint8_t bytes[512];
    struct writer p = {.at = bytes, .end = bytes + sizeof(bytes)};
    if (wish->session_expiry > 0) {
        mqtt_prop_write_u32(&p, MQTT_PROP_SESSION_EXPIRY, wish->session_expiry);
    }
    if (wish->maximum_packet_size > 0) {
        mqtt_prop_write_u32(&p, MQTT_PROP_MAXIMUM_PACKET_SIZE, wish->maximum_packet_size);
    }
    if (wish->method != NULL) {
        put_data(&p, MQTT_PROP_AUTH_METHOD, slice_text(wish->method));
    }
    if (wish->data.len > 0) {
        put_data(&p, MQTT_PROP_AUTH_DATA, wish->data);
    }
    put_length(w, (size_t)(p.at - bytes));
    put_bytes(w, bytes, (size_t)(p.at - bytes));
}

static void put_will(struct writer *w, const struct login_wish *wish, uint8_t version)
{
    if (version == 5) {
        *w->at++ = wish->will_delay > 0 ? 5 : 0;
        if (wish->will_delay > 0) {
            mqtt_prop_write_u32(w, MQTT_PROP_WILL_DELAY, wish->will_delay);
        }
    }
    put_text(w, wish->will_topic);
    put_text(w, "will");
}

static void put_connect(struct writer *w, const struct login_wish *wish)
{
    uint8_t version = wish->version > 0 ? wish->version : 5;
    put_text(w, "MQTT");
    *w->at++ = version;
    *w->at++ = (uint8_t)((wish->will_topic != NULL) << 2 | (wish->password != NULL) << 6 |
                         (wish->user != NULL) << 7);
    put_16(w, 0);
    if (version == 5) {
        put_properties(w, wish);
    }
    put_text(w, wish->id);
    if (wish->will_topic != NULL) {
        put_will(w, wish, version);
    }
    if (wish->user != NULL) {
        put_text(w, wish->user);
    }
    if (wish->password != NULL) {
        put_text(w, wish->password);
    }
}

size_t login_write_connect(const struct login_wish *wish, uint8_t out[static 1024])
{
    uint8_t body[900];
    struct writer b = {.at = body, .end = body + sizeof(body)};
    put_connect(&b, wish);
    struct writer w = {.at = out, .end = out + 1024};
    *w.at++ = MQTT_CONNECT << 4;
    put_length(&w, (size_t)(b.at - body));
    put_bytes(&w, body, (size_t)(b.at - body));
    return (size_t)(w.at - out);
}

void login_send_connect(struct client *client, const struct login_wish *wish)
{
    uint8_t bytes[1024];
    client_send(client, bytes, login_write_connect(wish, bytes));
}

void login_send_auth(struct client *client, uint8_t reason, const char *method, struct slice data)
{
    uint8_t props[512];
    struct writer p = {.at = props, .end = props + sizeof(props)};
    put_data(&p, MQTT_PROP_AUTH_METHOD, slice_text(method));
    if (data.len > 0) {
        put_data(&p, MQTT_PROP_AUTH_DATA, data);
    }
    uint8_t bytes[600];
    struct writer w = {.at = bytes, .end = bytes + sizeof(bytes)};
    size_t len = (size_t)(p.at - props);
    *w.at++ = MQTT_AUTH << 4;
    put_length(&w, 1 + len + (len > 127 ? 2 : 1));
    *w.at++ = reason;
    put_length(&w, len);
    put_bytes(&w, props, len);
    client_send(client, bytes, (size_t)(w.at - bytes));
}

/* ---- clients --------------------------------------------------------------------------------- */

void login_come(struct client *client, struct rig *rig, struct listener *listener,
                struct layers *layers)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    *client = (struct client){.rig = rig, .fd = fds[0]};
    reclaim_enter();
    conn_open(rig->worker,
              &(struct conn_start){.fd = fds[1], .listener = listener, .layers = layers});
    reclaim_leave();
    client->conn = list_entry(rig->worker->conns.prev, struct conn, of_worker);
}

static void turn_and_wait(struct rig *rig)
{
    rig_turn(rig);
    usleep(1000);
}

struct packet login_await(struct client *client, enum mqtt_packet type)
{
    struct packet packet = {.type = 0};
    uint64_t end = clock_mono_ms() + PATIENCE_MS;
    while (!client_next(client, &packet)) {
        assert_true(clock_mono_ms() < end);
        turn_and_wait(client->rig);
    }
    assert_int_equal(packet.type, type);
    return packet;
}

void login_await_end(struct client *client)
{
    uint8_t bytes[256];
    uint64_t end = clock_mono_ms() + PATIENCE_MS;
    ssize_t len;
    while ((len = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) != 0) {
        if (len < 0 && errno != EAGAIN) {
            return; /* reset: closed as well */
        }
        assert_true(clock_mono_ms() < end);
        turn_and_wait(client->rig);
    }
}

void login_await_count(struct rig *rig, const uint32_t *value, uint32_t wanted)
{
    uint64_t end = clock_mono_ms() + PATIENCE_MS;
    while (*value != wanted) {
        assert_true(clock_mono_ms() < end);
        turn_and_wait(rig);
    }
}

static void find_session(struct client *client, const char *id)
{
    const struct broker *broker = client->rig->broker;
    unsigned home = broker_worker_of(broker, slice_text(id));
    client->session = session_table_find(&broker->workers[home]->sessions, slice_text(id));
    assert_non_null(client->session);
    client->conn = client->session->conn;
    assert_non_null(client->conn);
}

uint8_t login_connect(struct client *client, struct rig *rig, struct login_wish wish)
{
    login_come(client, rig, NULL, NULL);
    login_send_connect(client, &wish);
    uint8_t reason = login_await(client, MQTT_CONNACK).body.data[1];
    if (reason == 0) {
        find_session(client, wish.id);
    }
    return reason;
}

uint8_t login_subscribe(struct client *client, const char *filter, uint8_t qos)
{
    uint8_t bytes[256];
    struct writer w = {.at = bytes, .end = bytes + sizeof(bytes)};
    bool v5 = client->conn->version == MQTT_V5;
    *w.at++ = MQTT_SUBSCRIBE << 4 | 2;
    *w.at++ = (uint8_t)(strlen(filter) + (v5 ? 6 : 5));
    put_16(&w, 1);
    if (v5) {
        *w.at++ = 0; /* no properties */
    }
    put_text(&w, filter);
    *w.at++ = qos;
    client_send(client, bytes, (size_t)(w.at - bytes));
    struct packet suback = login_await(client, MQTT_SUBACK);
    return suback.body.data[suback.body.len - 1];
}
