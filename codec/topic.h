/*
 * topic: topic names and topic filters.
 *
 * Thread    any; no state.
 * Source    MQTT 5.0 section 4.7 and 4.8.2.
 */
#ifndef PULSE_CODEC_TOPIC_H
#define PULSE_CODEC_TOPIC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

/* UTF-8 as MQTT wants it: well-formed, no U+0000, no surrogates [MQTT-1.5.4-1, -2]. */
bool utf8_valid(struct slice s);

/* Well-formed UTF-8, U+0000 allowed: a payload with format indicator 1. */
bool utf8_well_formed(struct slice s);

/* Not empty, no wildcards. The caller has checked UTF-8 and the length fits MQTT by construction.
 */
bool topic_name_valid(struct slice name);

/* Number of levels: slashes + 1. Works for names and filters. */
size_t topic_levels(struct slice topic);

/* The next level of a topic or filter: takes it and its slash from the front of `*rest`. Before the
 * first call `*rest` is the whole; `*done` starts false and becomes true with the last level. */
struct slice topic_next_level(struct slice *rest, bool *done);

struct topic_filter {
    struct slice share;  /* the group's name; empty for an ordinary filter */
    struct slice filter; /* without $share/group/ */
    bool has_wildcards;
};

/* Parses and validates. False: not a filter (empty, wildcards misplaced, $share without group or
 * filter, group with wildcards). The slices borrow `text`. */
bool topic_filter_parse(struct slice text, struct topic_filter *out);

/* Whether `filter` (valid, without share) matches `name`, the $ rule included [MQTT-4.7.2-1]. */
bool topic_matches(struct slice filter, struct slice name);

#endif
