#include "tests/crash/history.h"

#include <stdbool.h>
#include <stdlib.h>

enum { EVENTS = 1 << 21, LINES_MAX = 120, LAST_EVENTS = 40 };

static const char *const texts[] = {
#define X(constant, text) text,
    EVENT_TABLE(X)
#undef X
};

void history_init(struct history *history)
{
    history->events = calloc(EVENTS, sizeof(*history->events));
    history->count = 0;
    if (history->events == NULL) {
        fprintf(stderr, "pulse-crash: out of memory\n");
        abort();
    }
}

void history_fini(struct history *history)
{
    free(history->events);
    history->events = NULL;
}

void history_add(struct history *history, const struct event *event)
{
    history->events[history->count % EVENTS] = *event;
    history->count++;
}

static const struct event *event_at(const struct history *history, uint64_t index)
{
    return &history->events[index % EVENTS];
}

static uint64_t oldest(const struct history *history)
{
    return history->count > EVENTS ? history->count - EVENTS : 0;
}

static bool is_context(const struct event *event, const struct history_query *query)
{
    return event->message == 0 && (event->actor == query->actor || event->actor == query->sender ||
                                   event->actor == ACTOR_BROKER);
}

/* Where the story begins. */
static uint64_t first_of(const struct history *history, const struct history_query *query)
{
    uint64_t index = history->count, found = 0;
    while (index > oldest(history)) {
        const struct event *event = event_at(history, index - 1);
        if (query->message == 0 && is_context(event, query) && ++found == LAST_EVENTS) {
            return index - 1;
        }
        index--;
    }
    while (query->message != 0 && index < history->count &&
           event_at(history, index)->message != query->message) {
        index++;
    }
    return index;
}

void history_print(const struct history *history, const struct history_query *query)
{
    unsigned lines = 0;
    for (uint64_t i = first_of(history, query); i < history->count; i++) {
        const struct event *event = event_at(history, i);
        bool concerns = query->message != 0 && event->message == query->message;
        if (!concerns && !is_context(event, query)) {
            continue;
        }
        if (++lines > LINES_MAX) {
            printf("      ... and more\n");
            return;
        }
        printf("    %10u ms  %-9s %s", event->ms, query->name_of(query->context, event->actor),
               texts[event->kind]);
        printf(event->detail != 0 ? " (%u)\n" : "\n", event->detail);
    }
}
