#include "tests/integration/kept_session.h"

struct client *connect_keeping(const char *id)
{
    return CONNECT(.client_id = id, .resume = true, .props = FOR_A_MINUTE);
}

void leave_session(const char *id, const char *filter, unsigned qos)
{
    struct client *c = connect_keeping(id);
    subscribe(c, filter, qos);
    client_disconnect(c);
}

void publish_from_elsewhere(const char *topic, const char *payload, uint8_t qos)
{
    struct client *c = CONNECT();
    publish(c, topic, payload, qos);
    client_disconnect(c);
}
