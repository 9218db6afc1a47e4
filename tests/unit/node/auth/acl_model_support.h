/*
 * acl_model: access rules by brute force. What a rule covers and overlaps is found out by trying
 * every topic of a small world, so it says by itself what the searches of acl_match.c must find.
 *
 * Owns      the world: topics of one to four levels out of a few texts, filters of one to three.
 * Thread    one.
 */
#ifndef PULSE_TESTS_ACL_MODEL_SUPPORT_H
#define PULSE_TESTS_ACL_MODEL_SUPPORT_H

#include "node/auth/acl.h"

struct model;

struct model *model_create(void);
void model_destroy(struct model *model);

size_t model_topic_count(const struct model *model);
struct slice model_topic(const struct model *model, size_t index);
size_t model_filter_count(const struct model *model);
struct slice model_filter(const struct model *model, size_t index);

/* Rules, in their order, as this one client meets them. */
void model_set_rules(struct model *model, const struct acl_subject *subject,
                     const struct acl_rules *rules, bool default_allow);
bool model_may(const struct model *model, enum acl_action action, size_t topic);
bool model_may_subscribe(const struct model *model, size_t filter);

/* A number below `limit`, of a sequence that `*seed` stands for. */
unsigned model_random(uint64_t *seed, unsigned limit);

#endif
