#include "node/ip.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

static void ip_of_v6(const void *bytes, struct ip *ip)
{
    *ip = (struct ip){0};
    if (memcmp(bytes, mapped_prefix, sizeof(mapped_prefix)) == 0) {
        ip->v4 = true;
        memcpy(ip->bytes, (const uint8_t *)bytes + sizeof(mapped_prefix), 4);
        return;
    }
    memcpy(ip->bytes, bytes, sizeof(ip->bytes));
}

bool ip_of_sockaddr(const struct sockaddr *address, struct ip *ip)
{
    if (address->sa_family == AF_INET) {
        *ip = (struct ip){.v4 = true};
        memcpy(ip->bytes, &((const struct sockaddr_in *)address)->sin_addr, 4);
        return true;
    }
    if (address->sa_family == AF_INET6) {
        ip_of_v6(&((const struct sockaddr_in6 *)address)->sin6_addr, ip);
        return true;
    }
    return false;
}

bool ip_of_text(const char *text, struct ip *ip)
{
    uint8_t bytes[16];
    if (inet_pton(AF_INET, text, bytes) == 1) {
        *ip = (struct ip){.v4 = true};
        memcpy(ip->bytes, bytes, 4);
        return true;
    }
    if (inet_pton(AF_INET6, text, bytes) == 1) {
        ip_of_v6(bytes, ip);
        return true;
    }
    return false;
}

bool ip_is_loopback(const struct ip *ip)
{
    static const uint8_t v6_loopback[16] = {[15] = 1};
    return ip->v4 ? ip->bytes[0] == IN_LOOPBACKNET
                  : memcmp(ip->bytes, v6_loopback, sizeof(v6_loopback)) == 0;
}
