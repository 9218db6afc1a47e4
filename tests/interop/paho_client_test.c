/*
 * Paho's synchronous C client (MQTTClient) does real work against the broker at $PULSE_PORT.
 *
 *     tests/interop/broker.py paho_client_test VERSION        3.1, 3.1.1 or 5.0
 *
 * Everything runs on one thread: the library serves all its sockets whenever one client waits.
 */
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <MQTTClient.h>

#include "tests/interop/report.h"

enum {
    WAIT_MS = 20000,
    WAIT_SECONDS = 20,
    QUIET_MS = 300,
    MANY = 1000,
    OFFLINE = 100,
    LARGE_BYTES = 1000000,
};

static int version;
static char uri[64];

/* ---- a client
 * ------------------------------------------------------------------------------------- */

struct connect_wish {
    bool keep;                    /* resume a session, and keep it */
    MQTTClient_willOptions *will; /* or NULL */
    bool *session_present;        /* or NULL; 3.1.1 only: at 5.0 the library doesn't tell */
};

static MQTTClient client_create(const char *client_id)
{
    MQTTClient client = NULL;
    MQTTClient_createOptions options = MQTTClient_createOptions_initializer;
    options.MQTTVersion = version;
    int rc = MQTTClient_createWithOptions(&client, uri, client_id, MQTTCLIENT_PERSISTENCE_NONE,
                                          NULL, &options);
    must(rc == MQTTCLIENT_SUCCESS, "a client object: %d", rc);
    return client;
}

static void connect_5(MQTTClient client, MQTTClient_connectOptions *options,
                      const struct connect_wish *wish)
{
    MQTTProperties props = MQTTProperties_initializer;
    if (wish->keep) {
        MQTTProperty expiry = {.identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL,
                               .value.integer4 = 100};
        MQTTProperties_add(&props, &expiry);
    }
    options->cleanstart = !wish->keep;
    MQTTResponse response = MQTTClient_connect5(client, options, &props, NULL);
    must(response.reasonCode == MQTTREASONCODE_SUCCESS, "CONNACK without an error: 0x%02x",
         (unsigned)response.reasonCode);
    MQTTResponse_free(response);
    MQTTProperties_free(&props);
}

static void client_connect(MQTTClient client, const struct connect_wish *wish)
{
    MQTTClient_connectOptions options = MQTTClient_connectOptions_initializer;
    MQTTClient_connectOptions options_5 = MQTTClient_connectOptions_initializer5;
    if (version == MQTTVERSION_5) {
        options = options_5;
    } else {
        options.cleansession = !wish->keep;
    }
    options.MQTTVersion = version;
    options.connectTimeout = WAIT_SECONDS;
    options.will = wish->will;
    options.reliable = 0;
    options.maxInflightMessages = MANY;
    if (version == MQTTVERSION_5) {
        connect_5(client, &options, wish);
        return;
    }
    int rc = MQTTClient_connect(client, &options);
    must(rc == MQTTCLIENT_SUCCESS, "CONNACK without an error: %d", rc);
    if (wish->session_present != NULL) {
        *wish->session_present = options.returned.sessionPresent != 0;
    }
}

static MQTTClient client_open(const char *client_id, bool keep)
{
    MQTTClient client = client_create(client_id);
    client_connect(client, &(struct connect_wish){.keep = keep});
    return client;
}

static void client_leave(MQTTClient client)
{
    int rc = version == MQTTVERSION_5
                 ? MQTTClient_disconnect5(client, 1000, MQTTREASONCODE_SUCCESS, NULL)
                 : MQTTClient_disconnect(client, 1000);
    must(rc == MQTTCLIENT_SUCCESS, "a disconnect: %d", rc);
}

static void client_close(MQTTClient client)
{
    client_leave(client);
    MQTTClient_destroy(&client);
}

static int subscribe_with(MQTTClient client, const char *filter, int qos,
                          MQTTSubscribe_options *options, MQTTProperties *props)
{
    if (version != MQTTVERSION_5) {
        /* The library says only whether it was refused */
        int rc = MQTTClient_subscribe(client, filter, qos);
        return rc == MQTTCLIENT_SUCCESS ? qos : rc;
    }
    MQTTResponse response = MQTTClient_subscribe5(client, filter, qos, options, props);
    int code = (int)response.reasonCode;
    MQTTResponse_free(response);
    return code;
}

static void subscribe(MQTTClient client, const char *filter, int qos)
{
    int code = subscribe_with(client, filter, qos, NULL, NULL);
    must(code == qos, "QoS %d granted to %s: %d", qos, filter, code);
}

struct content {
    const void *payload;
    int len;
    int qos;
    bool retain;
    MQTTProperties *props; /* or NULL */
};

static MQTTClient_deliveryToken publish_later(MQTTClient client, const char *topic,
                                              const struct content *content)
{
    MQTTClient_deliveryToken token = 0;
    MQTTResponse response =
        MQTTClient_publish5(client, topic, content->len, content->payload, content->qos,
                            content->retain, content->props, &token);
    must((int)response.reasonCode == MQTTCLIENT_SUCCESS, "a publish: %d", (int)response.reasonCode);
    MQTTResponse_free(response);
    return token;
}

static void publish(MQTTClient client, const char *topic, const struct content *content)
{
    MQTTClient_deliveryToken token = publish_later(client, topic, content);
    int rc = content->qos == 0 ? MQTTCLIENT_SUCCESS
                               : MQTTClient_waitForCompletion(client, token, WAIT_MS);
    must(rc == MQTTCLIENT_SUCCESS, "an acknowledged publish to %s: %d", topic, rc);
}

static void publish_text(MQTTClient client, const char *topic, const char *text, int qos,
                         bool retain)
{
    publish(client, topic, &(struct content){text, (int)strlen(text), qos, retain, NULL});
}

static void publish_numbers(MQTTClient client, const char *topic, int count, int qos)
{
    MQTTClient_deliveryToken token = 0;
    for (int number = 0; number < count; number++) {
        char text[16];
        int len = snprintf(text, sizeof(text), "%d", number);
        token = publish_later(client, topic, &(struct content){text, len, qos, false, NULL});
    }
    int rc = qos == 0 ? MQTTCLIENT_SUCCESS : MQTTClient_waitForCompletion(client, token, WAIT_MS);
    must(rc == MQTTCLIENT_SUCCESS, "the last acknowledgement of %d at QoS %d: %d", count, qos, rc);
}

/* The next message on `topic`; end it with MQTTClient_freeMessage(). NULL: none came. */
static MQTTClient_message *receive(MQTTClient client, const char *topic, unsigned timeout_ms)
{
    char *name = NULL;
    int len = 0;
    MQTTClient_message *message = NULL;
    (void)MQTTClient_receive(client, &name, &len, &message, timeout_ms); /* NULL says it all */
    if (message != NULL) {
        must(strcmp(name, topic) == 0, "a message on %s: it is on %s", topic, name);
        MQTTClient_free(name);
    }
    return message;
}

static void expect_with(MQTTClient client, const char *topic, const char *text, int qos,
                        bool retain)
{
    MQTTClient_message *message = receive(client, topic, WAIT_MS);
    must(message != NULL, "\"%s\" on %s: nothing came", text, topic);
    must((size_t)message->payloadlen == strlen(text) &&
             memcmp(message->payload, text, strlen(text)) == 0,
         "\"%s\" on %s: it is \"%.*s\"", text, topic, message->payloadlen,
         (const char *)message->payload);
    must(message->qos == qos, "%s on %s at QoS %d: it is %d", text, topic, qos, message->qos);
    must((message->retained != 0) == retain, "retain %d of %s on %s", retain, text, topic);
    MQTTClient_freeMessage(&message);
}

static void expect(MQTTClient client, const char *topic, const char *text, int qos)
{
    expect_with(client, topic, text, qos, false);
}

static void expect_numbers(MQTTClient client, const char *topic, int count, int qos)
{
    for (int number = 0; number < count; number++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", number);
        expect(client, topic, text, qos);
    }
}

static void expect_nothing(MQTTClient client, const char *topic)
{
    must(receive(client, topic, QUIET_MS) == NULL, "nothing more on %s", topic);
}

/* ---- checks of all versions
 * -------------------------------------------------------------------------- */

static void check_qos(void)
{
    MQTTClient publisher = client_open("qos-publisher", false);
    MQTTClient subscriber = client_open("qos-subscriber", false);
    for (int qos = 0; qos <= 2; qos++) {
        char topic[16];
        snprintf(topic, sizeof(topic), "qos/%d", qos);
        subscribe(subscriber, topic, qos);
        publish_numbers(publisher, topic, MANY, qos);
        expect_numbers(subscriber, topic, MANY, qos);
        expect_nothing(subscriber, topic);
        verified("%d messages at QoS %d, each once and in order", MANY, qos);
    }
    client_close(publisher);
    client_close(subscriber);
}

static void check_large(void)
{
    MQTTClient publisher = client_open("large-publisher", false);
    MQTTClient subscriber = client_open("large-subscriber", false);
    static uint8_t payload[LARGE_BYTES];
    for (size_t i = 0; i < sizeof(payload); i++) {
        payload[i] = (uint8_t)(i * 2654435761u >> 13);
    }
    subscribe(subscriber, "large", 2);
    for (int qos = 0; qos <= 2; qos++) {
        publish(publisher, "large", &(struct content){payload, LARGE_BYTES, qos, false, NULL});
        MQTTClient_message *message = receive(subscriber, "large", WAIT_MS);
        must(message != NULL && message->payloadlen == LARGE_BYTES &&
                 memcmp(message->payload, payload, LARGE_BYTES) == 0,
             "the same %d bytes at QoS %d", LARGE_BYTES, qos);
        MQTTClient_freeMessage(&message);
    }
    verified("%d bytes at each QoS", LARGE_BYTES);
    client_close(publisher);
    client_close(subscriber);
}

static void check_retained(void)
{
    MQTTClient publisher = client_open("kept-publisher", false);
    publish_text(publisher, "kept", "old", 1, true);
    publish_text(publisher, "kept", "new", 2, true);
    MQTTClient subscriber = client_open("kept-subscriber", false);
    subscribe(subscriber, "kept", 2);
    expect_with(subscriber, "kept", "new", 2, true);
    publish_text(publisher, "kept", "", 1, true);
    expect(subscriber, "kept", "", 1);
    subscribe(subscriber, "kept", 2);
    expect_nothing(subscriber, "kept");
    verified("a retained message: set, replaced, read and cleared");
    client_close(publisher);
    client_close(subscriber);
}

static void check_session(void)
{
    bool present = false;
    client_close(client_open("keeper", false));
    MQTTClient keeper = client_create("keeper");
    client_connect(keeper, &(struct connect_wish){.keep = true, .session_present = &present});
    must(!present, "no session is present at first");
    subscribe(keeper, "away", 2);
    client_leave(keeper);

    MQTTClient publisher = client_open("away-publisher", false);
    for (int qos = 1; qos <= 2; qos++) {
        publish_numbers(publisher, "away", OFFLINE, qos);
    }
    client_connect(keeper, &(struct connect_wish){.keep = true, .session_present = &present});
    must(present || version != MQTTVERSION_3_1_1, "the session is present");
    for (int qos = 1; qos <= 2; qos++) {
        expect_numbers(keeper, "away", OFFLINE, qos);
    }
    expect_nothing(keeper, "away");
    verified("%d messages waited for a client that was away", 2 * OFFLINE);

    client_leave(keeper);
    client_connect(keeper, &(struct connect_wish){.keep = false, .session_present = &present});
    must(!present, "a clean start forgets the session");
    publish_text(publisher, "away", "x", 1, false);
    expect_nothing(keeper, "away");
    verified("a clean start forgets");
    client_close(keeper);
    client_close(publisher);
}

static void wait_until_disconnected(MQTTClient client)
{
    for (int waited = 0; MQTTClient_isConnected(client) && waited < WAIT_MS; waited += 10) {
        MQTTClient_yield();
        usleep(10000);
    }
    must(!MQTTClient_isConnected(client), "the end of the older connection");
}

static void check_takeover(void)
{
    MQTTClient first = client_open("twin", true);
    subscribe(first, "twin", 1);
    MQTTClient second = client_open("twin", true);
    wait_until_disconnected(first);
    MQTTClient publisher = client_open("twin-publisher", false);
    publish_text(publisher, "twin", "to the second", 1, false);
    expect(second, "twin", "to the second", 1);
    client_connect(first, &(struct connect_wish){.keep = true});
    wait_until_disconnected(second);
    publish_text(publisher, "twin", "to the first again", 1, false);
    expect(first, "twin", "to the first again", 1);
    verified("the same client id again takes the session over, and back");
    client_close(first);
    client_close(client_open("twin", false));
    MQTTClient_destroy(&second);
    client_close(publisher);
}

/* A process that connects with a will and ends without DISCONNECT. */
static void die_with_will(MQTTClient_willOptions *will)
{
    pid_t child = fork();
    must(child >= 0, "a process for the will");
    if (child == 0) {
        MQTTClient client = client_create("mortal");
        client_connect(client, &(struct connect_wish){.will = will});
        _exit(0);
    }
    int status = 0;
    must(waitpid(child, &status, 0) == child && status == 0, "a connection with a will");
}

static void check_will(void)
{
    MQTTClient watcher = client_open("will-watcher", false);
    subscribe(watcher, "will", 2);
    for (int qos = 0; qos <= 2; qos++) {
        MQTTClient_willOptions will = MQTTClient_willOptions_initializer;
        will.topicName = "will";
        will.message = "gone";
        will.qos = qos;
        die_with_will(&will);
        expect(watcher, "will", "gone", qos);
    }
    verified("a will at each QoS");
    client_close(watcher);
}

/* ---- checks of 5.0
 * ------------------------------------------------------------------------------------ */

static MQTTProperty text_property(enum MQTTPropertyCodes code, char *text)
{
    return (MQTTProperty){.identifier = code,
                          .value.data = {.len = (int)strlen(text), .data = text}};
}

static MQTTProperty user_property(char *name, char *value)
{
    MQTTProperty property = text_property(MQTTPROPERTY_CODE_USER_PROPERTY, name);
    property.value.value = (MQTTLenString){.len = (int)strlen(value), .data = value};
    return property;
}

static void add_property(MQTTProperties *props, MQTTProperty property)
{
    must(MQTTProperties_add(props, &property) == 0, "room for a property");
}

static bool has_text(MQTTProperties *props, enum MQTTPropertyCodes code, const char *text)
{
    MQTTProperty *found = MQTTProperties_getProperty(props, code);
    return found != NULL && (size_t)found->value.data.len == strlen(text) &&
           memcmp(found->value.data.data, text, strlen(text)) == 0;
}

static bool has_user_property(MQTTProperties *props, int index, const char *name, const char *value)
{
    MQTTProperty *found =
        MQTTProperties_getPropertyAt(props, MQTTPROPERTY_CODE_USER_PROPERTY, index);
    return found != NULL && strncmp(found->value.data.data, name, strlen(name)) == 0 &&
           (size_t)found->value.value.len == strlen(value) &&
           memcmp(found->value.value.data, value, strlen(value)) == 0;
}

static void send_with_properties(MQTTClient publisher)
{
    MQTTProperties props = MQTTProperties_initializer;
    add_property(&props, text_property(MQTTPROPERTY_CODE_CONTENT_TYPE, "text/plain"));
    add_property(&props, text_property(MQTTPROPERTY_CODE_RESPONSE_TOPIC, "answer"));
    add_property(&props, text_property(MQTTPROPERTY_CODE_CORRELATION_DATA, "c1"));
    add_property(&props, (MQTTProperty){.identifier = MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL,
                                        .value.integer4 = 1000});
    add_property(&props, (MQTTProperty){.identifier = MQTTPROPERTY_CODE_PAYLOAD_FORMAT_INDICATOR,
                                        .value.byte = 1});
    add_property(&props, user_property("k", "1"));
    add_property(&props, user_property("a", "2"));
    add_property(&props, user_property("k", "3"));
    publish(publisher, "props", &(struct content){"text", 4, 1, false, &props});
    MQTTProperties_free(&props);
}

static void check_properties_5(void)
{
    MQTTClient publisher = client_open("props-publisher", false);
    MQTTClient subscriber = client_open("props-subscriber", false);
    MQTTProperties props = MQTTProperties_initializer;
    add_property(&props, (MQTTProperty){.identifier = MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIER,
                                        .value.integer4 = 200000});
    must(subscribe_with(subscriber, "props", 1, NULL, &props) == 1, "a granted subscription");
    MQTTProperties_free(&props);

    send_with_properties(publisher);
    MQTTClient_message *message = receive(subscriber, "props", WAIT_MS);
    must(message != NULL, "a message");
    MQTTProperties *got = &message->properties;
    must(has_text(got, MQTTPROPERTY_CODE_CONTENT_TYPE, "text/plain"), "the content type");
    must(has_text(got, MQTTPROPERTY_CODE_RESPONSE_TOPIC, "answer"), "the response topic");
    must(has_text(got, MQTTPROPERTY_CODE_CORRELATION_DATA, "c1"), "the correlation data");
    must(has_user_property(got, 0, "k", "1") && has_user_property(got, 1, "a", "2") &&
             has_user_property(got, 2, "k", "3"),
         "the user properties in their order");
    long expiry = MQTTProperties_getNumericValue(got, MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL);
    must(expiry > 990 && expiry <= 1000, "what is left of the message expiry: %ld", expiry);
    must(MQTTProperties_getNumericValue(got, MQTTPROPERTY_CODE_PAYLOAD_FORMAT_INDICATOR) == 1,
         "the payload format");
    must(MQTTProperties_getNumericValue(got, MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIER) == 200000,
         "the subscription identifier");
    MQTTClient_freeMessage(&message);
    verified("the properties of PUBLISH, and a subscription identifier");
    client_close(publisher);
    client_close(subscriber);
}

static void check_subscribe_5(void)
{
    MQTTClient client = client_open("options", false);
    MQTTSubscribe_options options = MQTTSubscribe_options_initializer;
    options.noLocal = 1;
    must(subscribe_with(client, "mine", 1, &options, NULL) == 1, "a granted subscription");
    publish_text(client, "mine", "to myself", 1, false);
    expect_nothing(client, "mine");
    verified("no local");

    publish_text(client, "kept", "x", 1, true);
    options.noLocal = 0;
    options.retainHandling = 2;
    options.retainAsPublished = 1;
    must(subscribe_with(client, "kept", 1, &options, NULL) == 1, "a granted subscription");
    expect_nothing(client, "kept");
    publish_text(client, "kept", "", 1, true);
    expect_with(client, "kept", "", 1, true);
    verified("retain handling 2, and retain as published");

    int code = subscribe_with(client, "bad/#/filter", 1, NULL, NULL);
    must(code == MQTTREASONCODE_TOPIC_FILTER_INVALID, "Topic Filter invalid: 0x%02x",
         (unsigned)code);
    verified("a bad filter is refused with its reason");
    client_close(client);
}

static void check_publish_reason_5(void)
{
    MQTTClient client = client_open("nobody-hears", false);
    MQTTClient_deliveryToken token =
        publish_later(client, "nobody/there", &(struct content){"x", 1, 1, false, NULL});
    must(MQTTClient_waitForCompletion(client, token, WAIT_MS) == MQTTCLIENT_SUCCESS,
         "PUBACK for a topic without subscribers");
    verified("a topic without subscribers is acknowledged");
    client_close(client);
}

static void check_will_5(void)
{
    MQTTClient watcher = client_open("delay-watcher", false);
    subscribe(watcher, "will", 2);
    MQTTClient mortal = client_create("mortal");
    MQTTClient_willOptions will = MQTTClient_willOptions_initializer;
    will.topicName = "will";
    will.message = "asked for";
    will.qos = 1;
    client_connect(mortal, &(struct connect_wish){.will = &will});
    int rc =
        MQTTClient_disconnect5(mortal, 1000, MQTTREASONCODE_DISCONNECT_WITH_WILL_MESSAGE, NULL);
    must(rc == MQTTCLIENT_SUCCESS, "a disconnect: %d", rc);
    expect(watcher, "will", "asked for", 1);
    verified("DISCONNECT with will message");
    MQTTClient_destroy(&mortal);
    client_close(watcher);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int version;
    } versions[] = {{"3.1", MQTTVERSION_3_1}, {"3.1.1", MQTTVERSION_3_1_1}, {"5.0", MQTTVERSION_5}};
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        if (argc == 2 && strcmp(argv[1], versions[i].name) == 0) {
            version = versions[i].version;
        }
    }
    const char *port = getenv("PULSE_PORT");
    must(version != 0 && port != NULL, "a version (3.1, 3.1.1, 5.0), and PULSE_PORT set");
    snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%s", port);

    check_qos();
    check_large();
    check_retained();
    check_session();
    check_takeover();
    check_will();
    if (version == MQTTVERSION_5) {
        check_properties_5();
        check_subscribe_5();
        check_publish_reason_5();
        check_will_5();
    }
    printf("%s: all as expected\n", argv[1]);
    return 0;
}
