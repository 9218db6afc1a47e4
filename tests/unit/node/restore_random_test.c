/*
 * What a broker has when all is stored is what the next one has: random clients, subscriptions,
 * messages, acknowledgements and wills, over several lives of a broker with a WAL.
 */
#include "tests/unit/node/store_support.h"

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "node/retained.h"
#include "node/router.h"
#include "node/will.h"

#define WORKERS 2u
#define CLIENTS 6u
#define FILTERS 4u
#define LIVES 6u
#define STEPS 150u

static struct rig rig;
static struct client clients[CLIENTS]; /* fd -1: not connected */
static struct client pub;
static uint16_t pub_id;
static uint64_t seed;

static uint32_t below(uint32_t end)
{
    return random_between(&seed, 0, end - 1);
}

/* ---- a broker with a WAL --------------------------------------------------------------------- */

static char folder[] = "/tmp/pulse-restore-XXXXXX";

static enum err open_wal(const struct storage_config *config, struct storage_stats *stats,
                         struct engine **out)
{
    (void)config;
    static struct storage_config own;
    own = (struct storage_config){.engine = STORAGE_WAL,
                                  .policy = COMMIT_BALANCED,
                                  .wal_dir = folder,
                                  .wal_segment_bytes = 1u << 20,
                                  .wal_compact_max_bytes = 1u << 16};
    return engine_wal.open(&own, stats, out);
}

/* engine_wal with a configuration: the engine that it opens goes on by itself. */
static struct engine_type wal_here(void)
{
    struct engine_type type = engine_wal;
    type.open = open_wal;
    return type;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

/* ---- what a broker has ----------------------------------------------------------------------- */

static void describe_queue(struct text *line, const struct outbound *out)
{
    for (uint32_t i = 0; i < out->count; i++) {
        const struct outbound_entry *entry = outbound_at(out, i);
        if (entry->state == OUTBOUND_DONE) {
            continue;
        }
        text_printf(line, " #%llu", (unsigned long long)entry->position);
        text_printf(line, "%s%s%s", entry->qos_2 ? " q2" : " q1", entry->retain ? " retain" : "",
                    entry->shared ? " shared" : "");
        if (entry->state == OUTBOUND_RELEASED) {
            text_add(line, " released");
            continue;
        }
        const uint32_t *ids = NULL;
        size_t count = outbound_ids(out, entry, &ids);
        for (size_t k = 0; k < count; k++) {
            text_printf(line, " id=%u", ids[k]);
        }
        text_add(line, " ");
        text_add_bytes(line, message_payload(entry->message).data, entry->message->payload_len);
    }
}

static int compare_text(const void *a, const void *b)
{
    return strcmp((const char *)a, (const char *)b);
}

static void describe_subscriptions(struct text *line, const struct session *session)
{
    char found[FILTERS * 4][64];
    char filter[UINT16_MAX + 1];
    size_t count = 0;
    for (const struct subscription *sub = session->subscriptions; sub != NULL;
         sub = sub->next_of_session) {
        size_t len = sub_index_filter(sub, filter);
        struct slice share = sub_index_share_name(sub);
        snprintf(found[count++], sizeof(found[0]), " %.*s:%.*s q%u id=%u%s%s", (int)share.len,
                 (const char *)share.data, (int)len, filter, sub->qos, sub->id,
                 sub->no_local ? " nl" : "", sub->retain_as_published ? " rap" : "");
    }
    qsort(found, count, sizeof(found[0]), compare_text);
    for (size_t i = 0; i < count; i++) {
        text_add(line, found[i]);
    }
}

static void describe_session(struct text *all, struct session *session)
{
    text_add_bytes(all, session->client_id, session->client_id_len);
    text_printf(all, " %llu expiry=%u subscriptions:", (unsigned long long)session->stored_id,
                session->expiry_s);
    describe_subscriptions(all, session);
    text_add(all, " queue:");
    describe_queue(all, &session->outbound);
    text_add(all, " inbound:");
    for (unsigned id = 1; session->inbound != NULL && id <= UINT16_MAX; id++) {
        if (inbound_has_id(session->inbound, (uint16_t)id)) {
            text_printf(all, " %u", id);
        }
    }
    if (session->will != NULL) {
        text_add(all, " will: ");
        text_add_bytes(all, message_payload(session->will->message).data,
                       session->will->message->payload_len);
    }
    text_add(all, "\n");
}

/* All kept sessions by their names, and the retained messages. */
static struct text describe(void)
{
    struct text all = {0};
    for (unsigned i = 0; i < CLIENTS + 1; i++) {
        char id[8];
        snprintf(id, sizeof(id), "c%u", i); /* the last is the publisher */
        struct worker *home = rig.broker->workers[broker_worker_of(rig.broker, slice_text(id))];
        struct session *session = session_table_find(&home->sessions, slice_text(id));
        if (session != NULL && session->stored_id != 0) {
            describe_session(&all, session);
        }
    }
    for (unsigned i = 0; i < FILTERS; i++) {
        char topic[8];
        snprintf(topic, sizeof(topic), "t/%u", i);
        struct message *message = retained_get(rig.broker->retained, slice_text(topic));
        if (message != NULL) {
            text_printf(&all, "retained %s ", topic);
            text_add_bytes(&all, message_payload(message).data, message->payload_len);
            text_add(&all, "\n");
            message_unref(message);
        }
    }
    return all;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void drain(struct client *client)
{
    struct packet packet;
    while (client->fd >= 0 && client_next(client, &packet)) {
    }
}

static void turn(void)
{
    rig_turn(&rig);
    for (unsigned i = 0; i < CLIENTS; i++) {
        drain(&clients[i]);
    }
    drain(&pub);
}

static void come_or_go(unsigned i)
{
    struct client *client = &clients[i];
    char id[8];
    snprintf(id, sizeof(id), "c%u", i);
    if (client->fd >= 0) {
        client_vanish(client);
    } else {
        uint32_t expiry = below(8) == 0 ? 0 : 1000 + below(1000);
        client_connect(client, &rig,
                       (struct client_options){.id = id,
                                               .session_expiry = expiry,
                                               .receive_maximum = (uint16_t)(1 + below(5))});
    }
}

static void change_subscription(struct client *client)
{
    char filter[16];
    unsigned number = below(FILTERS + 2);
    snprintf(filter, sizeof(filter),
             number < FILTERS   ? "t/%u"
             : number > FILTERS ? "t/#"
                                : "t/+",
             number);
    struct slice share = below(4) == 0 ? slice_text("group") : slice_text("");
    struct subscription options = {.id = below(4),
                                   .qos = (uint8_t)below(3),
                                   .retain_as_published = below(2) == 0,
                                   .no_local = share.len == 0 && below(2) == 0};
    bool existed;
    reclaim_enter();
    if (below(4) == 0) {
        (void)session_unsubscribe(client->session, slice_text(filter), share);
    } else {
        session_subscribe(client->session, slice_text(filter), share, &options, &existed);
    }
    reclaim_leave();
}

static void publish(void)
{
    static unsigned number;
    char payload[16];
    char topic[8];
    snprintf(payload, sizeof(payload), "m%u", ++number);
    snprintf(topic, sizeof(topic), "t/%u", below(FILTERS));
    uint8_t qos = (uint8_t)below(3);
    uint16_t id = qos == 0 ? 0 : ++pub_id;
    if (below(5) > 0) {
        client_publish(&pub, topic, qos, id, slice_text(payload));
        return;
    }
    struct message *message = make_message(topic, slice_text(below(3) == 0 ? "" : payload));
    struct receipt *nobody = NULL;
    message->retain = true;
    message->qos = 1;
    reclaim_enter();
    (void)router_publish(pub.session->worker, message, &nobody);
    receipt_done(pub.session->worker, nobody);
    reclaim_leave();
    message_unref(message);
}

/* Answers one of the packets that wait for an answer of `client`. */
static void answer(struct client *client)
{
    struct outbound *out = &client->session->outbound;
    if (out->inflight == 0) {
        return;
    }
    struct outbound_entry *entry = outbound_at(out, below(out->inflight));
    uint16_t id = outbound_packet_id(entry);
    if (entry->state == OUTBOUND_SENT) {
        client_ack(client, entry->qos_2 ? MQTT_PUBREC : MQTT_PUBACK, id);
    } else if (entry->state == OUTBOUND_RELEASED) {
        client_ack(client, MQTT_PUBCOMP, id);
    }
}

static void change_will(struct client *client)
{
    struct will *will = NULL;
    if (below(3) > 0) {
        will = mem_alloc(sizeof(*will));
        will->message = make_message("t/0", slice_text(below(2) == 0 ? "will" : "other will"));
        will->message->qos = 1;
        will->delay_s = 1000;
    }
    reclaim_enter();
    session_set_will(client->session, will);
    reclaim_leave();
}

static void step(void)
{
    unsigned i = below(CLIENTS);
    struct client *client = &clients[i];
    uint32_t what = below(20);
    if (what == 0 || (client->fd < 0 && what < 4)) {
        come_or_go(i);
    } else if (what < 10) {
        publish();
    } else if (what == 10 && pub_id > 0) {
        client_ack(&pub, MQTT_PUBREL, (uint16_t)(1 + below(pub_id)));
    } else if (client->fd >= 0 && what < 12) {
        change_subscription(client);
    } else if (client->fd >= 0 && what == 12) {
        change_will(client);
    } else if (client->fd >= 0) {
        answer(client);
    }
    if (below(3) > 0) {
        turn();
        if (pub.session->conn == NULL) { /* PUBREL before PUBREC */
            close(pub.fd);
            pub.fd = -1;
        }
    }
    if (pub.fd < 0) {
        client_connect_kept(&pub, &rig, "c6");
    }
}

static void live_once(void)
{
    rig.config.limits_server_receive_maximum = 65535;
    rig.config.storage_undo_window_ms = below(3);
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i].fd = -1;
    }
    client_connect_kept(&pub, &rig, "c6");
    for (unsigned i = 0; i < STEPS; i++) {
        step();
    }
    turn();
    rig_settle(&rig);
    turn();
    rig_settle(&rig);
}

static void each_life_begins_with_what_the_one_before_had(void **state)
{
    (void)state;
    struct engine_type wal = wal_here();
    assert_non_null(mkdtemp(folder));
    seed = test_seed();
    struct text had = {0};
    for (unsigned life = 0; life < LIVES; life++) {
        rig_start_with(&rig, WORKERS, &wal, COMMIT_BALANCED);
        struct text has = describe();
        if (life > 0) {
            assert_string_equal(has.data, had.data);
        }
        text_fini(&has);
        text_fini(&had);
        live_once();
        had = describe();
        rig_stop_with(&rig, RIG_WAIT_MS);
        for (unsigned i = 0; i < CLIENTS; i++) {
            if (clients[i].fd >= 0) {
                close(clients[i].fd);
            }
        }
        close(pub.fd);
    }
    text_fini(&had);
    nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_life_begins_with_what_the_one_before_had),
    };
    return cmocka_run_group_tests_name("restore_random", tests, NULL, NULL);
}
