/*
 * body: the JSON body of a request.
 *
 * Thread    main.
 * Errors    the request fails with 400, and what is wrong.
 */
#ifndef PULSE_NODE_ADMIN_BODY_PRIV_H
#define PULSE_NODE_ADMIN_BODY_PRIV_H

#include <jansson.h>
#include <stdbool.h>

#include "base/slice.h"

struct request;

/* Gives the object, whose keys are among `keys` (NULL ends them), or NULL: the request has failed.
 * End with json_decref, which takes NULL. */
json_t *body__parse(struct request *request, const char *const *keys);

/* A member as text without NUL; NULL: it is not given, or no such text. Borrowed from `body`, which
 * may be NULL. */
const char *body__string(const json_t *body, const char *key);

#endif
