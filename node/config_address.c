#include "node/config.h"

#include <ctype.h>
#include <string.h>
#include <uv.h>

/* Letters, digits, dots, hyphens; what consists of digits and dots must be an IPv4 address. */
static bool host_is_valid(const char *host)
{
    struct sockaddr_in ignored;
    if (host[0] == '\0' || host[0] == '.' || host[0] == '-') {
        return false;
    }
    for (const char *at = host; *at != '\0'; at++) {
        if (!isalnum((unsigned char)*at) && strchr(".-_", *at) == NULL) {
            return false;
        }
    }
    bool digits_only = strspn(host, "0123456789.") == strlen(host);
    return !digits_only || uv_ip4_addr(host, 0, &ignored) == 0;
}

static bool port_parse(const char *words, uint16_t *port)
{
    unsigned sum = 0;
    size_t len = strspn(words, "0123456789");
    if (len == 0 || len > 5 || words[len] != '\0' || words[0] == '0') {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        sum = sum * 10 + (unsigned)(words[i] - '0');
    }
    *port = (uint16_t)sum;
    return sum <= UINT16_MAX;
}

enum err config_split_address(const char *address, char host[static CONFIG_HOST_SIZE],
                              uint16_t *port)
{
    char name[CONFIG_HOST_SIZE];
    uint16_t number = 0;
    struct sockaddr_in6 ignored;
    const char *colon = strrchr(address, ':');
    bool brackets = address[0] == '[' && colon != NULL && colon > address && colon[-1] == ']';
    const char *start = brackets ? address + 1 : address;
    size_t len = colon == NULL ? 0 : (size_t)(colon - start) - (brackets ? 1 : 0);

    if (colon == NULL || len >= sizeof(name) || !port_parse(colon + 1, &number)) {
        return ERR_SYNTAX;
    }
    memcpy(name, start, len);
    name[len] = '\0';
    if (brackets ? uv_ip6_addr(name, 0, &ignored) != 0 : !host_is_valid(name)) {
        return ERR_SYNTAX;
    }
    memcpy(host, name, len + 1);
    *port = number;
    return ERR_OK;
}
