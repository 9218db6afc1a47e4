#include "tests/integration/secure_listener.h"
#include "tests/integration/broker.h"
#include "tests/integration/certificates.h"

#include <stdio.h>

enum { YAML_SIZE = 4096 };

static uint16_t port;

uint16_t tls_port(void)
{
    return port;
}

const char *tls_yaml_with(const char *certificate, const char *key, const char *more)
{
    static char yaml[YAML_SIZE];
    port = broker_free_port();
    snprintf(yaml, sizeof(yaml),
             "listeners:\n- bind: 127.0.0.1:%u\n  tls: true\n  certificate_chain: %s\n"
             "  private_key: %s\n%s",
             port, certificates_path(certificate), certificates_path(key), more);
    return yaml;
}

const char *tls_yaml(const char *more)
{
    return tls_yaml_with("server.pem", "server.key", more);
}

const char *mutual_yaml(const char *client_auth, const char *more)
{
    char lines[YAML_SIZE / 2];
    snprintf(lines, sizeof(lines), "  client_auth: %s\n  client_ca: %s\n%s", client_auth,
             certificates_path("ca.pem"), more);
    return tls_yaml(lines);
}

struct secure_way tls_way(void)
{
    return (struct secure_way){.port = port, .tls = true, .ca = certificates_path("ca.pem")};
}

struct secure_way tls_way_as(const char *name)
{
    char file[64];
    struct secure_way way = tls_way();
    snprintf(file, sizeof(file), "%s.pem", name);
    way.certificate = certificates_path(file);
    snprintf(file, sizeof(file), "%s.key", name);
    way.key = certificates_path(file);
    return way;
}

/*
 * In 1.3 the client's handshake is over before the broker has looked at its certificate: then the
 * refusal is what it reads first.
 */
int tls_refusal(const struct secure_way *way)
{
    struct secure_stream *stream = secure_open(way);
    if (stream->is_open) {
        secure_fill(stream, 1, WAIT_MS);
    }
    if (!stream->ended || stream->input.len > 0) {
        test_fail("the broker did not refuse");
    }
    int alert = stream->alert;
    secure_close(stream);
    return alert;
}

void tls_exchange(struct client *pub, struct client *sub)
{
    subscribe(sub, "tls/t", 2);
    /* One who gets its own messages gets them between its own acknowledgements */
    uint8_t qos_max = pub != sub ? 2 : 0;
    for (uint8_t qos = 0; qos <= qos_max; qos++) {
        publish(pub, "tls/t", "x", qos);
        expect_publish_and_ack(sub, "tls/t", "x");
    }
    unsubscribe(sub, "tls/t");
}
