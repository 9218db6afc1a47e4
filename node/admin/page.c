#include "node/admin/page_priv.h"

#include <inttypes.h>

#include "node/admin/admin_priv.h"

bool page__parse_cursor(struct slice text, uint32_t cursor[CURSOR_NUMBERS])
{
    uint32_t numbers[CURSOR_NUMBERS] = {0};
    size_t index = 0;
    bool digit = false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.data[i];
        if (byte == '.' && digit && index + 1 < CURSOR_NUMBERS) {
            index++;
            digit = false;
        } else if (byte >= '0' && byte <= '9' && numbers[index] <= (UINT32_MAX - 9) / 10) {
            numbers[index] = numbers[index] * 10 + (uint32_t)(byte - '0');
            digit = true;
        } else {
            return false;
        }
    }
    bool whole = digit && index + 1 == CURSOR_NUMBERS;
    if (whole) {
        memcpy(cursor, numbers, sizeof(numbers));
    }
    return whole;
}

bool page__init(struct page *page, struct request *request)
{
    uint64_t limit = PAGE_LIMIT;
    struct slice cursor;
    *page = (struct page){.limit = 0};
    if (!request__number(request, "limit", 1, PAGE_LIMIT_MAX, PAGE_LIMIT, &limit)) {
        return false;
    }
    page->limit = limit;
    if (target__parameter(&request->target, "cursor", &cursor) &&
        !page__parse_cursor(cursor, page->cursor)) {
        request__fail(request, MHD_HTTP_BAD_REQUEST, "bad_parameter",
                      "cursor must be what an earlier page gave");
        return false;
    }
    return true;
}

void page__fini(struct page *page)
{
    text_fini(&page->rows);
}

void page__row(struct page *page)
{
    if (page->count++ > 0) {
        text_add(&page->rows, ",\n");
    }
}

bool page__is_full(const struct page *page)
{
    return page->count >= page->limit || page->rows.len >= PAGE_BYTES_MAX ||
           page->looked_at >= PAGE_ENTRIES_MAX;
}

void page__reply(struct page *page, struct request *request, const char *name)
{
    struct text *out = request__page(request);
    text_printf(out, "{\"%s\":[", name);
    text_add_bytes(out, page->rows.data, page->rows.len);
    if (page->ended) {
        text_add(out, "],\"cursor\":null}\n");
    } else {
        text_printf(out, "],\"cursor\":\"%" PRIu32 ".%" PRIu32 ".%" PRIu32 "\"}\n", page->cursor[0],
                    page->cursor[1], page->cursor[2]);
    }
}
