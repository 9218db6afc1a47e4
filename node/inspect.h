/*
 * inspect: questions of the main thread to the workers. What a worker owns only that worker may
 * look at, so a question travels: it is mail that visits one worker after another, takes along what
 * it finds, and comes home to the main thread.
 *
 *     main: inspect_ask --> worker: visit, visit again, visit the next one ... --> main: home
 *
 * Owns      the way home. A question belongs to whoever asked; on its way, to the way.
 * Thread    visit: the worker's. The rest: main.
 * Errors    none. A worker that has stopped does not answer: who waits needs a time limit. After
 *           inspect_stop questions come home when the mail of the stopped workers is opened.
 */
#ifndef PULSE_NODE_INSPECT_H
#define PULSE_NODE_INSPECT_H

#include <uv.h>

#include "node/worker.h"

struct inspector;
struct question;

/* What is next for a question. */
enum question_next {
    QUESTION_HOME,   /* it has what it wants */
    QUESTION_AGAIN,  /* the same worker, in its next loop iteration: others had their turn */
    QUESTION_ONWARD, /* the worker after this one; home from the last */
};

struct question {
    struct mail mail;
    struct inspector *inspector;
    unsigned worker; /* that it visits, or visited last */
    /* In a read section. Must not take long: some thousand entries at most. */
    enum question_next (*visit)(struct question *question, struct worker *worker);
    /* Takes the question. */
    void (*home)(struct question *question);
};

struct inspector *inspect_start(uv_loop_t *loop, struct broker *broker);

/* Sends off `question` (taken), whose `visit` and `home` are set, to worker `worker`. */
void inspect_ask(struct inspector *inspector, struct question *question, unsigned worker);

/*
 * Workers have ended, or never started. Questions that are still on their way come home within
 * broker_destroy. The loop runs on until the handle is closed. NULL is allowed.
 */
void inspect_stop(struct inspector *inspector);
/* For `home`: whoever asked is gone. */
bool inspect_is_stopped(const struct inspector *inspector);

#endif
