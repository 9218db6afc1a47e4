#include "tests/bench/ledger.h"

#include <stdlib.h>
#include <string.h>

/*
 * Invariant: publishers passed in are below `publishers`; the caller has checked what came from the
 * network (stamp_read()).
 */

enum { WORD_BITS = 64, SEEN_WORDS_MIN = 4096 };

bool ledger_init(struct ledger *ledger, enum ledger_route route, uint32_t publishers,
                 uint32_t subscribers)
{
    *ledger = (struct ledger){
        .route = route,
        .publishers = publishers,
        .subscribers = subscribers,
        .columns = publishers,
    };
    size_t rows = route == LEDGER_PAIRS ? 1 : subscribers;
    ledger->next = calloc(rows * publishers, sizeof(*ledger->next));
    bool has_memory = ledger->next != NULL;
    if (route == LEDGER_SHARED) {
        ledger->seen = calloc(publishers, sizeof(*ledger->seen));
        ledger->seen_words = calloc(publishers, sizeof(*ledger->seen_words));
        ledger->distinct = calloc(publishers, sizeof(*ledger->distinct));
        has_memory = has_memory && ledger->seen != NULL && ledger->seen_words != NULL &&
                     ledger->distinct != NULL;
    }
    if (!has_memory) {
        ledger_fini(ledger);
    }
    return has_memory;
}

void ledger_fini(struct ledger *ledger)
{
    if (ledger->seen != NULL) {
        for (uint32_t i = 0; i < ledger->publishers; i++) {
            free(ledger->seen[i]);
        }
    }
    free(ledger->seen);
    free(ledger->seen_words);
    free(ledger->distinct);
    free(ledger->next);
    *ledger = (struct ledger){0};
}

/* Sets the bit of one message. False when it was set already. */
static bool mark_seen(struct ledger *ledger, uint32_t publisher, uint32_t sequence)
{
    size_t word = sequence / WORD_BITS;
    if (word >= ledger->seen_words[publisher]) {
        size_t words = 2 * word > SEEN_WORDS_MIN ? 2 * word : SEEN_WORDS_MIN;
        uint64_t *larger = realloc(ledger->seen[publisher], words * sizeof(*larger));
        if (larger == NULL) {
            abort(); /* at most 2^32 bits; without them nothing can be said any more */
        }
        size_t old_words = ledger->seen_words[publisher];
        memset(larger + old_words, 0, (words - old_words) * sizeof(*larger));
        ledger->seen[publisher] = larger;
        ledger->seen_words[publisher] = words;
    }
    uint64_t bit = 1ull << (sequence % WORD_BITS);
    bool is_new = (ledger->seen[publisher][word] & bit) == 0;
    ledger->seen[publisher][word] |= bit;
    return is_new;
}

static void note_shared(struct ledger *ledger, uint32_t subscriber, uint32_t publisher,
                        uint32_t sequence)
{
    uint32_t *next = &ledger->next[(size_t)subscriber * ledger->columns + publisher];
    bool is_new = mark_seen(ledger, publisher, sequence);
    ledger->distinct[publisher] += is_new ? 1 : 0;
    if (!is_new || sequence < *next) {
        ledger->faults.doubled++;
        return;
    }
    *next = sequence + 1;
}

void ledger_note_other(struct ledger *ledger, uint32_t subscriber, uint32_t publisher,
                       uint32_t sequence)
{
    if (ledger->route == LEDGER_SHARED) {
        note_shared(ledger, subscriber, publisher, sequence);
        return;
    }
    if (!ledger_is_for(ledger, subscriber, publisher)) {
        ledger->faults.misrouted++;
        return;
    }
    uint32_t *next = &ledger->next[ledger_index(ledger, subscriber, publisher)];
    if (sequence < *next) {
        ledger->faults.doubled++;
        return;
    }
    ledger->faults.lost += sequence - *next;
    *next = sequence + 1;
}

void ledger_settle(struct ledger *ledger, uint32_t publisher, uint32_t sent)
{
    if (ledger->route == LEDGER_SHARED) {
        ledger->faults.lost += sent - ledger->distinct[publisher];
        return;
    }
    if (ledger->route == LEDGER_PAIRS) {
        ledger->faults.lost += sent - ledger->next[publisher];
        return;
    }
    for (uint32_t i = 0; i < ledger->subscribers; i++) {
        ledger->faults.lost += sent - ledger->next[(size_t)i * ledger->columns + publisher];
    }
}

bool ledger_is_clean(const struct ledger *ledger)
{
    const struct ledger_faults *faults = &ledger->faults;
    return faults->lost + faults->doubled + faults->misrouted + faults->damaged == 0;
}
