#include "tests/integration/auth_http.h"
#include "tests/integration/client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWERS_MAX = 16, QUESTION_SIZE = 16384, BACKLOG = 128 };

struct answer {
    const char *username;
    unsigned status;
    const char *body;
    int delay_ms;
};

/* `lock` guards answers, last and questions. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct answer answers[ANSWERS_MAX];
static unsigned answer_count;
static unsigned questions;
static char last[QUESTION_SIZE];
static char url[64];
static uint16_t own_port;
static int listener = -1;
static pthread_t listening;
static atomic_int answering; /* threads with a question */

/* ---- a question ------------------------------------------------------------------------------ */

/* True: header and body are there. */
static bool is_whole(const char *question)
{
    const char *body = strstr(question, "\r\n\r\n");
    const char *length = strcasestr(question, "\r\nContent-Length:");
    return body != NULL && length != NULL &&
           strlen(body + 4) >= strtoul(length + sizeof("\r\nContent-Length:") - 1, NULL, 10);
}

static bool read_question(int fd, char *question)
{
    size_t len = 0;
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    while (len < QUESTION_SIZE - 1 && poll(&readable, 1, WAIT_MS) == 1) {
        ssize_t got = recv(fd, question + len, QUESTION_SIZE - 1 - len, 0);
        if (got <= 0) {
            return false;
        }
        len += (size_t)got;
        question[len] = '\0';
        if (is_whole(question)) {
            return true;
        }
    }
    return false;
}

static struct answer find_answer(const char *question)
{
    struct answer found = {.status = 404, .body = "not asked for"};
    pthread_mutex_lock(&lock);
    questions++;
    snprintf(last, sizeof(last), "%s", question);
    for (unsigned i = 0; i < answer_count; i++) {
        char member[128];
        snprintf(member, sizeof(member), "\"username\":\"%s\"", answers[i].username);
        found = strstr(question, member) != NULL ? answers[i] : found;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static void *answer_one(void *argument)
{
    int fd = (int)(intptr_t)argument;
    char question[QUESTION_SIZE];
    char header[256];
    if (read_question(fd, question)) {
        struct answer answer = find_answer(question);
        poll(NULL, 0, answer.delay_ms);
        int len = snprintf(header, sizeof(header),
                           "HTTP/1.1 %u Said\r\nContent-Type: application/json\r\n"
                           "Connection: close\r\nContent-Length: %zu\r\n\r\n",
                           answer.status, strlen(answer.body));
        (void)send(fd, header, (size_t)len, MSG_NOSIGNAL);
        (void)send(fd, answer.body, strlen(answer.body), MSG_NOSIGNAL);
    }
    close(fd);
    atomic_fetch_sub(&answering, 1);
    return NULL;
}

/* ---- the server ------------------------------------------------------------------------------ */

static void *listen_on(void *argument)
{
    int fd = (int)(intptr_t)argument;
    for (;;) {
        int asking = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (asking < 0) {
            return NULL; /* shut down */
        }
        pthread_t thread;
        atomic_fetch_add(&answering, 1);
        if (pthread_create(&thread, NULL, answer_one, (void *)(intptr_t)asking) != 0) {
            abort();
        }
        pthread_detach(thread);
    }
}

void auth_http_start(uint16_t port)
{
    auth_http_stop();
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int on = 1;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(listener, (struct sockaddr *)&address, len) != 0 || listen(listener, BACKLOG) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &len) != 0 ||
        pthread_create(&listening, NULL, listen_on, (void *)(intptr_t)listener) != 0) {
        test_fail("no HTTP server on port %u", port);
    }
    own_port = ntohs(address.sin_port);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/who", own_port);
    answer_count = 0;
    questions = 0;
}

void auth_http_stop(void)
{
    if (listener < 0) {
        return;
    }
    shutdown(listener, SHUT_RDWR);
    pthread_join(listening, NULL);
    close(listener);
    listener = -1;
    while (atomic_load(&answering) > 0) {
        poll(NULL, 0, 5);
    }
}

const char *auth_http_url(void)
{
    return url;
}

uint16_t auth_http_port(void)
{
    return own_port;
}

void auth_http_answer(const char *username, unsigned status, const char *body, int delay_ms)
{
    pthread_mutex_lock(&lock);
    if (answer_count == ANSWERS_MAX) {
        abort();
    }
    answers[answer_count++] = (struct answer){username, status, body, delay_ms};
    pthread_mutex_unlock(&lock);
}

unsigned auth_http_questions(void)
{
    pthread_mutex_lock(&lock);
    unsigned count = questions;
    pthread_mutex_unlock(&lock);
    return count;
}

const char *auth_http_last_question(void)
{
    static char copy[QUESTION_SIZE];
    pthread_mutex_lock(&lock);
    memcpy(copy, last, sizeof(copy));
    pthread_mutex_unlock(&lock);
    return copy;
}
