/*
 * metrics_page: the metrics as Prometheus text, and as $SYS topics with the names that users of
 * other brokers know.
 *
 * Thread    main.
 * Errors    none.
 */
#ifndef PULSE_NODE_METRICS_PAGE_H
#define PULSE_NODE_METRICS_PAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/text.h"
#include "node/metrics.h"
#include "storage/stats.h"

struct auth;

/* What is not a counter of a worker, filled in by the broker when it asks for a page. */
struct metrics_context {
    struct metrics *const *sets; /* one per worker, and the main thread's */
    unsigned count;
    unsigned workers;
    uint64_t started_mono_ms;
    size_t retained_messages;
    size_t retained_bytes;
    size_t filters;
    struct storage_stats *storage; /* NULL: nothing is stored, and nothing said about it */
    struct auth *auth;             /* NULL: nobody is asked who it is, and nothing said about it */
};

/* Appends the whole page of /metrics, # HELP and # TYPE included. */
void metrics_page(const struct metrics_context *context, struct text *page);

/* Appends the reference page of both, docs/metrics.md, as Markdown. */
void metrics_reference(struct text *page);

/* Moving averages that $SYS/broker/load/... shows; zeroed at first. */
struct sys_topics;
struct sys_topics *sys_topics_create(void);
void sys_topics_destroy(struct sys_topics *topics);

/* Calls `publish` for each $SYS/broker/... topic whose value has changed since the last call. The
 * slices are borrowed during the call. */
void sys_topics_update(struct sys_topics *topics, const struct metrics_context *context,
                       uint64_t now_mono_ms,
                       void (*publish)(void *arg, struct slice topic, struct slice payload),
                       void *arg);

/* Appends the table of the topics, as Markdown; a part of metrics_reference. */
void sys_topics_reference(struct text *page);

#endif
