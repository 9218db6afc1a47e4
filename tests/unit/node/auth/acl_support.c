#include "tests/unit/node/auth/acl_support.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct acl_rules acl_rules_of(const char *text)
{
    struct acl_rules rules = {.count = 0};
    struct text error = {.len = 0};
    if (acl_rules_read(&rules, slice_text(text), "test", &error) != ERR_OK) {
        fail_msg("%s", error.data);
    }
    return rules;
}

struct acl *acl_of(const char *text, bool default_allow)
{
    struct acl_rules rules = acl_rules_of(text);
    struct acl *acl = acl_create(&rules, default_allow);
    assert_non_null(acl);
    acl_rules_fini(&rules);
    return acl;
}

struct acl_view *acl_view_of(const char *text, const struct acl_subject *subject)
{
    struct acl *acl = acl_of(text, false);
    struct acl_view *view = acl_view_create(acl, subject, NULL);
    assert_non_null(view);
    acl_unref(acl); /* the view has its own reference */
    return view;
}

bool acl_publishes(const struct acl_view *view, const char *topic)
{
    return acl_may_publish(view, slice_text(topic));
}

bool acl_subscribes(const struct acl_view *view, const char *filter)
{
    return acl_may_subscribe(view, slice_text(filter));
}
