#include "tests/crash/content.h"

#include <string.h>

#include "tests/crash/random.h"

static const uint8_t mark[4] = {'c', 'r', 's', 'h'};

void content_fill(struct content *content, struct wire_publish *publish, uint64_t id,
                  uint32_t payload_len)
{
    memcpy(content->label, mark, sizeof(mark));
    memcpy(content->label + sizeof(mark), &id, sizeof(id));
    for (uint32_t i = 0; i < payload_len; i += 8) {
        uint64_t word = random_mix(id << 16 | i);
        uint32_t len = payload_len - i < 8 ? payload_len - i : 8;
        memcpy(content->payload + i, &word, len);
    }
    publish->payload = content->payload;
    publish->payload_len = payload_len;
    publish->correlation = content->label;
    publish->correlation_len = CONTENT_LABEL_LEN;
}

bool content_label(const struct packet *packet, uint64_t *id)
{
    if (packet->correlation_len != CONTENT_LABEL_LEN ||
        memcmp(packet->correlation, mark, sizeof(mark)) != 0) {
        return false;
    }
    memcpy(id, packet->correlation + sizeof(mark), sizeof(*id));
    return *id != 0;
}

bool content_is_whole(const struct packet *packet, uint64_t id)
{
    if (packet->payload_len > CONTENT_PAYLOAD_MAX) {
        return false;
    }
    struct content expected;
    struct wire_publish publish = {0};
    content_fill(&expected, &publish, id, (uint32_t)packet->payload_len);
    return memcmp(expected.payload, packet->payload, packet->payload_len) == 0;
}
