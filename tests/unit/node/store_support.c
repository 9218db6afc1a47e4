#include "tests/unit/node/store_support.h"

#include <unistd.h>

#include "node/retained.h"

static struct message *retained_now(void *context, struct slice topic)
{
    struct broker *broker = context;
    return retained_get(broker->retained, topic);
}

void rig_start_with(struct rig *rig, unsigned workers, const struct engine_type *engine,
                    enum storage_policy policy)
{
    rig_start(rig, workers);
    struct broker *broker = rig->broker;
    struct storage_config config = {.policy = policy};
    struct storage_hooks hooks = {.context = broker, .retained = retained_now};
    assert_int_equal(storage__open(engine, &config, &hooks, &broker->storage), ERR_OK);
    for (unsigned i = 0; i < workers; i++) {
        broker->workers[i]->journal.storage = broker->storage;
    }
    reclaim_thread_unregister(); /* loading registers the thread itself */
    assert_int_equal(restore_load(broker), ERR_OK);
    reclaim_thread_register();
    assert_int_equal(storage_start(broker->storage), ERR_OK);
    rig_turn(rig);
}

void rig_stop_with(struct rig *rig, uint64_t timeout_ms)
{
    rig_turn(rig);
    rig->config.server_shutdown_drain_timeout_ms = timeout_ms;
    broker_close_storage(rig->broker);
    reclaim_thread_unregister();
    broker_destroy(rig->broker);
    config_fini(&rig->config);
}

static bool is_settled(const struct rig *rig)
{
    for (unsigned i = 0; i < rig->broker->worker_count; i++) {
        const struct journal *journal = &rig->broker->workers[i]->journal;
        if (journal->under_way > 0 || journal->filling->part.count > 0 ||
            journal->undoable->part.live > 0) {
            return false;
        }
    }
    return true;
}

void rig_settle(struct rig *rig)
{
    uint64_t deadline = clock_mono_ms() + RIG_WAIT_MS;
    rig_turn(rig);
    while (!is_settled(rig)) {
        assert_true(clock_mono_ms() < deadline);
        usleep(500);
        rig_turn(rig);
    }
    rig_turn(rig); /* what came back with the last part */
}

void rig_turn_until_blocked(struct rig *rig, struct fake_store *store)
{
    rig_turn(rig);
    assert_true(fake_store_wait_blocked(store, RIG_WAIT_MS));
    rig_turn(rig);
}

const char *id_on_worker(const struct rig *rig, const char *prefix, unsigned home)
{
    static char id[64];
    unsigned number = 0;
    do {
        snprintf(id, sizeof(id), "%s%u", prefix, number++);
    } while (broker_worker_of(rig->broker, slice_text(id)) != home);
    return id;
}

void client_connect_kept(struct client *client, struct rig *rig, const char *id)
{
    client_connect(client, rig, (struct client_options){.id = id, .session_expiry = 60});
}

void leave_kept(struct rig *rig, const char *id, const char *filter, uint8_t qos)
{
    static struct client client;
    client_connect_kept(&client, rig, id);
    client_subscribe(&client, filter, (struct subscription){.qos = qos});
    client_vanish(&client);
    rig_settle(rig);
}

void client_expect_ack(struct client *client, enum mqtt_packet type, uint16_t packet_id)
{
    struct packet packet = {.type = 0};
    assert_true(client_next(client, &packet));
    assert_int_equal(packet.type, type);
    assert_true(packet.body.len >= 2);
    assert_int_equal(packet.body.data[0] << 8 | packet.body.data[1], packet_id);
}

int64_t rig_cancelled(const struct rig *rig)
{
    return stat_get(storage_stats(rig->broker->storage), STAT_CANCELLED);
}
