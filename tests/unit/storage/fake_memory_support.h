/*
 * fake_memory_support: what a store holds, as plainly as possible: a list of operations for each
 * kind of thing. It checks what every engine may rely on.
 */
#ifndef PULSE_TESTS_FAKE_MEMORY_SUPPORT_H
#define PULSE_TESTS_FAKE_MEMORY_SUPPORT_H

#include "base/text.h"
#include "storage/operation.h"

/* A kept operation, with its own copy of all bytes, in a list. */
struct kept {
    struct kept *next;
    struct operation operation;
    uint8_t *bytes;
};

/* Zeroed: empty and ready. */
struct fake_memory {
    struct kept *kept[OPERATION_TYPES]; /* of SESSION_PUT, WILL_PUT and so on */
    char complaint[200];                /* the first thing that was wrong */
};

void fake_memory_fini(struct fake_memory *memory);

void fake_memory_apply(struct fake_memory *memory, const struct operation *operation);

/* After each batch: the messages that are kept are exactly those that something names. */
void fake_memory_check(struct fake_memory *memory);

void fake_memory_complain(struct fake_memory *memory, const char *words,
                          const struct operation *operation);

/* Adds a line for each thing that is kept, sorted, to the empty `text`. */
void fake_memory_show(const struct fake_memory *memory, struct text *text);

/* The same without messages: what refers to one shows its payload in front. */
void fake_memory_show_payloads(const struct fake_memory *memory, struct text *text);

unsigned fake_memory_count(const struct fake_memory *memory, enum operation_type type);

#endif
