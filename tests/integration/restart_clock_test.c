/* What goes on while the broker is down: the clocks of sessions, wills and messages. */
#include "tests/integration/restart.h"

enum { SECOND = 1000 };

/* ---- sessions -------------------------------------------------------------------------------- */

static struct client *connect_for(const char *id, uint32_t seconds)
{
    return CONNECT(.client_id = id, .resume = true, .props = PROPS(prop_session_expiry(seconds)));
}

static void a_session_that_expired_meanwhile_is_gone(void **state)
{
    struct client *c = connect_for("short", 1);
    subscribe(c, "short", 1);
    client_disconnect(c);
    publish_from_elsewhere("short", "x", 1);
    restart_after(state, 3 * SECOND / 2);
    expect_nothing(connect_to_none("short"));
    struct client *pub = CONNECT();
    PUBLISH(pub, .topic = "short", .payload = "x", .qos = 1, .id = 1);
    expect_ack(pub, PKT_PUBACK, 1, RC_NO_MATCHING_SUBSCRIBERS);
}

/* It is there when half of its time is over, and goes when the rest is. */
static void a_session_goes_on_expiring(void **state)
{
    struct client *c = connect_for("middle", 3);
    subscribe(c, "middle", 1);
    client_disconnect(c);
    long gone = clock_ms();
    restart_after(state, SECOND / 2);
    struct client *other = connect_keeping("bystander");
    metric_expect("pulse_sessions_current", 2);
    client_disconnect(other);
    while (clock_ms() - gone < 4 * SECOND) {
        let_time_pass(SECOND / 10);
    }
    metric_expect("pulse_sessions_current", 1);
    connect_to_none("middle");
}

/* Its client was there at the end, and has all of its time from then on. */
static void a_session_that_was_connected_has_its_whole_time(void **state)
{
    struct client *c = connect_for("whole", 2);
    subscribe(c, "whole", 1);
    restart(state);
    connect_again("whole");
    restart_after(state, SECOND);
    connect_again("whole");
}

static void a_session_without_an_end_is_there(void **state)
{
    struct client *c = connect_for("for-ever", UINT32_MAX);
    subscribe(c, "for-ever", 1);
    client_disconnect(c);
    restart_after(state, SECOND);
    publish_from_elsewhere("for-ever", "x", 1);
    expect_publish_and_ack(connect_again("for-ever"), "for-ever", "x");
}

/* [MQTT-3.14.2-2]: DISCONNECT may change the interval. */
static void an_interval_that_disconnect_changed_counts(void **state)
{
    struct client *c = connect_for("changes", 600);
    subscribe(c, "changes", 1);
    client_disconnect_with(c, RC_SUCCESS, PROPS(prop_session_expiry(1)));
    await_stored();
    restart_after(state, 3 * SECOND / 2);
    connect_to_none("changes");
}

/* ---- wills ----------------------------------------------------------------------------------- */

#define WILL(id, delay, expiry)                                                           \
    CONNECT(.client_id = id, .resume = true, .props = PROPS(prop_session_expiry(expiry)), \
            .will_topic = id "/will", .will_payload = "gone", .will_qos = 2,              \
            .will_props = PROPS(prop_will_delay(delay), prop_content_type("will")))

static void expect_will(const char *id, const char *topic)
{
    struct client *c = connect_again(id);
    const struct packet *packet = expect_publish(c, topic, "gone");
    assert_int_equal(packet->qos, 2);
    assert_prop_text(packet, PROP_CONTENT_TYPE, "will");
    acknowledge(c, packet);
    expect_nothing(c);
}

/* Only after a crash: a broker that ends in order takes leave of its clients. */
static void the_will_of_a_client_that_was_connected_is_published(void **state)
{
    leave_session("heir", "+/will", 2);
    WILL("at-once", 0, 60);
    await_stored();
    restart(state);
    expect_will("heir", "at-once/will");
    await_stored();
    restart(state);
    expect_nothing(connect_again("heir")); /* once */
}

static void a_connected_clients_will_waits_for_its_delay(void **state)
{
    leave_session("heir", "+/will", 2);
    WILL("delayed", 2, 60);
    await_stored();
    restart(state);
    struct client *c = connect_again("heir");
    expect_nothing_for(c, SECOND);
    expect_publish_and_ack(c, "delayed/will", "gone");
    expect_nothing(c);
}

static void a_connected_client_that_comes_back_in_time_has_no_will(void **state)
{
    leave_session("heir", "+/will", 2);
    WILL("back", 1, 60);
    await_stored();
    restart(state);
    connect_again("back");
    let_time_pass(3 * SECOND / 2);
    expect_nothing(connect_again("heir"));
}

/* The time while the broker is down counts. */
static void a_delayed_will_of_a_client_that_was_gone_is_published(void **state)
{
    leave_session("heir", "+/will", 2);
    client_drop(WILL("before", 2, 60));
    long gone = clock_ms();
    await_stored();
    restart_after(state, SECOND);
    struct client *c = connect_again("heir");
    const struct packet *packet = expect_publish(c, "before/will", "gone");
    assert_true(clock_ms() - gone >= 2 * SECOND);
    assert_true(clock_ms() - gone < 8 * SECOND);
    acknowledge(c, packet);
    expect_nothing(c);
    await_stored();
    restart(state);
    expect_nothing(connect_again("heir"));
}

/* The session ends before the delay does: [MQTT-3.1.3-9]. */
static void the_will_of_a_session_that_expired_meanwhile_is_published(void **state)
{
    leave_session("heir", "+/will", 2);
    client_drop(WILL("expired", 600, 1));
    await_stored();
    restart_after(state, 3 * SECOND / 2);
    expect_will("heir", "expired/will");
    connect_to_none("expired");
}

/* [MQTT-3.14.4-3] */
static void a_withdrawn_will_stays_withdrawn(void **state)
{
    leave_session("heir", "+/will", 2);
    client_disconnect(WILL("withdrawn", 0, 1));
    client_disconnect(WILL("withdrawn-late", 1, 60));
    await_stored();
    restart_after(state, 3 * SECOND / 2);
    expect_nothing(connect_again("heir"));
}

static void a_published_will_is_not_published_again(void **state)
{
    leave_session("heir", "+/will", 2);
    client_drop(WILL("published", 0, 60));
    await_stored();
    restart(state);
    expect_will("heir", "published/will");
    connect_again("published");
}

/* ---- messages -------------------------------------------------------------------------------- */

static void a_queued_message_goes_on_expiring(void **state)
{
    leave_session("expiry", "expiry/+", 1);
    struct client *pub = CONNECT();
    PUBLISH_AND_WAIT(pub, .topic = "expiry/soon", .payload = "x", .qos = 1,
                     .props = PROPS(prop_message_expiry(1)));
    PUBLISH_AND_WAIT(pub, .topic = "expiry/late", .payload = "x", .qos = 1,
                     .props = PROPS(prop_message_expiry(100)));
    restart_after(state, 2 * SECOND);
    struct client *c = connect_again("expiry");
    const struct packet *packet = expect_publish(c, "expiry/late", "x");
    const struct prop *left = packet_prop(packet, PROP_MESSAGE_EXPIRY);
    assert_non_null(left);
    assert_in_range(left->number, 80, 98);
    acknowledge(c, packet);
    expect_nothing(c);
}

static void a_retained_message_goes_on_expiring(void **state)
{
    struct client *pub = CONNECT();
    PUBLISH_AND_WAIT(pub, .topic = "fade/soon", .payload = "x", .qos = 1, .retain = true,
                     .props = PROPS(prop_message_expiry(1)));
    PUBLISH_AND_WAIT(pub, .topic = "fade/late", .payload = "x", .qos = 1, .retain = true,
                     .props = PROPS(prop_message_expiry(100)));
    restart_after(state, 2 * SECOND);
    struct client *c = CONNECT();
    subscribe(c, "fade/#", 0);
    const struct packet *packet = expect_publish(c, "fade/late", "x");
    const struct prop *left = packet_prop(packet, PROP_MESSAGE_EXPIRY);
    assert_non_null(left);
    assert_in_range(left->number, 80, 98);
    expect_nothing(c);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST_BOTH(a_session_that_expired_meanwhile_is_gone),
        TEST_BOTH(a_session_goes_on_expiring),
        TEST_BOTH(a_session_that_was_connected_has_its_whole_time),
        TEST_BOTH(a_session_without_an_end_is_there),
        TEST_BOTH(an_interval_that_disconnect_changed_counts),
        TEST_BY(the_will_of_a_client_that_was_connected_is_published, kill),
        TEST_BY(a_connected_clients_will_waits_for_its_delay, kill),
        TEST_BY(a_connected_client_that_comes_back_in_time_has_no_will, kill),
        TEST_BOTH(a_delayed_will_of_a_client_that_was_gone_is_published),
        TEST_BOTH(the_will_of_a_session_that_expired_meanwhile_is_published),
        TEST_BOTH(a_withdrawn_will_stays_withdrawn),
        TEST_BOTH(a_published_will_is_not_published_again),
        TEST_BOTH(a_queued_message_goes_on_expiring),
        TEST_BOTH(a_retained_message_goes_on_expiring),
    };
    return RUN_RESTART_WITH("restart_clock", "balanced", tests);
}
