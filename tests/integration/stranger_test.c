/* What is said to whoever sends too much before it is known who they are. */
#include "tests/integration/suite.h"

/* The first bytes of a CONNECT of `version` that announces a megabyte. */
static struct client *send_large_connect(uint8_t version)
{
    struct client *c = client_open(version);
    if (version == MQTT_31) {
        RAW(c, 0x10, 0x80, 0x80, 0x40, 0, 6, 'M', 'Q', 'I', 's', 'd', 'p', 3, 2, 0, 0);
    } else {
        RAW(c, 0x10, 0x80, 0x80, 0x40, 0, 4, 'M', 'Q', 'T', 'T', version, 2, 0, 0);
    }
    return c;
}

/* 3.2.2.2: 5.0 has a word for it. limits.packet_before_connect_max is 128 KiB. */
static void a_connect_that_is_too_large_is_told_so(void **state)
{
    (void)state;
    EXPECT_REFUSED(send_large_connect(MQTT_50), RC_PACKET_TOO_LARGE);
}

/* 3.1 and 3.1.1 have none: CONNACK knows return codes up to 5 only. */
static void a_3_x_connect_that_is_too_large_is_just_closed(void **state)
{
    (void)state;
    expect_closed(send_large_connect(MQTT_31));
    expect_closed(send_large_connect(MQTT_311));
}

/* [MQTT-3.1.0-1]: another packet than CONNECT gets no answer, however large. */
static void another_large_packet_before_connect_is_just_closed(void **state)
{
    (void)state;
    struct client *c = client_open(MQTT_50);
    RAW(c, 0x30, 0x80, 0x80, 0x40, 0, 4, 'M', 'Q', 'T', 'T', MQTT_50, 2, 0, 0);
    expect_closed(c);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_connect_that_is_too_large_is_told_so),
        TEST(a_3_x_connect_that_is_too_large_is_just_closed),
        TEST(another_large_packet_before_connect_is_just_closed),
    };
    return RUN_SUITE("stranger", tests, NULL);
}
