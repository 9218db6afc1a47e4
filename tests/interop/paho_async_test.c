/*
 * Paho's asynchronous C client (MQTTAsync) does real work against the broker at $PULSE_PORT: many
 * clients on the library's own threads, automatic reconnects, sessions that are taken over while
 * messages are on their way.
 *
 *     tests/interop/broker.py paho_async_test VERSION        3.1.1 or 5.0
 */
#include <pthread.h>
#include <string.h>
#include <time.h>

#include <MQTTAsync.h>

#include "tests/interop/report.h"

enum {
    WAIT_SECONDS = 30,
    QUIET_MS = 300,
    MANY = 1000,
    TAKEOVERS = 3,
    CROWD = 50,
    CROWD_MESSAGES = 40,
    NO_REASON = -1,
};

static int version;
static char uri[64];

/* One lock for all that the library's threads tell us. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t news = PTHREAD_COND_INITIALIZER;

struct peer {
    MQTTAsync client;
    int connects;
    int losses;
    int disconnect_reason; /* of the DISCONNECT that the broker sent, or NO_REASON */
    bool session_present;
    int finished; /* requests that ended well */
    int failed;
    int received;
    int expected_next; /* the payloads are numbers; they come in order */
    bool in_order;
};

static bool is_5(void)
{
    return version == MQTTVERSION_5;
}

/* Waits until `*counter` is at least `count`; false when it takes too long. */
static bool wait_for(const int *counter, int count)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += WAIT_SECONDS;
    pthread_mutex_lock(&lock);
    int rc = 0;
    while (*counter < count && rc == 0) {
        rc = pthread_cond_timedwait(&news, &lock, &deadline);
    }
    bool reached = *counter >= count;
    pthread_mutex_unlock(&lock);
    return reached;
}

static void add_one(int *counter)
{
    pthread_mutex_lock(&lock);
    (*counter)++;
    pthread_cond_broadcast(&news);
    pthread_mutex_unlock(&lock);
}

static int value_of(const int *counter)
{
    pthread_mutex_lock(&lock);
    int value = *counter;
    pthread_mutex_unlock(&lock);
    return value;
}

static void let_pass(int ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

/* ---- what the library calls
 * ---------------------------------------------------------------------------- */

static void on_connected(void *context, char *cause)
{
    (void)cause;
    struct peer *peer = context;
    add_one(&peer->connects);
}

static void on_lost(void *context, char *cause)
{
    (void)cause;
    struct peer *peer = context;
    add_one(&peer->losses);
}

static void on_disconnected(void *context, MQTTProperties *props, enum MQTTReasonCodes reason)
{
    (void)props;
    struct peer *peer = context;
    pthread_mutex_lock(&lock);
    peer->disconnect_reason = (int)reason;
    pthread_mutex_unlock(&lock);
    add_one(&peer->losses);
}

static int on_message(void *context, char *topic, int topic_len, MQTTAsync_message *message)
{
    (void)topic_len;
    struct peer *peer = context;
    char text[16] = "";
    if (message->payloadlen < (int)sizeof(text)) {
        memcpy(text, message->payload, (size_t)message->payloadlen);
    }
    int number = atoi(text);
    pthread_mutex_lock(&lock);
    peer->in_order = peer->in_order && number == peer->expected_next;
    peer->expected_next = number + 1;
    pthread_mutex_unlock(&lock);
    add_one(&peer->received);
    MQTTAsync_freeMessage(&message);
    MQTTAsync_free(topic);
    return 1;
}

static void on_success(void *context, MQTTAsync_successData *data)
{
    (void)data;
    add_one(&((struct peer *)context)->finished);
}

static void on_failure(void *context, MQTTAsync_failureData *data)
{
    (void)data;
    add_one(&((struct peer *)context)->failed);
}

static void on_success_5(void *context, MQTTAsync_successData5 *data)
{
    (void)data;
    add_one(&((struct peer *)context)->finished);
}

static void on_failure_5(void *context, MQTTAsync_failureData5 *data)
{
    (void)data;
    add_one(&((struct peer *)context)->failed);
}

static void on_connect_success(void *context, MQTTAsync_successData *data)
{
    struct peer *peer = context;
    pthread_mutex_lock(&lock);
    peer->session_present = data->alt.connect.sessionPresent != 0;
    pthread_mutex_unlock(&lock);
    add_one(&peer->finished);
}

static void on_connect_success_5(void *context, MQTTAsync_successData5 *data)
{
    struct peer *peer = context;
    pthread_mutex_lock(&lock);
    peer->session_present = data->alt.connect.sessionPresent != 0;
    pthread_mutex_unlock(&lock);
    add_one(&peer->finished);
}

/* ---- a client
 * ------------------------------------------------------------------------------------------- */

static MQTTAsync_responseOptions response_options(struct peer *peer)
{
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
    options.context = peer;
    if (is_5()) {
        options.onSuccess5 = on_success_5;
        options.onFailure5 = on_failure_5;
    } else {
        options.onSuccess = on_success;
        options.onFailure = on_failure;
    }
    return options;
}

/* Returns when what was just begun has ended. */
static void must_finish(struct peer *peer, int finished, const char *what)
{
    must(wait_for(&peer->finished, finished) && value_of(&peer->failed) == 0, "%s", what);
}

static void peer_create(struct peer *peer, const char *client_id)
{
    *peer = (struct peer){.disconnect_reason = NO_REASON, .in_order = true};
    MQTTAsync_createOptions options = MQTTAsync_createOptions_initializer;
    options.MQTTVersion = version;
    options.sendWhileDisconnected = 1;
    options.maxBufferedMessages = MANY + 1;
    int rc = MQTTAsync_createWithOptions(&peer->client, uri, client_id, MQTTCLIENT_PERSISTENCE_NONE,
                                         NULL, &options);
    must(rc == MQTTASYNC_SUCCESS, "a client object: %d", rc);
    MQTTAsync_setCallbacks(peer->client, peer, on_lost, on_message, NULL);
    MQTTAsync_setConnected(peer->client, peer, on_connected);
    MQTTAsync_setDisconnected(peer->client, peer, on_disconnected);
}

/* Begins to connect, with a session that is kept, or that ends with the connection. */
static void peer_connect_begin(struct peer *peer, bool keep, bool automatic)
{
    MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer;
    MQTTAsync_connectOptions options_5 = MQTTAsync_connectOptions_initializer5;
    MQTTProperties props = MQTTProperties_initializer;
    if (is_5()) {
        options = options_5;
        options.cleanstart = !keep;
        options.onSuccess5 = on_connect_success_5;
        options.onFailure5 = on_failure_5;
        MQTTProperty expiry = {.identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL,
                               .value.integer4 = keep ? 100 : 0};
        MQTTProperties_add(&props, &expiry);
        options.connectProperties = &props;
    } else {
        options.cleansession = !keep;
        options.onSuccess = on_connect_success;
        options.onFailure = on_failure;
    }
    options.MQTTVersion = version;
    options.context = peer;
    options.automaticReconnect = automatic;
    options.minRetryInterval = 1;
    options.maxRetryInterval = 1;
    options.maxInflight = MANY; /* a full window makes the library wait for a second */
    int rc = MQTTAsync_connect(peer->client, &options);
    must(rc == MQTTASYNC_SUCCESS, "a connect that begins: %d", rc);
    MQTTProperties_free(&props);
}

static void peer_connect(struct peer *peer, bool keep, bool automatic)
{
    int finished = value_of(&peer->finished);
    peer_connect_begin(peer, keep, automatic);
    must_finish(peer, finished + 1, "CONNACK without an error");
}

static void peer_open(struct peer *peer, const char *client_id, bool keep)
{
    peer_create(peer, client_id);
    peer_connect(peer, keep, false);
}

static void peer_subscribe(struct peer *peer, const char *filter, int qos)
{
    MQTTAsync_responseOptions options = response_options(peer);
    int finished = value_of(&peer->finished);
    int rc = MQTTAsync_subscribe(peer->client, filter, qos, &options);
    must(rc == MQTTASYNC_SUCCESS, "a subscribe that begins: %d", rc);
    must_finish(peer, finished + 1, "a granted subscription");
}

/* Hands `count` numbers to the library, which sends them when it can. */
static void peer_publish(struct peer *peer, const char *topic, int first, int count, int qos)
{
    for (int number = first; number < first + count; number++) {
        char text[16];
        int len = snprintf(text, sizeof(text), "%d", number);
        MQTTAsync_responseOptions options = response_options(peer);
        int rc = MQTTAsync_send(peer->client, topic, len, text, qos, 0, &options);
        must(rc == MQTTASYNC_SUCCESS, "room for message %d: %d", number, rc);
    }
}

static void peer_leave_begin(struct peer *peer)
{
    MQTTAsync_disconnectOptions options = MQTTAsync_disconnectOptions_initializer;
    MQTTAsync_disconnectOptions options_5 = MQTTAsync_disconnectOptions_initializer5;
    if (is_5()) {
        options = options_5;
        options.onSuccess5 = on_success_5;
        options.onFailure5 = on_failure_5;
    } else {
        options.onSuccess = on_success;
        options.onFailure = on_failure;
    }
    options.context = peer;
    options.timeout = 1000;
    int rc = MQTTAsync_disconnect(peer->client, &options);
    must(rc == MQTTASYNC_SUCCESS, "a disconnect that begins: %d", rc);
}

static void peer_leave(struct peer *peer)
{
    int finished = value_of(&peer->finished);
    peer_leave_begin(peer);
    must_finish(peer, finished + 1, "a disconnect");
}

static void peer_close(struct peer *peer)
{
    peer_leave(peer);
    MQTTAsync_destroy(&peer->client);
}

static void must_have_all(struct peer *peer, int count, const char *what)
{
    must(wait_for(&peer->received, count), "%s: all %d; %d came", what, count,
         value_of(&peer->received));
    let_pass(QUIET_MS);
    must(value_of(&peer->received) == count, "%s: %d, none twice; %d came", what, count,
         value_of(&peer->received));
    pthread_mutex_lock(&lock);
    bool in_order = peer->in_order;
    pthread_mutex_unlock(&lock);
    must(in_order, "%s: in order", what);
}

/* ---- checks
 * --------------------------------------------------------------------------------------------- */

static void check_qos(void)
{
    struct peer publisher;
    peer_open(&publisher, "publisher", false);
    for (int qos = 0; qos <= 2; qos++) {
        struct peer subscriber;
        peer_open(&subscriber, "subscriber", false);
        peer_subscribe(&subscriber, "qos", qos);
        int finished = value_of(&publisher.finished);
        peer_publish(&publisher, "qos", 0, MANY, qos);
        must_finish(&publisher, finished + MANY, "an acknowledgement of each publish");
        must_have_all(&subscriber, MANY, "messages");
        verified("%d messages at QoS %d, each once and in order", MANY, qos);
        peer_close(&subscriber);
    }
    peer_close(&publisher);
}

/* Another connection takes the session of `victim` for a moment; the library connects again. */
static void take_over(struct peer *victim, const char *client_id)
{
    int losses = value_of(&victim->losses);
    int connects = value_of(&victim->connects);
    struct peer intruder;
    peer_open(&intruder, client_id, true);
    pthread_mutex_lock(&lock);
    bool present = intruder.session_present;
    pthread_mutex_unlock(&lock);
    must(present, "the session is present for who takes it over");
    must(wait_for(&victim->losses, losses + 1), "the older connection ends");
    peer_close(&intruder);
    must(wait_for(&victim->connects, connects + 1), "the library connects again by itself");
}

/* Messages of QoS 2 stay exactly once, and in order, while their publisher loses its session. */
static void check_publisher_taken_over(void)
{
    struct peer publisher, subscriber;
    peer_open(&subscriber, "witness", false);
    peer_subscribe(&subscriber, "over", 2);
    peer_create(&publisher, "wanderer");
    peer_connect(&publisher, true, true);
    int finished = value_of(&publisher.finished);
    for (int part = 0; part < TAKEOVERS; part++) {
        peer_publish(&publisher, "over", part * 100, 100, 2);
        take_over(&publisher, "wanderer");
    }
    must_finish(&publisher, finished + TAKEOVERS * 100, "an acknowledgement of each publish");
    must_have_all(&subscriber, TAKEOVERS * 100, "messages of QoS 2");
    verified("QoS 2 from a session that was taken over %d times: each once and in order",
             TAKEOVERS);
    if (is_5()) {
        must(publisher.disconnect_reason == MQTTREASONCODE_SESSION_TAKEN_OVER,
             "Session taken over: 0x%02x", (unsigned)publisher.disconnect_reason);
        verified("DISCONNECT says Session taken over");
    }
    peer_close(&publisher);
    peer_close(&subscriber);
}

/* A session keeps collecting while its client is away, and hands over in order when it is back. */
static void check_offline(void)
{
    struct peer publisher, keeper;
    peer_open(&publisher, "publisher", false);
    peer_open(&keeper, "keeper", true);
    must(!keeper.session_present, "no session is present at first");
    peer_subscribe(&keeper, "away", 2);
    peer_leave(&keeper);
    int finished = value_of(&publisher.finished);
    peer_publish(&publisher, "away", 0, MANY, 1);
    must_finish(&publisher, finished + MANY, "an acknowledgement of each publish");
    peer_connect(&keeper, true, false);
    pthread_mutex_lock(&lock);
    bool present = keeper.session_present;
    pthread_mutex_unlock(&lock);
    must(present, "the session is present");
    must_have_all(&keeper, MANY, "messages that waited");
    verified("%d messages waited for a client that was away", MANY);
    peer_close(&keeper);
    peer_open(&keeper, "keeper", false);
    peer_close(&keeper);
    peer_close(&publisher);
}

/* Many clients at once, each with a topic of its own. The library takes seconds for one request of
 * each, but no longer for many at a time. */
static void check_crowd(void)
{
    static struct peer crowd[CROWD];
    char name[32];
    for (int i = 0; i < CROWD; i++) {
        snprintf(name, sizeof(name), "crowd/%d", i);
        peer_create(&crowd[i], name);
        peer_connect_begin(&crowd[i], false, false);
    }
    for (int i = 0; i < CROWD; i++) {
        snprintf(name, sizeof(name), "crowd/%d", i);
        must_finish(&crowd[i], 1, "CONNACK without an error");
        peer_subscribe(&crowd[i], name, i % 3);
    }
    for (int i = 0; i < CROWD; i++) {
        snprintf(name, sizeof(name), "crowd/%d", (i + 1) % CROWD);
        peer_publish(&crowd[i], name, 0, CROWD_MESSAGES, 2);
    }
    for (int i = 0; i < CROWD; i++) {
        must(wait_for(&crowd[i].received, CROWD_MESSAGES), "all messages of a neighbour");
        must_finish(&crowd[i], 2 + CROWD_MESSAGES, "an acknowledgement of each publish");
    }
    for (int i = 0; i < CROWD; i++) {
        must(crowd[i].in_order && crowd[i].received == CROWD_MESSAGES, "each once and in order");
        peer_leave_begin(&crowd[i]);
    }
    verified("%d clients, each sending %d messages to its neighbour", CROWD, CROWD_MESSAGES);
    for (int i = 0; i < CROWD; i++) {
        must_finish(&crowd[i], 3 + CROWD_MESSAGES, "a disconnect");
        MQTTAsync_destroy(&crowd[i].client);
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "3.1.1") == 0) {
        version = MQTTVERSION_3_1_1;
    } else if (argc == 2 && strcmp(argv[1], "5.0") == 0) {
        version = MQTTVERSION_5;
    }
    const char *port = getenv("PULSE_PORT");
    must(version != 0 && port != NULL, "a version (3.1.1, 5.0), and PULSE_PORT set");
    snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%s", port);

    check_qos();
    check_publisher_taken_over();
    check_offline();
    check_crowd();
    printf("%s: all as expected\n", argv[1]);
    return 0;
}
