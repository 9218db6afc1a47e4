#include "storage/mysql_url.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/slice.h"

#define URL_BYTES_MAX 4096u

/* ---- pieces ---------------------------------------------------------------------------------- */

/* Splits `rest` at the first of `stops`: gives what is before it; `*stop` is the character, or 0 at
 * the end; `*rest` is what is behind it. */
static struct slice take_until(struct slice *rest, const char *stops, char *stop)
{
    size_t len = 0;
    while (len < rest->len && strchr(stops, rest->data[len]) == NULL) {
        len++;
    }
    struct slice taken = slice_of(rest->data, len);
    *stop = len < rest->len ? (char)rest->data[len] : '\0';
    *rest = slice_from(*rest, len < rest->len ? len + 1 : len);
    return taken;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Gives `s` with %XX replaced; NULL when one is broken or names NUL. */
static char *decode(struct slice s)
{
    char *text = mem_copy_text(s.data, s.len);
    size_t len = 0;
    for (size_t i = 0; i < s.len; i++, len++) {
        uint8_t c = s.data[i];
        if (c == '%') {
            int high = i + 1 < s.len ? hex_digit(s.data[i + 1]) : -1;
            int low = i + 2 < s.len ? hex_digit(s.data[i + 2]) : -1;
            if (high < 0 || low < 0 || (high == 0 && low == 0)) {
                explicit_bzero(text, s.len);
                mem_free(text);
                return NULL;
            }
            c = (uint8_t)(high * 16 + low);
            i += 2;
        }
        text[len] = (char)c;
    }
    text[len] = '\0';
    return text;
}

static bool parse_port(struct slice s, uint16_t *port)
{
    uint32_t number = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9' || i >= 5) {
            return false;
        }
        number = number * 10 + (uint32_t)(s.data[i] - '0');
    }
    if (number == 0 || number > UINT16_MAX) {
        return false;
    }
    *port = (uint16_t)number;
    return true;
}

/* ---- parts ----------------------------------------------------------------------------------- */

static const char *parse_account(struct slice account, struct mysql_url *url)
{
    char stop = '\0';
    url->user = decode(take_until(&account, ":", &stop));
    if (url->user == NULL) {
        return "a broken percent-encoding in the user";
    }
    if (url->user[0] == '\0') {
        return "no user";
    }
    if (stop == ':') {
        url->password = decode(account);
        if (url->password == NULL) {
            return "a broken percent-encoding in the password";
        }
    }
    return NULL;
}

static const char *parse_host(struct slice place, struct mysql_url *url)
{
    char stop = '\0';
    struct slice host;
    if (place.len > 0 && place.data[0] == '[') {
        place = slice_from(place, 1);
        host = take_until(&place, "]", &stop);
        if (stop != ']' || (place.len > 0 && place.data[0] != ':')) {
            return "a broken address in brackets";
        }
        stop = place.len > 0 ? ':' : '\0';
        place = slice_from(place, place.len > 0 ? 1 : 0);
    } else {
        host = take_until(&place, ":", &stop);
    }
    url->port = MYSQL_URL_PORT;
    if (stop == ':' && !parse_port(place, &url->port)) {
        return "a port that is not between 1 and 65535";
    }
    if (memchr(host.data, '@', host.len) != NULL) {
        return "an @ in the user or password: write it as %40";
    }
    url->host = decode(host);
    if (url->host == NULL) {
        return "a broken percent-encoding in the host";
    }
    return url->host[0] != '\0' ? NULL : "no host";
}

static const char *parse_query(struct slice query, struct mysql_url *url)
{
    while (query.len > 0) {
        char stop = '\0';
        struct slice value = take_until(&query, "&", &stop);
        struct slice name = take_until(&value, "=", &stop);
        if (!slice_equal(name, slice_text("socket")) || url->socket != NULL) {
            return "something other than one `socket` behind the question mark";
        }
        url->socket = decode(value);
        if (url->socket == NULL || url->socket[0] != '/') {
            return "a socket that is not an absolute path";
        }
    }
    return NULL;
}

static const char *parse(struct slice rest, struct mysql_url *url)
{
    if (slice_starts_with(rest, "mysql://")) {
        rest = slice_from(rest, strlen("mysql://"));
    } else if (slice_starts_with(rest, "mariadb://")) {
        rest = slice_from(rest, strlen("mariadb://"));
    } else {
        return "it doesn't begin with mysql://";
    }
    char stop = '\0';
    const char *why = parse_account(take_until(&rest, "@", &stop), url);
    if (stop != '@') {
        return "no @ between the account and the host";
    }
    if (why == NULL) {
        why = parse_host(take_until(&rest, "/?#", &stop), url);
    }
    if (why != NULL) {
        return why;
    }
    if (stop != '/') {
        return "no database behind the host";
    }
    url->database = decode(take_until(&rest, "/?#", &stop));
    if (url->database == NULL || url->database[0] == '\0') {
        return "no database behind the host";
    }
    if (stop == '/' || stop == '#') {
        return "something behind the database";
    }
    return parse_query(rest, url);
}

/* ---- the whole ------------------------------------------------------------------------------- */

enum err mysql_url_parse(const char *text, struct mysql_url *url, const char **why)
{
    struct mysql_url parsed = {.port = 0};
    size_t len = strlen(text);
    *why = len <= URL_BYTES_MAX ? parse(slice_of(text, len), &parsed) : "it is too long";
    if (*why != NULL) {
        mysql_url_fini(&parsed);
        return ERR_SYNTAX;
    }
    *url = parsed;
    return ERR_OK;
}

void mysql_url_fini(struct mysql_url *url)
{
    if (url->password != NULL) {
        explicit_bzero(url->password, strlen(url->password));
    }
    mem_free(url->password);
    mem_free(url->user);
    mem_free(url->host);
    mem_free(url->database);
    mem_free(url->socket);
    *url = (struct mysql_url){.port = 0};
}

void mysql_url_describe(const struct mysql_url *url, char *buffer, size_t size)
{
    if (url->socket != NULL) {
        (void)snprintf(buffer, size, "%s@%s/%s", url->user, url->socket, url->database);
        return; /* cut is good enough for people */
    }
    bool brackets = strchr(url->host, ':') != NULL;
    (void)snprintf(buffer, size, "%s@%s%s%s:%u/%s", url->user, brackets ? "[" : "", url->host,
                   brackets ? "]" : "", url->port, url->database);
}
