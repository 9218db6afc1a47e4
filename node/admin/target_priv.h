/*
 * target: what a request asks for: the segments of its path and its parameters, without their
 * percent escapes. Segments are told apart before escapes are taken off, so that a client id or a
 * topic may hold any byte, a slash too.
 *
 * Owns      nothing: slices borrow the text that was parsed.
 * Thread    any; no state.
 * Errors    ERR_SYNTAX: not a path, or a bad escape. ERR_FULL: more segments or parameters than any
 *           route has.
 * Source    RFC 3986 sections 2.1 and 3.3; parameters as forms write them, `+` for a blank.
 */
#ifndef PULSE_NODE_ADMIN_TARGET_PRIV_H
#define PULSE_NODE_ADMIN_TARGET_PRIV_H

#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"

#define TARGET_SEGMENTS_MAX 8
#define TARGET_PARAMETERS_MAX 12

struct target {
    struct slice segments[TARGET_SEGMENTS_MAX];
    size_t segment_count;
    struct {
        struct slice name;
        struct slice value;
    } parameters[TARGET_PARAMETERS_MAX];
    size_t parameter_count;
};

/* Takes `text` of `len` bytes apart, in place: `text` holds the parts afterwards. */
must_check enum err target__parse(char *text, size_t len, struct target *out);

/* The value of parameter `name`; false: not given. The first one counts. */
bool target__parameter(const struct target *target, const char *name, struct slice *value);

/*
 * Whether the path is that of `pattern`, such as "/api/v1/clients/{id}/trace". The segment in the
 * place of the braces, which must not be empty, becomes `*variable`.
 */
bool target__matches(const struct target *target, const char *pattern, struct slice *variable);

#endif
