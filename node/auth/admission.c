#include "node/auth/admission_priv.h"

#include <string.h>

#include "base/mem.h"

/* What a rule takes besides its texts, about. */
#define RULE_BYTES (sizeof(struct acl_rule) + 32)

static size_t rules_bytes(const struct acl_rules *rules)
{
    size_t bytes = 0;
    for (size_t i = 0; i < rules->count; i++) {
        const struct acl_rule *rule = &rules->items[i];
        bytes += RULE_BYTES + rule->username.len + rule->group.len + rule->filter.len;
    }
    return bytes;
}

static struct slice copy(uint8_t *to, struct slice from)
{
    if (from.len > 0) {
        memcpy(to, from.data, from.len);
    }
    return slice_of(to, from.len);
}

struct admission *admission_create(const struct admission *from, struct acl_rules *rules)
{
    size_t bytes = sizeof(struct admission) + from->username.len + from->groups.len;
    struct admission *made = mem_try_alloc(bytes);
    if (made == NULL) {
        return NULL;
    }
    uint8_t *texts = (uint8_t *)(made + 1);
    *made = (struct admission){.references = 1,
                               .provider = from->provider,
                               .username = copy(texts, from->username),
                               .groups = copy(texts + from->username.len, from->groups),
                               .expires_at_ms = from->expires_at_ms,
                               .fingerprint = from->fingerprint,
                               .bytes = bytes};
    if (rules != NULL) {
        made->rules = *rules;
        made->bytes += rules_bytes(rules);
        *rules = (struct acl_rules){0};
    }
    return made;
}

void admission_ref(struct admission *admission)
{
    atomic_fetch_add_explicit(&admission->references, 1, memory_order_relaxed);
}

void admission_unref(struct admission *admission)
{
    if (admission != NULL &&
        atomic_fetch_sub_explicit(&admission->references, 1, memory_order_acq_rel) == 1) {
        acl_rules_fini(&admission->rules);
        mem_free(admission);
    }
}
