/*
 * list: an intrusive, circular, doubly linked list. The head is a node of its own; a node that is
 * in no list points at itself.
 */
#ifndef PULSE_BASE_LIST_H
#define PULSE_BASE_LIST_H

#include <stdbool.h>

#include "base/macros.h"

struct list {
    struct list *next;
    struct list *prev;
};

static inline void list_init(struct list *node)
{
    node->next = node;
    node->prev = node;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

/* Puts `node`, which is in no list, at the end of `head`. */
static inline void list_append(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

/* Takes `node` out of its list; harmless when it is in none. */
static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

#define list_entry(node, type, member) container_of(node, type, member)

/* Walks `head`; `item` (a struct list *) may be removed while it is visited. */
#define list_foreach(item, head)                                                      \
    for (struct list *item = (head)->next, *item##_next = item->next; item != (head); \
         item = item##_next, item##_next = item->next)

#endif
