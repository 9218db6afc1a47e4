/*
 * network_list: IP networks from one line of text such as "127.0.0.0/8,::1/128", and whether an
 * address is in one of them. IPv4 in IPv6 counts as IPv4 in networks, too.
 *
 * Thread    any: a list never changes.
 * Errors    ERR_SYNTAX with one line for people, ERR_MEMORY.
 */
#ifndef PULSE_NODE_NETWORK_LIST_H
#define PULSE_NODE_NETWORK_LIST_H

#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/text.h"
#include "node/ip.h"

struct network_list;

/*
 * Networks are separated by commas; one without a length is a single address. Empty text and NULL
 * are an empty list. `*out` is given on ERR_OK only; end it with network_list_destroy.
 */
must_check enum err network_list_parse(const char *text, struct network_list **out,
                                       struct text *error);
void network_list_destroy(struct network_list *list);

bool network_list_has(const struct network_list *list, const struct ip *ip);

#endif
