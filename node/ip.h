/*
 * ip: an address of either family, in one form. IPv4 in IPv6 (::ffff:1.2.3.4) is IPv4.
 *
 * Thread    any.
 * Errors    false: it is no IP address.
 */
#ifndef PULSE_NODE_IP_H
#define PULSE_NODE_IP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct ip {
    bool v4;
    uint8_t bytes[16]; /* v4: the first four */
};

/* False also for the address of a unix socket. */
bool ip_of_sockaddr(const struct sockaddr *address, struct ip *ip);

/* "192.0.2.7", "2001:db8::1": without brackets, and names are not looked up. */
bool ip_of_text(const char *text, struct ip *ip);

/* Does it stay within this host? */
bool ip_is_loopback(const struct ip *ip);

#endif
