/*
 * session: what a client has on this node, connected or not.
 *
 * Owns      its subscriptions, outbound messages, inbound state, will, replays. Its connection is
 *           referred to.
 * Thread    the worker that hash(client id) names.
 * Errors    as said.
 * Source    MQTT 5.0 section 4.1.
 */
#ifndef PULSE_NODE_SESSION_H
#define PULSE_NODE_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/slice.h"
#include "codec/packet_types.h"
#include "node/inbound.h"
#include "node/outbound.h"
#include "node/sub_index.h"
#include "node/timer.h"

#define SESSION_EXPIRY_NEVER UINT32_MAX

struct conn;
struct message;
struct receipt;
struct replay;
struct will;
struct worker;

/* Retained messages on their way to a new subscription. */
struct session_replay {
    struct list link;
    struct replay *replay;
    struct subscription *subscription;
};

struct session {
    struct worker *worker;
    struct conn *conn; /* NULL: offline */
    uint64_t handle;
    uint64_t identity;                  /* hash_identity of the client id */
    struct subscription *subscriptions; /* linked by next_of_session */
    struct outbound outbound;
    struct inbound *inbound; /* NULL until first used */
    struct will *will;       /* NULL: none */
    struct list replays;     /* struct session_replay */
    struct list replay_link; /* in worker->replaying while there are any */
    struct timer timer;      /* offline: will delay and expiry; online: retransmission */
    uint64_t offline_since_ms;
    uint64_t expires_at_ms; /* offline: when it ends; CLOCK_NEVER */
    uint64_t will_due_ms;   /* offline: when its will is published; CLOCK_NEVER */
    uint64_t acked_ms;      /* the last time that the client finished a message */
    uint64_t stored_id;     /* names it in storage; 0: it is not kept there */
    uint64_t introduced;    /* journal: the number of the part that tells storage of it first */
    uint64_t rights_seen;   /* acl_view_fingerprint of the last client; 0: not known */
    uint64_t unsure_to;     /* messages before this position may be such as it may not have now */
    uint64_t held_to;       /* storage holds its QoS 2 messages before this position */
    uint32_t put_change;    /* journal: where its last SESSION_PUT may still gather, + 1 */
    uint32_t held_wait;     /* journal: where its last WAIT_HELD may still gather, + 1 */
    uint32_t expiry_s;      /* Session Expiry Interval */
    uint32_t subscription_count;
    uint32_t pauses;      /* reasons not to read from its connection (throttle.h) */
    uint32_t match_index; /* router: its place in the scratch list */
    uint16_t client_id_len;
    bool queue_warned : 1; /* said once in the log that the queue is full */
    bool held_up : 1;      /* paused until storage takes more (journal.h) */
    bool will_ending : 1;  /* the end of its last will is on its way to a placement */
    bool will_waits : 1;   /* paused: its new will is told to storage after that */
    char client_id[];
};

static inline struct slice session_client_id(const struct session *session)
{
    return slice_of(session->client_id, session->client_id_len);
}

/* Makes the session of `client_id`, which has none. */
struct session *session_create(struct worker *worker, struct slice client_id);

/* Ends it: subscriptions, queue, a will that still waits (published). Its connection is gone
 * already. */
void session_end(struct session *session);

/* Its expiry interval is known (again): from now on it is kept in storage, or not. Before
 * session_attach. */
void session_set_expiry(struct session *session, uint32_t expiry_s);
/* `will` (taken, NULL: none) in place of an earlier one, which is not published. */
void session_set_will(struct session *session, struct will *will);
/* An earlier process had it: it was offline since `offline_ms` ago. */
void session_restored(struct session *session, uint64_t offline_ms);

/* As session_end at shutdown: nothing is published or passed on. */
void session_free(struct session *session);

/* The session goes on over `conn`. */
void session_attach(struct session *session, struct conn *conn);
/* What becomes of the will when the connection is gone. */
enum will_fate {
    WILL_DUE,       /* published after its delay */
    WILL_WITHDRAWN, /* the client took leave */
    WILL_DEFERRED,  /* the node stops: after its next start, if the session is kept in storage */
};

/* Its connection is gone. Ends a session that does not outlive its connection. */
void session_detach(struct session *session, enum will_fate fate);

/* Offline for longer than it was to be kept. */
bool session_has_expired(const struct session *session);

/* Inbound state, made at first use. */
struct inbound *session_inbound(struct session *session);

/* One more reason not to read what its client publishes, or one less. */
void session_pause(struct session *session);
void session_resume(struct session *session);

/* Acknowledgements owed to the client that are ready now, in order. */
void session_send_ready_acks(struct session *session);

/* ---- sending outbound messages (session_send.c) ---------------------------------------------- */

/* Sends what the window, the socket and the order allow: redelivery first, then what waits. */
void session_pump(struct session *session);
/* Publishers that wait for this client go on when its socket and its queue have room. */
void session_release_publishers(struct session *session);
/* Storage knows that the client has the message at `position`: PUBREL may be sent. */
void session_released(struct session *session, uint64_t position);
/* PUBACK, PUBREC, PUBCOMP of the client. */
void session_on_ack(struct session *session, enum mqtt_packet type, uint16_t packet_id,
                    uint8_t reason);
/* Retained messages for `sub`, in portions, from the next loop iteration on. */
void session_replay(struct session *session, struct subscription *sub, struct slice filter);
/* One portion of its replays. */
void session_replay_some(struct session *session);
/* Stops the replay for `sub`, if there is one. */
void session_replay_cancel(struct session *session, struct subscription *sub);
/* Shared messages that this session has not finished go to other members. With `ended`, also if
 * nobody is connected; else only to connected ones. What storage is told of that goes into the
 * placement in `*placement`, made when needed. */
void session_pass_on_shared(struct session *session, bool ended, struct receipt **placement);

/* ---- subscriptions (session_subs.c) ---------------------------------------------------------- */

/* Adds or replaces; `*existed` says which. `options` has been checked. In a read section. */
struct subscription *session_subscribe(struct session *session, struct slice filter,
                                       struct slice share, const struct subscription *options,
                                       bool *existed);
/* NULL: there is none. In a read section. */
struct subscription *session_find_subscription(struct session *session, struct slice filter,
                                               struct slice share);
/* False: there was none. In a read section. */
bool session_unsubscribe(struct session *session, struct slice filter, struct slice share);
void session_unsubscribe_all(struct session *session);
/* Ends one of its subscriptions, as session_unsubscribe. In a read section. */
void session_end_subscription(struct session *session, struct subscription *sub);

#endif
