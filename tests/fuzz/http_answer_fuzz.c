/*
 * Input: the body that an HTTP server answers with. What is accepted is within the limits, and its
 * rules can be used.
 */
#include "node/auth/http_answer.h"
#include "tests/fuzz/fuzz.h"

static void check_accepted(const struct http_answer *answer)
{
    ASSERT(answer->result == HTTP_ALLOW || answer->result == HTTP_DENY ||
           answer->result == HTTP_IGNORE);
    ASSERT(answer->expires || answer->expires_at_ms == 0);
    ASSERT(answer->cache_given || answer->cache_ms == 0);
    ASSERT(answer->grants.group_count <= GRANTS_GROUPS_MAX);
    ASSERT(answer->grants.rules.count <= GRANTS_RULES_MAX);
    struct acl *acl = acl_create(&answer->grants.rules, false);
    ASSERT(acl != NULL);
    acl_unref(acl);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct http_answer answer;
    const char *why = NULL;
    uint8_t *copy = fuzz_copy(slice_of(data, len));
    enum err err = http_answer_read(slice_of(copy, len), &answer, &why);
    ASSERT(err == ERR_OK || (err == ERR_SYNTAX && why != NULL));
    if (err == ERR_OK) {
        check_accepted(&answer);
        http_answer_fini(&answer);
    }
    free(copy);
    return 0;
}
