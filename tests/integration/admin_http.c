#include "tests/integration/admin_http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/integration/suite.h"

static char answer[4 * 1024 * 1024];
static size_t answer_len;
static char body[4 * 1024 * 1024];
static const char *token = ADMIN_TOKEN;
static char token_file[64];
static uint16_t port;

/* ---- the broker's settings ------------------------------------------------------------------- */

void admin_write_token(const char *words)
{
    if (token_file[0] == '\0') {
        snprintf(token_file, sizeof(token_file), "/tmp/pulse-admin-%ld.token", (long)getpid());
    }
    FILE *file = fopen(token_file, "w");
    if (file == NULL || fputs(words, file) == EOF || fclose(file) != 0 ||
        chmod(token_file, 0600) != 0) {
        fprintf(stderr, "%s can't be written\n", token_file);
        exit(1);
    }
}

void admin_end(void)
{
    if (token_file[0] != '\0') {
        unlink(token_file);
    }
}

static const char *const *settings_of(const char *first, const char *second)
{
    static char bind[64];
    static const char *settings[5];
    port = broker_free_port();
    snprintf(bind, sizeof(bind), "admin.bind: 127.0.0.1:%u", port);
    settings[0] = "admin.enabled: true";
    settings[1] = bind;
    settings[2] = first;
    settings[3] = first != NULL ? second : NULL;
    settings[4] = NULL;
    return settings;
}

const char *const *admin_settings(const char *more)
{
    static char line[96];
    admin_write_token(ADMIN_TOKEN "\n");
    snprintf(line, sizeof(line), "admin.token_file: %s", token_file);
    return settings_of(line, more);
}

const char *const *admin_settings_open(void)
{
    return settings_of(NULL, NULL);
}

uint16_t admin_port_of(void)
{
    return port;
}

void admin_use_token(const char *words)
{
    token = words;
}

/* ---- asking ---------------------------------------------------------------------------------- */

int admin_connect(void)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        fail_msg("cannot connect to the admin API");
    }
    answer_len = 0;
    answer[0] = '\0';
    return fd;
}

void admin_say(int fd, const char *bytes)
{
    assert_int_equal(send(fd, bytes, strlen(bytes), MSG_NOSIGNAL), strlen(bytes));
}

bool admin_read(int fd, const char *text, int timeout_ms)
{
    long deadline = clock_ms() + timeout_ms;
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    ssize_t got = 1;
    while (got > 0 && answer_len < sizeof(answer) - 1 && clock_ms() < deadline &&
           (text == NULL || strstr(answer, text) == NULL)) {
        if (poll(&readable, 1, 20) == 1) {
            got = recv(fd, answer + answer_len, sizeof(answer) - 1 - answer_len, 0);
            answer_len += got > 0 ? (size_t)got : 0;
            answer[answer_len] = '\0';
        }
    }
    return text == NULL ? got <= 0 : strstr(answer, text) != NULL;
}

/* Bodies here have no zero bytes; chunks are put together. */
static void take_body(void)
{
    const char *at = strstr(answer, "\r\n\r\n");
    body[0] = '\0';
    if (at == NULL) {
        return;
    }
    at += 4;
    if (strstr(answer, "Transfer-Encoding: chunked") == NULL) {
        strcpy(body, at);
        return;
    }
    size_t len = 0;
    for (unsigned long part = strtoul(at, NULL, 16); part > 0; part = strtoul(at, NULL, 16)) {
        at = strstr(at, "\r\n");
        assert_non_null(at);
        at += 2;
        assert_true(strlen(at) >= part);
        memcpy(body + len, at, part);
        len += part;
        at += part + 2;
    }
    body[len] = '\0';
}

int admin_ask_raw(const char *method, const char *target, const char *headers, const void *bytes,
                  unsigned long len)
{
    static char head[128 * 1024];
    int status = 0;
    int fd = admin_connect();
    snprintf(head, sizeof(head), "%s %s HTTP/1.1\r\n%s\r\n", method, target, headers);
    size_t head_len = strlen(head);
    if (send(fd, head, head_len, MSG_NOSIGNAL) == (ssize_t)head_len && len > 0) {
        (void)!send(fd, bytes, len, MSG_NOSIGNAL); /* the broker may have closed already */
    }
    (void)admin_read(fd, NULL, WAIT_MS);
    close(fd);
    sscanf(answer, "HTTP/1.1 %d", &status);
    take_body();
    return status;
}

static void add_headers(char out[1024], const char *json)
{
    int len = snprintf(out, 1024, "Host: localhost:%u\r\n", port);
    if (token != NULL) {
        len += snprintf(out + len, 1024 - (size_t)len, "Authorization: Bearer %s\r\n", token);
    }
    if (json != NULL) {
        snprintf(out + len, 1024 - (size_t)len,
                 "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(json));
    }
}

int admin_ask(const char *method, const char *target)
{
    char headers[1024];
    add_headers(headers, NULL);
    return admin_ask_raw(method, target, headers, NULL, 0);
}

int admin_send(const char *method, const char *target, const char *json)
{
    char headers[1024];
    add_headers(headers, json);
    return admin_ask_raw(method, target, headers, json, strlen(json));
}

/* ---- the answer ------------------------------------------------------------------------------ */

const char *admin_answer(void)
{
    return answer;
}

const char *admin_body(void)
{
    return body;
}

bool admin_says(const char *text)
{
    return strstr(body, text) != NULL;
}

void admin_expect_at(const char *text, const char *file, int line)
{
    if (!admin_says(text)) {
        fail_at((struct here){file, line}, "no %s in: %.2000s", text, answer);
    }
}

bool admin_cursor(char *out, unsigned long size)
{
    static const char key[] = "\"cursor\":\"";
    const char *at = strstr(body, key);
    if (at == NULL) {
        return false;
    }
    at += sizeof(key) - 1;
    snprintf(out, size, "%.*s", (int)strcspn(at, "\""), at);
    return true;
}

unsigned admin_count(const char *text)
{
    unsigned count = 0;
    for (const char *at = strstr(body, text); at != NULL; at = strstr(at + 1, text)) {
        count++;
    }
    return count;
}
