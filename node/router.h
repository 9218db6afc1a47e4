/*
 * router: from a message to everybody who wants it.
 *
 * Thread    a worker, in a read section.
 * Errors    none: what can't be delivered is counted by reason.
 * Source    MQTT 5.0 sections 3.3.4, 4.6, 4.8.2.
 */
#ifndef PULSE_NODE_ROUTER_H
#define PULSE_NODE_ROUTER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "node/receipt.h"
#include "node/worker.h"

struct message;
struct router_scratch;

struct router_scratch *router_scratch_create(void);
void router_scratch_destroy(struct router_scratch *scratch);

/*
 * Retains `message` (borrowed or not) if it says so, delivers it to local sessions and posts it to
 * the other workers that have subscribers. True: somebody wants it.
 *
 * `*receipt` may be there or is made as soon as other workers or storage are involved: then the
 * caller must end its part in it (receipt_await, receipt_done). NULL: nobody waits.
 */
bool router_publish(struct worker *worker, struct message *message, struct receipt **receipt);

/* `message` of shared group `group` goes to another member than `except`; with `connected_only` not
 * to one that is offline. False: there is nobody. `receipt` as in router_publish. */
bool router_redispatch(struct worker *worker, struct message *message, struct share_group *group,
                       uint64_t except, bool connected_only, struct receipt **receipt);

#endif
