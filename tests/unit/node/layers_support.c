#include "tests/unit/node/layers_support.h"

#include <unistd.h>

#include "base/clock.h"

void layers_rig_start(struct layers_rig *own, unsigned workers)
{
    login_rig_start(&own->rig, workers, "limits: {max_connections_per_address: 2}\n");
    own->wanted = (struct config_listener){.name = "test", .path = "/mqtt", .origins = ""};
    own->listener = (struct listener){
        .config = &own->wanted, .name = "test", .ws = {.path = "/mqtt", .origins = ""}};
}

void layers_rig_stop(struct layers_rig *own)
{
    login_rig_stop(&own->rig);
}

void layers_come(struct layers_rig *own, struct client *client, struct tls_context *tls)
{
    struct listening listening = {
        .worker = own->rig.worker, .listener = &own->listener, .tls = tls};
    bool failed = false;
    assert_true(conn_enter_limits(own->rig.worker, &own->listener));
    struct layers *layers = layers_create(&listening, &failed);
    assert_false(failed);
    login_come(client, &own->rig, &own->listener, layers);
}

void layers_leave(struct client *client)
{
    if (client->fd >= 0) {
        client_vanish(client);
    }
}

struct conn *layers_connection(struct layers_rig *own)
{
    for (unsigned i = 0; i < own->rig.broker->worker_count; i++) {
        struct worker *worker = own->rig.broker->workers[i];
        if (!list_empty(&worker->conns)) {
            return list_entry(worker->conns.prev, struct conn, of_worker);
        }
    }
    fail();
    return NULL;
}

void layers_expect_gone(struct layers_rig *own)
{
    uint64_t end = clock_mono_ms() + 10000;
    while (rig_metric(&own->rig, METRIC_SOCKETS) > 0) {
        assert_true(clock_mono_ms() < end);
        rig_turn(&own->rig);
        usleep(1000);
    }
    assert_int_equal(atomic_load(&own->listener.connections), 0);
}

size_t layers_write_connect(const char *id, uint8_t out[static 1024])
{
    struct login_wish wish = {.id = id};
    return login_write_connect(&wish, out);
}

void layers_id_on_worker(const struct layers_rig *own, unsigned worker, char id[static 32])
{
    unsigned i = 0;
    do {
        snprintf(id, 32, "id%u", i++);
    } while (broker_worker_of(own->rig.broker, slice_text(id)) != worker);
}
