/*
 * Input: the target of a request, a line feed, the body of a publish; the target is also taken for
 * a header Host and for a header Authorization.
 *
 * Parts of an accepted target lie within it; no route is for OPTIONS; a pattern fits itself; a
 * cursor that is accepted is what printing it gives; a body that is accepted is a message that a
 * client could have published.
 */
#include <stdio.h>

#include "codec/topic.h"
#include "node/admin/glob_priv.h"
#include "node/admin/page_priv.h"
#include "node/admin/publish_priv.h"
#include "node/config.h"
#include "tests/fuzz/fuzz.h"

static const struct config config = {.limits_topic_bytes_max = 4096,
                                     .limits_topic_levels_max = 200};

/* Without the zeros in front, that printing leaves out. */
static void check_cursor(struct slice text)
{
    uint32_t cursor[CURSOR_NUMBERS];
    uint32_t again[CURSOR_NUMBERS];
    char printed[64];
    if (page__parse_cursor(text, cursor)) {
        snprintf(printed, sizeof(printed), "%u.%u.%u", cursor[0], cursor[1], cursor[2]);
        ASSERT(page__parse_cursor(slice_text(printed), again));
        ASSERT(memcmp(cursor, again, sizeof(cursor)) == 0);
    }
}

/* A pattern stands for itself, among others. */
static void check_pattern(struct slice pattern)
{
    if (pattern.len <= 256) {
        ASSERT(glob__matches(pattern, pattern));
    }
}

static void check_routes(const struct target *target, struct slice whole)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"};
    for (size_t i = 0; i < ARRAY_COUNT(methods); i++) {
        struct slice variable = slice_of(NULL, 0);
        struct text allow = {0};
        const struct route *route = admin__find_route(target, methods[i], &variable, &allow);
        ASSERT(route == NULL || fuzz_within(variable, whole));
        ASSERT(route == NULL || strcmp(methods[i], "OPTIONS") != 0);
        text_fini(&allow);
    }
}

static void check_target(struct slice input)
{
    struct target target;
    char *text = (char *)fuzz_copy(input);
    if (target__parse(text, input.len, &target) == ERR_OK) {
        struct slice whole = slice_of(text, input.len);
        for (size_t i = 0; i < target.segment_count; i++) {
            ASSERT(fuzz_within(target.segments[i], whole));
        }
        for (size_t i = 0; i < target.parameter_count; i++) {
            ASSERT(fuzz_within(target.parameters[i].name, whole));
            ASSERT(fuzz_within(target.parameters[i].value, whole));
            check_cursor(target.parameters[i].value);
            check_pattern(target.parameters[i].value);
        }
        check_routes(&target, whole);
    }
    free(text);
}

static void check_headers(struct slice input)
{
    struct access access = {.has_token = true};
    char *text = malloc(input.len + 1);
    ASSERT(text != NULL);
    memcpy(text, input.data, input.len);
    text[input.len] = '\0';
    (void)access__host_is_local(text);
    ASSERT(!access__token_is_good(&access, text)); /* no token has the digest 0 */
    free(text);
}

static void check_body(struct slice input)
{
    struct broker broker = {.config = &config};
    struct admin admin = {.broker = &broker};
    struct request request = {.admin = &admin, .body = fuzz_copy(input), .body_len = input.len};
    struct publication *own = publish__read(&request);
    if (own != NULL) {
        struct slice topic = slice_of(own->topic, own->topic_len);
        ASSERT(request.status == 0 && own->qos <= 2);
        ASSERT(topic_name_valid(topic) && utf8_valid(topic) && !slice_starts_with(topic, "$SYS/"));
        ASSERT(own->payload_len <= input.len);
        publish__destroy(&own->errand);
    } else {
        ASSERT(request.status == 400 && request.page.len > 0);
    }
    text_fini(&request.page);
    free(request.body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const uint8_t *newline = len > 0 ? memchr(data, '\n', len) : NULL;
    size_t target_len = newline != NULL ? (size_t)(newline - data) : len;
    struct slice target = slice_of(data, target_len);
    struct slice body = slice_of(data + target_len, len - target_len);
    check_target(target);
    check_headers(target);
    check_body(body);
    return 0;
}
