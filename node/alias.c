#include "node/alias.h"

#include "base/hash.h"
#include "base/mem.h"

/* ---- from the client: alias -> topic --------------------------------------------------------- */

/* A client may not keep more than this here in topics, or so much for each alias that it may set.
 */
#define TOPICS_BYTES_MIN (256u << 10)
#define TOPIC_BYTES_EACH 256u

struct alias_in {
    size_t bytes;   /* of the topics */
    uint16_t count; /* entries; alias n is at n - 1 */
    struct slice topics[];
};

/* Makes room for `alias`, at most `maximum`. NULL: no memory. */
static struct alias_in *reserve(struct alias_in *table, uint16_t alias, uint16_t maximum)
{
    bool is_new = table == NULL;
    uint32_t count = is_new ? 0 : table->count;
    if (alias <= count) {
        return table;
    }
    uint32_t grown = count * 2 > alias ? count * 2 : alias;
    grown = grown > maximum ? maximum : grown;
    table = mem_try_resize(table, sizeof(*table) + grown * sizeof(table->topics[0]));
    if (table != NULL) {
        table->bytes = is_new ? 0 : table->bytes;
        memset(table->topics + count, 0, (grown - count) * sizeof(table->topics[0]));
        table->count = (uint16_t)grown;
    }
    return table;
}

static enum mqtt_reason set_topic(struct alias_in **table, uint16_t maximum, uint16_t alias,
                                  struct slice topic)
{
    struct alias_in *room = reserve(*table, alias, maximum);
    if (room == NULL) {
        return MQTT_REASON_QUOTA_EXCEEDED;
    }
    *table = room;
    size_t bytes = room->bytes - room->topics[alias - 1].len + topic.len;
    size_t each = (size_t)maximum * TOPIC_BYTES_EACH;
    size_t bytes_max = each > TOPICS_BYTES_MIN ? each : TOPICS_BYTES_MIN;
    uint8_t *copy = bytes <= bytes_max ? mem_try_alloc(topic.len) : NULL;
    if (copy == NULL) {
        return MQTT_REASON_QUOTA_EXCEEDED;
    }
    room->bytes = bytes;
    memcpy(copy, topic.data, topic.len);
    mem_free((void *)(uintptr_t)room->topics[alias - 1].data);
    room->topics[alias - 1] = slice_of(copy, topic.len);
    return MQTT_REASON_SUCCESS;
}

enum mqtt_reason alias_in_apply(struct alias_in **table, uint16_t maximum, uint16_t alias,
                                struct slice *topic)
{
    if (alias == 0 || alias > maximum) {
        return MQTT_REASON_TOPIC_ALIAS_INVALID; /* [MQTT-3.3.2-8], [MQTT-3.3.2-9] */
    }
    if (topic->len > 0) {
        return set_topic(table, maximum, alias, *topic);
    }
    if (*table == NULL || alias > (*table)->count || (*table)->topics[alias - 1].len == 0) {
        return MQTT_REASON_PROTOCOL_ERROR;
    }
    *topic = (*table)->topics[alias - 1];
    return MQTT_REASON_SUCCESS;
}

void alias_in_destroy(struct alias_in *table)
{
    if (table == NULL) {
        return;
    }
    for (uint32_t i = 0; i < table->count; i++) {
        mem_free((void *)(uintptr_t)table->topics[i].data);
    }
    mem_free(table);
}

/* ---- to the client: topic -> alias ----------------------------------------------------------- */

/* The place of a topic is its hash: a newcomer with the same place takes the alias over. */
struct place {
    uint64_t hash; /* of the topic seen last */
    uint16_t len;
    bool told;      /* the client knows `topic` by this alias */
    uint8_t *topic; /* NULL until told */
};

struct alias_out {
    uint16_t count;
    struct place places[];
};

/* Property and alias take three bytes. Long topics would cost memory for each connection. */
#define WORTH_AN_ALIAS 4
#define ALIASED_LEN_MAX 1024

static struct alias_out *create(uint16_t maximum)
{
    struct alias_out *table = mem_alloc(sizeof(*table) + maximum * sizeof(table->places[0]));
    table->count = maximum;
    return table;
}

uint16_t alias_out_get(struct alias_out **table, uint16_t maximum, struct slice topic, bool *known)
{
    *known = false;
    if (maximum == 0 || topic.len < WORTH_AN_ALIAS || topic.len > ALIASED_LEN_MAX) {
        return 0;
    }
    if (*table == NULL) {
        *table = create(maximum);
    }
    uint64_t hash = hash_slice(topic);
    uint16_t at = (uint16_t)(hash % (*table)->count);
    struct place *place = &(*table)->places[at];
    if (place->told && slice_equal(slice_of(place->topic, place->len), topic)) {
        *known = true;
        return (uint16_t)(at + 1);
    }
    bool second_time = place->hash == hash;
    place->hash = hash;
    if (!second_time) {
        return 0;
    }
    uint8_t *copy = mem_try_alloc(topic.len);
    if (copy == NULL) {
        return 0;
    }
    memcpy(copy, topic.data, topic.len);
    mem_free(place->topic);
    place->topic = copy;
    place->len = (uint16_t)topic.len;
    place->told = true;
    return (uint16_t)(at + 1);
}

void alias_out_forget(struct alias_out *table, uint16_t alias)
{
    table->places[alias - 1].told = false;
}

void alias_out_destroy(struct alias_out *table)
{
    if (table == NULL) {
        return;
    }
    for (uint32_t i = 0; i < table->count; i++) {
        mem_free(table->places[i].topic);
    }
    mem_free(table);
}
