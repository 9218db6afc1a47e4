#include "tests/crash/stream.h"

enum { STEP_MS = 20, SILENCE_MAX_MS = 3000 };

static const char topic[] = "live";

static struct stream *stream_of(struct client *client)
{
    return (struct stream *)client; /* its first member */
}

static void stream_prepare(struct client *client, struct wire_connect *connect)
{
    (void)client;
    connect->clean_start = true;
}

static void stream_online(struct client *client, bool session_present)
{
    (void)session_present;
    stream_of(client)->subscribed = false;
    wire_put_subscribe(client_out(client),
                       &(struct wire_subscribe){.filter = topic, .packet_id = 1});
}

static void stream_packet(struct client *client, const struct packet *packet)
{
    struct stream *stream = stream_of(client);
    if (packet->type == WIRE_SUBACK) {
        stream->subscribed = true;
        stream->heard_ms = client_now_ms(client);
    } else if (packet->type == WIRE_PUBLISH) {
        stream->heard_ms = client_now_ms(client);
        stream->told = false;
        stream->heard++;
    }
}

static void stream_lost(struct client *client, enum loss loss)
{
    (void)loss;
    stream_of(client)->subscribed = false;
}

static void watch_silence(struct stream *stream)
{
    uint32_t silence_ms = client_now_ms(&stream->client) - stream->heard_ms;
    if (silence_ms > stream->longest_ms) {
        stream->longest_ms = silence_ms;
    }
    if (silence_ms > SILENCE_MAX_MS && !stream->told) {
        stream->told = true;
        violation_report(&stream->client.world->record, VIOLATION_STARVED, 0, stream->client.actor,
                         "for %u ms", silence_ms);
    }
}

static void stream_tick(struct client *client)
{
    struct stream *stream = stream_of(client);
    if (client->state != CLIENT_ONLINE || !stream->subscribed) {
        return;
    }
    watch_silence(stream);
    if (client_now_ms(client) >= stream->next_ms) {
        stream->next_ms = client_now_ms(client) + STEP_MS;
        wire_put_publish(client_out(client), &(struct wire_publish){.topic = topic});
    }
}

static const struct client_type stream_type = {.prepare = stream_prepare,
                                               .online = stream_online,
                                               .packet = stream_packet,
                                               .lost = stream_lost,
                                               .tick = stream_tick};

void stream_init(struct stream *stream, struct world *world)
{
    *stream = (struct stream){0};
    client_init(&stream->client, world, &stream_type, "stream");
}

void stream_fini(struct stream *stream)
{
    client_fini(&stream->client);
}
