/*
 * http_address: the socket that an endpoint listens on.
 *
 * Thread    main. May block: a name is looked up.
 */
#ifndef PULSE_NODE_HTTP_ADDRESS_PRIV_H
#define PULSE_NODE_HTTP_ADDRESS_PRIV_H

#include <stdint.h>

/* Gives a socket that listens on the first address of "host:port" that can be had. Else -1, and
 * `*why` is a constant text. */
int http__listen(const char *bind, const char **why);

/* The port that the socket `fd` is bound to; 0: none. */
uint16_t http__port_of(int fd);

#endif
