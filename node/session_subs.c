#include "node/session.h"

#include "base/mem.h"
#include "node/journal.h"
#include "node/worker.h"

static void count(struct session *session, const struct subscription *sub, int by)
{
    struct metrics *metrics = &session->worker->metrics;
    session->subscription_count += (uint32_t)by;
    metric_add(metrics, METRIC_SUBSCRIPTIONS, by);
    if (sub->group != NULL) {
        metric_add(metrics, METRIC_SUBSCRIPTIONS_SHARED, by);
    }
}

static void unlink_and_free(struct session *session, struct subscription *sub)
{
    struct subscription **link = &session->subscriptions;
    while (*link != sub) {
        link = &(*link)->next_of_session;
    }
    *link = sub->next_of_session;
    count(session, sub, -1);
    session_replay_cancel(session, sub);
    sub_index_remove(&session->worker->broker->index, session->worker->index, sub);
    mem_free(sub);
}

static bool is_on(const struct subscription *sub, const struct session *session, struct slice share)
{
    return sub->session == session && slice_equal(sub_index_share_name(sub), share);
}

/* Among the worker's subscriptions at `node`; shared ones are not there. */
static struct subscription *find_at_node(struct session *session, const struct sub_list *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        if (sub_list_at(list, i)->session == session) {
            return sub_list_at(list, i);
        }
    }
    return NULL;
}

struct subscription *session_find_subscription(struct session *session, struct slice filter,
                                               struct slice share)
{
    struct worker *worker = session->worker;
    struct trie_node *found = trie_find(&worker->broker->index.trie, filter);
    if (found == NULL) {
        return NULL;
    }
    struct index_node *node = container_of(found, struct index_node, trie);
    const struct sub_list *list = &node->lists[worker->index];
    if (share.len == 0 && list->count < session->subscription_count) {
        return find_at_node(session, list);
    }
    struct subscription *sub = session->subscriptions;
    while (sub != NULL && !(sub->node == node && is_on(sub, session, share))) {
        sub = sub->next_of_session;
    }
    return sub;
}

static struct subscription *add(struct session *session, struct slice filter, struct slice share,
                                const struct subscription *options)
{
    struct worker *worker = session->worker;
    struct subscription *sub = mem_alloc(sizeof(*sub));
    *sub = *options;
    sub->session = session;
    sub_index_add(&worker->broker->index, worker->index, sub, filter, share, session->conn != NULL);
    sub->next_of_session = session->subscriptions;
    session->subscriptions = sub;
    count(session, sub, 1);
    journal_subscription(session, sub, filter, share);
    return sub;
}

struct subscription *session_subscribe(struct session *session, struct slice filter,
                                       struct slice share, const struct subscription *options,
                                       bool *existed)
{
    struct subscription *sub = session_find_subscription(session, filter, share);
    *existed = sub != NULL;
    if (sub == NULL) {
        return add(session, filter, share, options);
    }
    if (sub->group != NULL) { /* other workers see a copy of its options: a new one for them */
        struct subscription *renewed = add(session, filter, share, options);
        unlink_and_free(session, sub);
        return renewed;
    }
    sub->id = options->id;
    sub->qos = options->qos;
    sub->no_local = options->no_local;
    sub->retain_as_published = options->retain_as_published;
    sub->retain_handling = options->retain_handling;
    journal_subscription(session, sub, filter, share);
    return sub;
}

bool session_unsubscribe(struct session *session, struct slice filter, struct slice share)
{
    struct subscription *sub = session_find_subscription(session, filter, share);
    if (sub == NULL) {
        return false;
    }
    session_end_subscription(session, sub);
    return true;
}

void session_end_subscription(struct session *session, struct subscription *sub)
{
    journal_subscription_drop(session, sub);
    unlink_and_free(session, sub);
}

void session_unsubscribe_all(struct session *session)
{
    while (session->subscriptions != NULL) {
        unlink_and_free(session, session->subscriptions);
    }
}
