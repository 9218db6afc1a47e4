/*
 * publish: a message of an operator, on its way to a worker.
 *
 * Owns      its topic and payload.
 * Thread    main, but for the visit.
 */
#ifndef PULSE_NODE_ADMIN_PUBLISH_PRIV_H
#define PULSE_NODE_ADMIN_PUBLISH_PRIV_H

#include "node/admin/admin_priv.h"

struct publication {
    struct errand errand;
    bool matched;
    bool retain;
    uint8_t qos;
    char *topic;
    size_t topic_len;
    uint8_t *payload;
    size_t payload_len;
};

/* Gives what the body of the request says, to be ended with publish__destroy; NULL: the request has
 * failed. */
struct publication *publish__read(struct request *request);
void publish__destroy(struct errand *errand);

#endif
