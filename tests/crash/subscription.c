#include "tests/crash/subscription.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void subscription_init(struct subscription *subscription, const char *filter)
{
    *subscription = (struct subscription){.filter = filter};
}

void subscription_fini(struct subscription *subscription)
{
    free(subscription->spans);
    *subscription = (struct subscription){0};
}

static struct span *last_span(const struct subscription *subscription)
{
    return subscription->span_count == 0 ? NULL
                                         : &subscription->spans[subscription->span_count - 1];
}

enum subscription_state subscription_state(const struct subscription *subscription)
{
    const struct span *span = last_span(subscription);
    if (span == NULL || span->gone != 0) {
        return SUBSCRIPTION_ABSENT;
    }
    if (span->dropping != 0) {
        return SUBSCRIPTION_DROPPING;
    }
    return span->held != 0 ? SUBSCRIPTION_HELD : SUBSCRIPTION_ASKED;
}

static void add_span(struct subscription *subscription, uint64_t moment)
{
    if (subscription->span_count == subscription->span_cap) {
        subscription->span_cap = subscription->span_cap * 2 + 4;
        size_t size = subscription->span_cap * sizeof(*subscription->spans);
        subscription->spans = realloc(subscription->spans, size);
        if (subscription->spans == NULL) {
            fprintf(stderr, "pulse-crash: out of memory\n");
            abort();
        }
    }
    subscription->spans[subscription->span_count++] = (struct span){.asked = moment};
}

void subscription_move(struct subscription *subscription, enum subscription_state next,
                       uint64_t moment)
{
    enum subscription_state now = subscription_state(subscription);
    struct span *span = last_span(subscription);
    if (now == SUBSCRIPTION_ABSENT && next == SUBSCRIPTION_ASKED) {
        add_span(subscription, moment);
    } else if (now == SUBSCRIPTION_ASKED && next == SUBSCRIPTION_HELD) {
        span->held = moment;
    } else if (now == SUBSCRIPTION_HELD && next == SUBSCRIPTION_DROPPING) {
        span->dropping = moment;
    } else if (now != SUBSCRIPTION_ABSENT && next == SUBSCRIPTION_ABSENT) {
        span->gone = moment;
    }
}

void subscription_forget(struct subscription *subscription)
{
    if (subscription->span_count > 1) {
        subscription->spans[0] = *last_span(subscription);
        subscription->span_count = 1;
    }
}

bool subscription_covers(const struct subscription *subscription, uint64_t from, uint64_t to)
{
    for (size_t i = 0; i < subscription->span_count; i++) {
        const struct span *span = &subscription->spans[i];
        bool begun = span->held != 0 && span->held <= from;
        bool ended =
            (span->dropping != 0 && span->dropping <= to) || (span->gone != 0 && span->gone <= to);
        if (begun && !ended) {
            return true;
        }
    }
    return false;
}

bool subscription_possible(const struct subscription *subscription, uint64_t from, uint64_t to)
{
    for (size_t i = 0; i < subscription->span_count; i++) {
        const struct span *span = &subscription->spans[i];
        if (span->asked <= to && (span->gone == 0 || span->gone >= from)) {
            return true;
        }
    }
    return false;
}

bool filter_matches(const char *filter, const char *topic)
{
    for (;;) {
        size_t filter_len = strcspn(filter, "/"), topic_len = strcspn(topic, "/");
        if (filter[0] == '#') {
            return true;
        }
        bool any = filter_len == 1 && filter[0] == '+';
        if (!any && (filter_len != topic_len || memcmp(filter, topic, topic_len) != 0)) {
            return false;
        }
        filter += filter_len;
        topic += topic_len;
        if (*filter == '\0' || *topic == '\0') {
            return *filter == *topic || strcmp(filter, "/#") == 0;
        }
        filter++;
        topic++;
    }
}
