#include "node/inspect.h"

#include "base/mem.h"

/*
 * Invariants:
 *   holds == questions on their way, + 1 for the open handle;
 *   once `stopped` is set no worker's thread runs: what touches the inspector is the main thread.
 */
struct inspector {
    struct broker *broker;
    struct mailbox homecoming;
    uv_async_t bell;
    unsigned holds;
    bool stopped;
};

static void drop_hold(struct inspector *inspector)
{
    if (--inspector->holds == 0) {
        mem_free(inspector);
    }
}

static void arrive(struct question *question)
{
    struct inspector *inspector = question->inspector;
    question->home(question);
    drop_hold(inspector);
}

static void on_bell(uv_async_t *bell)
{
    struct inspector *inspector = bell->data;
    struct letter *letter = mailbox_take(&inspector->homecoming);
    while (letter != NULL) {
        struct letter *next = letter->next;
        struct mail *mail = container_of(letter, struct mail, letter);
        arrive(container_of(mail, struct question, mail));
        letter = next;
    }
}

static void send_home(struct question *question)
{
    struct inspector *inspector = question->inspector;
    if (inspector->stopped) {
        arrive(question);
    } else if (mailbox_push(&inspector->homecoming, &question->mail.letter)) {
        uv_async_send(&inspector->bell);
    }
}

static void open_question(struct worker *worker, struct mail *mail)
{
    struct question *question = container_of(mail, struct question, mail);
    switch (question->visit(question, worker)) {
    case QUESTION_AGAIN:
        worker_send(worker, worker->index, mail);
        return;
    case QUESTION_ONWARD:
        if (worker->index + 1 < worker->broker->worker_count) {
            question->worker = worker->index + 1;
            worker_send(worker, question->worker, mail);
            return;
        }
        break;
    case QUESTION_HOME:
        break;
    }
    send_home(question);
}

struct inspector *inspect_start(uv_loop_t *loop, struct broker *broker)
{
    struct inspector *inspector = mem_alloc(sizeof(*inspector));
    inspector->broker = broker;
    inspector->holds = 1;
    uv_async_init(loop, &inspector->bell, on_bell);
    inspector->bell.data = inspector;
    return inspector;
}

void inspect_ask(struct inspector *inspector, struct question *question, unsigned worker)
{
    ASSERT(!inspector->stopped && worker < inspector->broker->worker_count);
    inspector->holds++;
    question->inspector = inspector;
    question->worker = worker;
    question->mail.open = open_question;
    worker_post(inspector->broker->workers[worker], &question->mail);
}

static void on_closed(uv_handle_t *handle)
{
    drop_hold(handle->data);
}

void inspect_stop(struct inspector *inspector)
{
    if (inspector == NULL) {
        return;
    }
    on_bell(&inspector->bell); /* those that are home already */
    inspector->stopped = true;
    uv_close((uv_handle_t *)&inspector->bell, on_closed);
}

bool inspect_is_stopped(const struct inspector *inspector)
{
    return inspector->stopped;
}
