/*
 * page: a part of a list: as many rows as were asked for, and the cursor at which the next part
 * begins. A cursor is a few numbers with dots between; clients take it as it is.
 *
 * Owns      the text of its rows.
 * Thread    whoever has the errand that it is part of.
 */
#ifndef PULSE_NODE_ADMIN_PAGE_PRIV_H
#define PULSE_NODE_ADMIN_PAGE_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

struct request;

#define PAGE_LIMIT_MAX 1000
#define PAGE_LIMIT 100
/* A page ends early at this size: client ids and filters may be long. */
#define PAGE_BYTES_MAX (512 * 1024)
/* Entries that one request looks at; a page may then be short, and even empty, before the end. */
#define PAGE_ENTRIES_MAX 200000
/* And in one go, before the worker goes on with its clients: a row takes as long as this many that
 * are passed over. */
#define PAGE_VISIT_ENTRIES 2000
#define PAGE_ROW_ENTRIES 10

#define CURSOR_NUMBERS 3

struct page {
    struct text rows; /* JSON, with commas between */
    size_t count;
    size_t limit;
    size_t looked_at;
    bool ended;                      /* nothing follows */
    uint32_t cursor[CURSOR_NUMBERS]; /* where the next page begins, or this one goes on */
};

/* From the parameters limit and cursor. False: the request has failed. */
bool page__init(struct page *page, struct request *request);
void page__fini(struct page *page);

/* Begins the next row; the caller adds its text to page->rows. */
void page__row(struct page *page);

/* No more rows fit, or enough was looked at. */
bool page__is_full(const struct page *page);

/* The reply: {"<name>": [rows], "cursor": the next one or null}. */
void page__reply(struct page *page, struct request *request, const char *name);

/* A cursor as text; false: it is none, and nothing is written. */
bool page__parse_cursor(struct slice text, uint32_t cursor[CURSOR_NUMBERS]);

#endif
