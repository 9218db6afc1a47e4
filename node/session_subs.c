#include "node/session.h"

#include "base/mem.h"
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

/* Another subscription of the session on the same filter and in the same group. */
static struct subscription *find_twin(struct session *session, const struct subscription *sub)
{
    for (struct subscription *other = session->subscriptions; other != NULL;
         other = other->next_of_session) {
        if (other != sub && other->node == sub->node && other->group == sub->group) {
            return other;
        }
    }
    return NULL;
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

struct subscription *session_subscribe(struct session *session, struct slice filter,
                                       struct slice share, const struct subscription *options,
                                       bool *existed)
{
    struct worker *worker = session->worker;
    struct subscription *sub = mem_alloc(sizeof(*sub));
    *sub = *options;
    sub->session = session;
    sub_index_add(&worker->broker->index, worker->index, sub, filter, share, session->conn != NULL);
    sub->next_of_session = session->subscriptions;
    session->subscriptions = sub;
    count(session, sub, 1);
    struct subscription *twin = find_twin(session, sub);
    *existed = twin != NULL;
    if (twin != NULL) {
        unlink_and_free(session, twin);
    }
    return sub;
}

struct subscription *session_find_subscription(struct session *session, struct slice filter,
                                               struct slice share)
{
    const struct trie_node *node = trie_find(&session->worker->broker->index.trie, filter);
    for (struct subscription *sub = session->subscriptions; node != NULL && sub != NULL;
         sub = sub->next_of_session) {
        if (&sub->node->trie == node && slice_equal(sub_index_share_name(sub), share)) {
            return sub;
        }
    }
    return NULL;
}

bool session_unsubscribe(struct session *session, struct slice filter, struct slice share)
{
    struct subscription *sub = session_find_subscription(session, filter, share);
    if (sub == NULL) {
        return false;
    }
    unlink_and_free(session, sub);
    return true;
}

void session_unsubscribe_all(struct session *session)
{
    while (session->subscriptions != NULL) {
        unlink_and_free(session, session->subscriptions);
    }
}
