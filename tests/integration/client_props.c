/* client.h: what a packet has, or must not have, of properties. */
#include "tests/integration/client.h"

#include <string.h>

static const struct prop *find_prop(const struct packet *packet, enum property id, struct here here)
{
    const struct prop *prop = packet_prop(packet, id);
    if (prop == NULL) {
        fail_at(here, "%s lacks property 0x%02x", packet_type_name(packet->type), id);
    }
    return prop;
}

void assert_prop_number_at(const struct packet *packet, enum property id, uint32_t number,
                           struct here here)
{
    const struct prop *prop = find_prop(packet, id, here);
    if (prop->number != number) {
        fail_at(here, "property 0x%02x should be %u, is %u", id, number, prop->number);
    }
}

void assert_prop_text_at(const struct packet *packet, enum property id, const char *text,
                         struct here here)
{
    const struct prop *prop = find_prop(packet, id, here);
    if (prop->text_len != strlen(text) || memcmp(prop->text, text, prop->text_len) != 0) {
        fail_at(here, "property 0x%02x should be \"%s\", is \"%s\"", id, text, prop->text);
    }
}

void assert_no_prop_at(const struct packet *packet, enum property id, struct here here)
{
    if (packet_prop(packet, id) != NULL) {
        fail_at(here, "%s must not have property 0x%02x", packet_type_name(packet->type), id);
    }
}
