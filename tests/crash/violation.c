#include "tests/crash/violation.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "tests/crash/history.h"
#include "tests/crash/record.h"

enum { TOLD_MAX = 5 }; /* of each kind: the first ones say it all */

static const struct {
    const char *text;
    int allowed;
} kinds[] = {
#define X(constant, text, allowed) {text, allowed},
    VIOLATION_TABLE(X)
#undef X
};

static const char *name_of(const void *context, uint16_t actor)
{
    return record_actor_name(context, actor);
}

void violation_report(struct record *record, enum violation kind, uint64_t message, uint16_t actor,
                      const char *format, ...)
{
    struct violations *violations = &record->violations;
    bool tolerated = violations->lossy && kinds[kind].allowed == LOSSY;
    uint64_t *count = tolerated ? &violations->tolerated[kind] : &violations->counts[kind];
    (*count)++;
    if (tolerated || *count > TOLD_MAX) {
        return;
    }
    printf("VIOLATION at %u ms, %s: %s: ", record->now_ms, record_actor_name(record, actor),
           kinds[kind].text);
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    if (message != 0) {
        record_describe(record, message);
    }
    const struct message *told = record_message(record, message);
    history_print(&record->history,
                  &(struct history_query){.message = message,
                                          .actor = actor,
                                          .sender = told != NULL ? told->actor : actor,
                                          .name_of = name_of,
                                          .context = record});
    fflush(stdout);
}

static void print_counts(const uint64_t *counts, const char *word)
{
    for (int i = 0; i < VIOLATION_KINDS; i++) {
        if (counts[i] > 0) {
            printf("%s: %" PRIu64 " x %s\n", word, counts[i], kinds[i].text);
        }
    }
}

void violations_print(const struct violations *violations)
{
    print_counts(violations->tolerated, "allowed by the policy");
    print_counts(violations->counts, "VIOLATIONS");
}

uint64_t violations_total(const struct violations *violations)
{
    uint64_t total = 0;
    for (int i = 0; i < VIOLATION_KINDS; i++) {
        total += violations->counts[i];
    }
    return total;
}
