/*
 * acl_support: short ways to make rules and ask views, for tests. They fail the test when something
 * can't be made.
 */
#ifndef PULSE_TESTS_ACL_SUPPORT_H
#define PULSE_TESTS_ACL_SUPPORT_H

#include "node/auth/acl.h"

/* Of a text in our own format. End with acl_rules_fini, acl_unref, acl_view_unref. */
struct acl_rules acl_rules_of(const char *text);
struct acl *acl_of(const char *text, bool default_allow);
struct acl_view *acl_view_of(const char *text, const struct acl_subject *subject);

bool acl_publishes(const struct acl_view *view, const char *topic);
bool acl_subscribes(const struct acl_view *view, const char *filter);

#endif
