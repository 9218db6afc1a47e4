#include "node/router.h"

#include "base/log.h"
#include "base/mem.h"
#include "node/delivery.h"
#include "node/journal.h"
#include "base/message.h"
#include "node/retained.h"
#include "node/session.h"
#include "node/session_handle.h"
#include "node/throttle.h"

/*
 * The worker of the publisher finds out who wants a message and posts it once to each other worker
 * that has subscribers, which looks its own up again: its cache knows the topic, and no pointer
 * into the index has to outlive a read section.
 */

/* What a session that several subscriptions matched will get. */
struct wanted {
    struct session *session;
    uint32_t first_id; /* + 1 into ids; 0: none */
    uint32_t last_id;
    uint32_t id_count;
    uint8_t qos;
    bool retain;
};

struct wanted_id {
    uint32_t id;
    uint32_t next; /* + 1 */
};

struct router_scratch {
    struct wanted *wanted;
    uint32_t wanted_count;
    uint32_t wanted_cap;
    struct wanted_id *ids;
    uint32_t id_count;
    uint32_t id_cap;
    uint32_t *flat; /* one session's ids in a row */
    uint32_t flat_cap;
};

struct router_scratch *router_scratch_create(void)
{
    return mem_alloc(sizeof(struct router_scratch));
}

void router_scratch_destroy(struct router_scratch *scratch)
{
    mem_free(scratch->wanted);
    mem_free(scratch->ids);
    mem_free(scratch->flat);
    mem_free(scratch);
}

/* ---- sessions of this worker ----------------------------------------------------------------- */

static bool is_echo(const struct subscription *sub, const struct message *message)
{
    return sub->no_local && sub->session->identity == message->publisher_id; /* [MQTT-3.8.3-3] */
}

/* One filter matched: no session can be there twice. */
static void deliver_list(struct encoder *encoder, const struct sub_list *list)
{
    const struct message *message = encoder->message;
    for (uint32_t i = 0; i < list->count; i++) {
        const struct subscription *sub = sub_list_at(list, i);
        if (is_echo(sub, message)) {
            continue;
        }
        struct delivery delivery = {.qos = sub->qos,
                                    .retain = message->retain && sub->retain_as_published,
                                    .ids = &sub->id,
                                    .id_count = sub->id != 0 ? 1 : 0};
        deliver(encoder, sub->session, &delivery);
    }
}

static void want_id(struct router_scratch *scratch, struct wanted *wanted, uint32_t id)
{
    if (id == 0) {
        return;
    }
    scratch->ids =
        mem_grow(scratch->ids, scratch->id_count, &scratch->id_cap, sizeof(*scratch->ids));
    scratch->ids[scratch->id_count++] = (struct wanted_id){.id = id};
    if (wanted->id_count++ == 0) {
        wanted->first_id = scratch->id_count;
    } else {
        scratch->ids[wanted->last_id - 1].next = scratch->id_count;
    }
    wanted->last_id = scratch->id_count;
}

/* Notes that `sub` matched: the highest QoS counts, and all identifiers. */
static void want(struct router_scratch *scratch, const struct subscription *sub, bool retain)
{
    struct session *session = sub->session;
    bool seen = session->match_index < scratch->wanted_count &&
                scratch->wanted[session->match_index].session == session;
    if (!seen) {
        scratch->wanted = mem_grow(scratch->wanted, scratch->wanted_count, &scratch->wanted_cap,
                                   sizeof(*scratch->wanted));
        session->match_index = scratch->wanted_count;
        scratch->wanted[scratch->wanted_count++] = (struct wanted){.session = session};
    }
    struct wanted *wanted = &scratch->wanted[session->match_index];
    wanted->qos = sub->qos > wanted->qos ? sub->qos : wanted->qos;
    wanted->retain = wanted->retain || (retain && sub->retain_as_published);
    want_id(scratch, wanted, sub->id);
}

static const uint32_t *flatten(struct router_scratch *scratch, const struct wanted *wanted)
{
    uint32_t count = 0;
    for (uint32_t at = wanted->first_id; at != 0; at = scratch->ids[at - 1].next) {
        scratch->flat = mem_grow(scratch->flat, count, &scratch->flat_cap, sizeof(*scratch->flat));
        scratch->flat[count++] = scratch->ids[at - 1].id;
    }
    return scratch->flat;
}

/* Several filters matched: a session gets one copy. */
static void deliver_merged(struct worker *worker, struct encoder *encoder,
                           const struct match *match)
{
    struct router_scratch *scratch = worker->scratch;
    const struct message *message = encoder->message;
    scratch->wanted_count = 0;
    scratch->id_count = 0;
    for (uint32_t n = 0; n < match->count; n++) {
        const struct sub_list *list = &match->nodes[n]->lists[worker->index];
        for (uint32_t i = 0; i < list->count; i++) {
            const struct subscription *sub = sub_list_at(list, i);
            if (!is_echo(sub, message)) {
                want(scratch, sub, message->retain);
            }
        }
    }
    for (uint32_t i = 0; i < scratch->wanted_count; i++) {
        const struct wanted *wanted = &scratch->wanted[i];
        struct delivery delivery = {.qos = wanted->qos,
                                    .retain = wanted->retain,
                                    .ids = flatten(scratch, wanted),
                                    .id_count = wanted->id_count};
        deliver(encoder, wanted->session, &delivery);
    }
}

static void deliver_here(struct worker *worker, struct message *message, const struct match *match,
                         struct receipt **receipt)
{
    if ((match->workers >> worker->index & 1) == 0) {
        return;
    }
    struct encoder encoder;
    if (match->count == 1) {
        const struct sub_list *list = &match->nodes[0]->lists[worker->index];
        encoder_init(&encoder, worker, message, list->count);
        encoder.receipt = receipt;
        deliver_list(&encoder, list);
    } else {
        encoder_init(&encoder, worker, message, match->count);
        encoder.receipt = receipt;
        deliver_merged(worker, &encoder, match);
    }
}

/* ---- other workers --------------------------------------------------------------------------- */

/* Retained messages looked at for expired ones when there is no room for a new one. */
#define EXPIRE_BUDGET 4096

/* One message to another worker. */
struct parcel {
    struct message *message;
    struct receipt *receipt;   /* NULL: nobody waits */
    struct share_group *group; /* not NULL: held; for `member` alone */
    struct share_member member;
};

/* What one iteration has for one worker goes in few mails, so that a message costs little. */
#define PARCELS_MAX 32

struct delivery_mail {
    struct mail mail;
    uint32_t count;
    struct parcel parcels[PARCELS_MAX];
};

static size_t parcel_bytes(const struct parcel *parcel)
{
    return sizeof(*parcel) + message_bytes(parcel->message);
}

static bool give_to_member(struct worker *worker, struct message *message,
                           struct share_group *group, const struct share_member *member,
                           struct receipt **receipt);

/* The member that was picked is gone meanwhile: another one, while there is any. */
static void deliver_to_member(struct worker *worker, const struct parcel *parcel)
{
    struct receipt *receipt = parcel->receipt;
    struct receipt **waiting = receipt != NULL ? &receipt : NULL;
    struct share_member member = parcel->member;
    while (!give_to_member(worker, parcel->message, parcel->group, &member, waiting)) {
        if (!share_group_pick(parcel->group, member.session, &member)) {
            metric_add(&worker->metrics, METRIC_DROPPED_NO_MEMBER, 1);
            break;
        }
    }
    share_group_drop(parcel->group);
}

static void open_parcel(struct worker *worker, const struct parcel *parcel)
{
    atomic_fetch_sub_explicit(&worker->inbox_bytes, parcel_bytes(parcel), memory_order_relaxed);
    if (parcel->group != NULL) {
        deliver_to_member(worker, parcel);
    } else {
        struct receipt *receipt = parcel->receipt;
        deliver_here(worker, parcel->message,
                     match_topic(worker->matches, message_topic(parcel->message)),
                     receipt != NULL ? &receipt : NULL);
    }
    receipt_done(worker, parcel->receipt);
    message_unref(parcel->message);
}

static void open_delivery(struct worker *worker, struct mail *letter)
{
    struct delivery_mail *mail = container_of(letter, struct delivery_mail, mail);
    for (uint32_t i = 0; i < mail->count; i++) {
        open_parcel(worker, &mail->parcels[i]);
    }
    mem_free(mail);
}

/* A free place in the mail that goes to worker `to` at the end of this iteration. */
static struct parcel *next_parcel(struct worker *worker, unsigned to)
{
    struct delivery_mail *mail = worker->outgoing[to];
    if (mail == NULL || mail->count == PARCELS_MAX) {
        mail = mem_resize(NULL, sizeof(*mail)); /* not zeroed: most of it is not used */
        mail->mail.open = open_delivery;
        mail->count = 0;
        worker->outgoing[to] = mail;
        worker_send(worker, to, &mail->mail);
    }
    return &mail->parcels[mail->count++];
}

/* Posts `message` to worker `to`. */
static void post(struct worker *worker, unsigned to, struct message *message,
                 struct receipt **receipt, struct share_group *group,
                 const struct share_member *member)
{
    struct message *kept = message_keep(message);
    if (kept == NULL) {
        metric_add(&worker->metrics, METRIC_DROPPED_NO_MEMORY, 1);
        return;
    }
    struct parcel *parcel = next_parcel(worker, to);
    *parcel = (struct parcel){.message = kept};
    if (group != NULL) {
        share_group_hold(group);
        parcel->group = group;
        parcel->member = *member;
    }
    parcel->receipt = receipt_hold(worker, receipt);
    size_t bytes = parcel_bytes(parcel);
    struct worker *target = worker->broker->workers[to];
    size_t queued = atomic_fetch_add_explicit(&target->inbox_bytes, bytes, memory_order_relaxed);
    if (queued + bytes > THROTTLE_INBOX_HIGH) {
        throttle_for_worker(worker, to, message->publisher);
    }
}

/* ---- shared subscriptions -------------------------------------------------------------------- */

/* It was when the message left its publisher's worker; and the session may be another client's by
 * now, who may not have it. */
static bool is_member(const struct session *session, const struct share_group *group)
{
    const struct subscription *sub = session->subscriptions;
    while (sub != NULL && sub->group != group) {
        sub = sub->next_of_session;
    }
    return sub != NULL;
}

/* Delivers or posts to `member`. False: its session, which would be here, is gone, or has left the
 * group. */
static bool give_to_member(struct worker *worker, struct message *message,
                           struct share_group *group, const struct share_member *member,
                           struct receipt **receipt)
{
    unsigned to = session_handle_worker(member->session);
    if (to != worker->index) {
        post(worker, to, message, receipt, group, member);
        return true;
    }
    struct session *session = session_table_get(&worker->sessions, member->session);
    if (session == NULL || !is_member(session, group)) {
        return false;
    }
    struct encoder encoder;
    encoder_init(&encoder, worker, message, 1);
    encoder.receipt = receipt;
    struct delivery delivery = {.qos = member->qos,
                                .retain = message->retain && member->retain_as_published,
                                .shared = true,
                                .ids = &member->id,
                                .id_count = member->id != 0 ? 1 : 0};
    metric_add(&worker->metrics, METRIC_SHARED_DISPATCH, 1);
    deliver(&encoder, session, &delivery);
    return true;
}

/* One member of each group of each filter that matched. */
static bool deliver_shared(struct worker *worker, struct message *message,
                           const struct match *match, struct receipt **receipt)
{
    bool any = false;
    for (uint32_t n = 0; n < match->count; n++) {
        struct share_group *group = sub_index_first_group(match->nodes[n]);
        for (; group != NULL; group = share_group_next(group)) {
            struct share_member member;
            if (share_group_pick(group, 0, &member)) {
                any |= give_to_member(worker, message, group, &member, receipt);
            }
        }
    }
    return any;
}

bool router_redispatch(struct worker *worker, struct message *message, struct share_group *group,
                       uint64_t except, bool connected_only, struct receipt **receipt)
{
    struct share_member member;
    return share_group_pick(group, except, &member) && (member.connected || !connected_only) &&
           give_to_member(worker, message, group, &member, receipt);
}

/* ---- publishing ------------------------------------------------------------------------------ */

static void retain(struct worker *worker, struct message *message, struct receipt **receipt)
{
    struct retained *store = worker->broker->retained;
    enum err err = retained_set(store, message);
    if (err == ERR_FULL) {
        size_t gone = retained_expire(store, worker_now(worker), EXPIRE_BUDGET);
        metric_add(&worker->metrics, METRIC_DROPPED_RETAINED_EXPIRED, (int64_t)gone);
        err = gone > 0 ? retained_set(store, message) : err;
    }
    if (err != ERR_OK) {
        metric_add(&worker->metrics, METRIC_DROPPED_RETAINED_LIMIT, 1);
        log_debug(LOG_RETAINED, "message not retained: limit reached",
                  log_slice("topic", message_topic(message)));
    }
    journal_retained(worker, message, receipt); /* also then: an older one may be stored */
}

bool router_publish(struct worker *worker, struct message *message, struct receipt **receipt)
{
    if (message->retain) {
        /* first: who subscribes now must see it one way or the other */
        retain(worker, message, receipt);
    }
    const struct match *match = match_topic(worker->matches, message_topic(message));
    bool matched = match->workers != 0;
    if (match->count == 0) {
        return false;
    }
    /* Sharing workers and groups first: delivering here may change what `match` points to. */
    uint64_t others = match->workers & ~((uint64_t)1 << worker->index);
    while (others != 0) {
        unsigned to = (unsigned)__builtin_ctzll(others);
        others &= others - 1;
        post(worker, to, message, receipt, NULL, NULL);
    }
    if (match->shared) {
        matched |= deliver_shared(worker, message, match, receipt);
    }
    deliver_here(worker, message, match, receipt);
    return matched;
}
