#include "node/network_list.h"

#include <string.h>

#include "base/mem.h"

/* The longest text of a network that can be right, with some room. */
#define NETWORK_TEXT_MAX 64

struct network {
    struct ip ip;
    uint8_t bits;
};

struct network_list {
    uint32_t count;
    struct network networks[];
};

/* ---- the text -------------------------------------------------------------------------------- */

/* 0 to `max`, without zeros in front. */
static bool read_bits(const char *text, unsigned max, uint8_t *bits)
{
    unsigned value = 0;
    size_t len = strlen(text);
    if (len == 0 || len > 3 || (len > 1 && text[0] == '0') || strspn(text, "0123456789") != len) {
        return false;
    }
    for (; *text != '\0'; text++) {
        value = value * 10 + (unsigned)(*text - '0');
    }
    *bits = (uint8_t)value;
    return value <= max;
}

static bool has_bits_behind(const struct network *network)
{
    unsigned all = network->ip.v4 ? 32 : 128;
    for (unsigned bit = network->bits; bit < all; bit++) {
        if ((network->ip.bytes[bit / 8] & (0x80 >> bit % 8)) != 0) {
            return true;
        }
    }
    return false;
}

/* NULL: it is right; else what is wrong with it. */
static const char *read_network(char *text, struct network *network)
{
    char *slash = strchr(text, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    if (!ip_of_text(text, &network->ip)) {
        return "is not an IP address";
    }
    bool written_as_v6 = strchr(text, ':') != NULL;
    uint8_t bits = written_as_v6 ? 128 : 32;
    if (slash != NULL && !read_bits(slash + 1, bits, &bits)) {
        return "has no valid length of its prefix";
    }
    if (written_as_v6 && network->ip.v4) {
        if (bits < 96) {
            return "is IPv4 with a prefix shorter than 96 bits";
        }
        bits = (uint8_t)(bits - 96);
    }
    network->bits = bits;
    return has_bits_behind(network) ? "has bits set behind its prefix" : NULL;
}

static enum err fail(struct text *error, struct slice item, const char *why)
{
    text_add(error, "network \"");
    text_add_escaped(error, item);
    text_printf(error, "\" %s", why);
    return ERR_SYNTAX;
}

static enum err read_networks(struct slice rest, struct network_list *list, struct text *error)
{
    while (rest.data != NULL) {
        char copy[NETWORK_TEXT_MAX] = {0};
        struct slice item = slice_trim(slice_cut(&rest, ','), " ");
        if (item.len >= sizeof(copy)) {
            return fail(error, item, "is too long");
        }
        memcpy(copy, item.data, item.len);
        const char *why = read_network(copy, &list->networks[list->count]);
        if (why != NULL) {
            return fail(error, item, why);
        }
        list->count++;
    }
    return ERR_OK;
}

enum err network_list_parse(const char *text, struct network_list **out, struct text *error)
{
    struct slice all = text != NULL && text[0] != '\0' ? slice_text(text) : slice_of(NULL, 0);
    size_t most = 1;
    for (size_t i = 0; i < all.len; i++) {
        most += all.data[i] == ',';
    }
    struct network_list *list = mem_try_alloc(sizeof(*list) + most * sizeof(list->networks[0]));
    if (list == NULL) {
        return ERR_MEMORY;
    }
    list->count = 0;
    enum err err = read_networks(all, list, error);
    if (err != ERR_OK) {
        network_list_destroy(list);
        return err;
    }
    *out = list;
    return ERR_OK;
}

void network_list_destroy(struct network_list *list)
{
    mem_free(list);
}

/* ---- looking --------------------------------------------------------------------------------- */

static bool network_has(const struct network *network, const struct ip *ip)
{
    size_t whole = network->bits / 8;
    unsigned rest = network->bits % 8;
    if (network->ip.v4 != ip->v4 || memcmp(network->ip.bytes, ip->bytes, whole) != 0) {
        return false;
    }
    return rest == 0 || (network->ip.bytes[whole] ^ ip->bytes[whole]) >> (8 - rest) == 0;
}

bool network_list_has(const struct network_list *list, const struct ip *ip)
{
    for (uint32_t i = 0; i < list->count; i++) {
        if (network_has(&list->networks[i], ip)) {
            return true;
        }
    }
    return false;
}
