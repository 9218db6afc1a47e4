#include "tests/unit/node/rig_support.h"

#include <unistd.h>

#include "base/mem.h"
#include "base/reclaim.h"
#include "codec/mqtt.h"
#include "node/retained.h"
#include "node/will.h"

static struct rig rig;
static struct client client;     /* gets the will */
static struct session *stranger; /* whose will it is; ends with the rig */

static int set_up(void **state)
{
    (void)state;
    rig_start(&rig, 1);
    client_connect(&client, &rig, (struct client_options){.id = "c"});
    stranger = session_create(rig.worker, slice_text("stranger"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(client.fd);
    rig_stop(&rig);
    return 0;
}

/* Properties as CONNECT carries them; `bytes` is written to. */
static struct mqtt_props read_props(uint8_t *bytes, size_t len)
{
    struct mqtt_props props;
    struct slice in = slice_of(bytes, len);
    assert_int_equal(mqtt_props_read(&in, IN_WILL, &props), MQTT_REASON_SUCCESS);
    return props;
}

static struct mqtt_will plain_will(void)
{
    return (struct mqtt_will){
        .topic = slice_text("last/words"), .payload = slice_text("gone"), .qos = 1};
}

static void publish(struct will *will, const struct session *session)
{
    reclaim_enter();
    will_publish(session, will, NULL);
    reclaim_leave();
    rig_turn(&rig);
}

static struct will *make(const struct mqtt_will *from)
{
    struct will *will = will_create(from);
    assert_non_null(will);
    return will;
}

static unsigned count_retained(const char *topic)
{
    reclaim_enter();
    struct replay *replay = replay_create(rig.broker->retained, slice_text(topic));
    unsigned count = 0;
    bool done = false;
    while (!done) {
        struct message *message = replay_next(replay, worker_now(rig.worker), &done);
        count += message != NULL;
        message_unref(message);
    }
    replay_destroy(replay);
    reclaim_leave();
    return count;
}

/* ---- what is kept ---------------------------------------------------------------------------- */

/* [MQTT-3.1.2-7]: it is stored with the session; CONNECT's bytes are gone by then. */
static void a_will_keeps_its_own_copy(void **state)
{
    (void)state;
    char topic[] = "last/words";
    char payload[] = "gone";
    uint8_t raw[] = {2, MQTT_PROP_PAYLOAD_FORMAT, 1};
    struct mqtt_will from = {.topic = slice_text(topic),
                             .payload = slice_text(payload),
                             .qos = 2,
                             .retain = true,
                             .props = read_props(raw, sizeof(raw))};
    struct will *will = make(&from);
    memset(topic, 'x', sizeof(topic) - 1);
    memset(payload, 'x', sizeof(payload) - 1);
    memset(raw, 0xff, sizeof(raw));
    assert_true(slice_equal(message_topic(will->message), slice_text("last/words")));
    assert_true(slice_equal(message_payload(will->message), slice_text("gone")));
    static const uint8_t props[] = {MQTT_PROP_PAYLOAD_FORMAT, 1};
    assert_true(slice_equal(message_props(will->message), slice_of(props, 2)));
    assert_int_equal(will->message->qos, 2);
    assert_true(will->message->retain);
    will_destroy(will);
}

static void a_will_without_properties_has_no_delay_and_no_expiry(void **state)
{
    (void)state;
    struct mqtt_will from = plain_will();
    struct will *will = make(&from);
    assert_int_equal(will->delay_s, 0);
    assert_false(will->has_expiry);
    assert_int_equal(will->message->props_len, 0);
    will_destroy(will);
}

/* [MQTT-3.1.3-10]: user properties stay in order; delay and expiry are the server's business. */
static void delay_and_expiry_are_read_and_the_other_properties_go_on(void **state)
{
    (void)state;
    uint8_t raw[] = {
        28,  MQTT_PROP_WILL_DELAY,     0, 0, 0, 30, MQTT_PROP_USER_PROPERTY, 0, 1, 'a', 0, 1,
        'b', MQTT_PROP_MESSAGE_EXPIRY, 0, 0, 1, 0,  MQTT_PROP_USER_PROPERTY, 0, 1, 'c', 0, 1,
        'd', MQTT_PROP_PAYLOAD_FORMAT, 0};
    raw[0] = sizeof(raw) - 1;
    struct mqtt_will from = plain_will();
    from.props = read_props(raw, sizeof(raw));
    struct will *will = make(&from);
    assert_int_equal(will->delay_s, 30);
    assert_true(will->has_expiry);
    assert_int_equal(will->expiry_s, 256);
    static const uint8_t kept[] = {MQTT_PROP_USER_PROPERTY,  0, 1, 'a', 0, 1, 'b',
                                   MQTT_PROP_USER_PROPERTY,  0, 1, 'c', 0, 1, 'd',
                                   MQTT_PROP_PAYLOAD_FORMAT, 0};
    assert_true(slice_equal(message_props(will->message), slice_of(kept, sizeof(kept))));
    will_destroy(will);
}

static void an_empty_payload_and_no_will_at_all_are_fine(void **state)
{
    (void)state;
    struct mqtt_will from = plain_will();
    from.payload = slice_of(NULL, 0); /* a zero length will [MQTT-3.1.3-11 names no minimum] */
    struct will *will = make(&from);
    assert_int_equal(will->message->payload_len, 0);
    will_destroy(will);
    will_destroy(NULL);
}

/* ---- publishing ------------------------------------------------------------------------------ */

static void a_will_reaches_subscribers_at_its_qos(void **state)
{
    (void)state;
    client_subscribe(&client, "last/#", (struct subscription){.qos = 2});
    struct mqtt_will from = plain_will();
    publish(make(&from), stranger);
    struct packet packet = client_expect_publish(&client);
    assert_true(slice_equal(packet.topic, slice_text("last/words")));
    assert_true(slice_equal(packet.payload, slice_text("gone")));
    assert_int_equal(packet.flags, 1 << 1); /* QoS 1, not retained [MQTT-3.1.2-14] */
    assert_int_equal(rig_metric(&rig, METRIC_WILLS_PUBLISHED), 1);
    assert_int_equal(count_retained("last/words"), 0);
}

static void a_will_nobody_wants_is_published_without_a_trace(void **state)
{
    (void)state;
    struct mqtt_will from = plain_will();
    publish(make(&from), stranger);
    client_expect_nothing(&client);
    assert_int_equal(rig_metric(&rig, METRIC_WILLS_PUBLISHED), 1);
}

/* [MQTT-3.1.2-15]. */
static void a_will_with_retain_is_retained(void **state)
{
    (void)state;
    struct mqtt_will from = plain_will();
    from.retain = true;
    client_subscribe(&client, "last/words", (struct subscription){.retain_as_published = true});
    publish(make(&from), stranger);
    assert_int_equal(count_retained("last/words"), 1);
    assert_int_equal(client_expect_publish(&client).flags, 1);
    from.payload = slice_of(NULL, 0); /* clears it [MQTT-3.3.1-6] */
    publish(make(&from), stranger);
    assert_int_equal(count_retained("last/words"), 0);
}

/* MQTT 5.0 section 3.1.3.2.4: the interval counts from the publication, not from CONNECT. */
static void the_expiry_of_a_will_begins_when_it_is_published(void **state)
{
    (void)state;
    uint8_t raw[] = {5, MQTT_PROP_MESSAGE_EXPIRY, 0, 0, 0, 100};
    struct mqtt_will from = plain_will();
    from.qos = 0;
    from.props = read_props(raw, sizeof(raw));
    struct will *will = make(&from);
    assert_true(will->message->expires_at_ms == CLOCK_NEVER);
    client_subscribe(&client, "last/words", (struct subscription){.qos = 0});
    publish(will, stranger);
    static const uint8_t props[] = {MQTT_PROP_MESSAGE_EXPIRY, 0, 0, 0, 100};
    struct packet packet = client_expect_publish(&client);
    assert_true(slice_equal(packet.props, slice_of(props, sizeof(props))));
}

/* [MQTT-3.8.3-3]: a will is a message of its client. */
static void a_will_is_its_clients_own_for_no_local(void **state)
{
    (void)state;
    client_subscribe(&client, "last/words", (struct subscription){.no_local = true});
    struct mqtt_will from = plain_will();
    publish(make(&from), client.session);
    client_expect_nothing(&client);
    publish(make(&from), stranger);
    (void)client_expect_publish(&client);
}

static void a_will_that_can_not_be_retained_is_still_published_and_the_loss_is_counted(void **state)
{
    (void)state;
    retained_destroy(rig.broker->retained);
    rig.broker->retained = retained_create(0, 0);
    client_subscribe(&client, "last/words", (struct subscription){.qos = 1});
    struct mqtt_will from = plain_will();
    from.retain = true;
    publish(make(&from), stranger);
    (void)client_expect_publish(&client);
    assert_int_equal(count_retained("last/words"), 0);
    assert_int_equal(rig_metric(&rig, METRIC_DROPPED_RETAINED_LIMIT), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_will_keeps_its_own_copy),
        TEST(a_will_without_properties_has_no_delay_and_no_expiry),
        TEST(delay_and_expiry_are_read_and_the_other_properties_go_on),
        TEST(an_empty_payload_and_no_will_at_all_are_fine),
        TEST(a_will_reaches_subscribers_at_its_qos),
        TEST(a_will_nobody_wants_is_published_without_a_trace),
        TEST(a_will_with_retain_is_retained),
        TEST(the_expiry_of_a_will_begins_when_it_is_published),
        TEST(a_will_is_its_clients_own_for_no_local),
        TEST(a_will_that_can_not_be_retained_is_still_published_and_the_loss_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
