#include "tests/bench/link.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    READ_BYTES = 256 * 1024,
    RETRY_NS = 50 * 1000 * 1000,
    OPENING_MAX = 64,                  /* below every broker's listen backlog */
    OUT_BYTES_MAX = 256 * 1024 * 1024, /* only a broker that stops reading gets us here */
};

/*
 * Invariants:
 *   state is LINK_CLOSED exactly when fd is -1 (or the link is still zeroed);
 *   a link on the dirty list has is_dirty set, and may be closed by the time it is flushed;
 *   tail holds the beginning of one packet, never a whole one.
 */

static void set_option(int fd, int level, int name, int value)
{
    /* Failure only makes a figure worse, and a closed descriptor fails loudly elsewhere. */
    (void)setsockopt(fd, level, name, &value, sizeof(value));
}

static bool connect_socket(struct link *link, const struct link_setup *setup)
{
    struct loop *loop = link->loop;
    int fd = socket(loop->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        loop_fail(loop, "socket: %s", strerror(errno));
        return false;
    }
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (setup->receive_bytes > 0) {
        set_option(fd, SOL_SOCKET, SO_RCVBUF, setup->receive_bytes);
    }
    const struct sockaddr *address = (const struct sockaddr *)&loop->address;
    if (connect(fd, address, loop->address_len) != 0 && errno != EINPROGRESS) {
        loop_fail(loop, "connect: %s", strerror(errno));
        close(fd);
        return false;
    }
    link->fd = fd;
    return true;
}

static void queue_connect(struct link *link, const struct link_setup *setup)
{
    uint8_t packet[WIRE_SETUP_BYTES_MAX];
    struct wire_login login = {
        .client_id = setup->client_id,
        .username = setup->username,
        .password = setup->password,
        .keep_alive_s = setup->keep_alive_s,
        .version = setup->version,
        .keep_session = setup->keep_session,
    };
    size_t len = wire_put_connect(packet, &login);
    memcpy(link_reserve(link, len), packet, len);
}

bool link_open(struct link *link, struct loop *loop, const struct link_setup *setup)
{
    /* Buffers of an earlier use stay; everything else starts anew. */
    *link = (struct link){
        .loop = loop,
        .handler = setup->handler,
        .owner = setup->owner,
        .out = link->out,
        .out_bytes = link->out_bytes,
        .tail = link->tail,
        .tail_bytes = link->tail_bytes,
        .packet_max = setup->packet_max,
        .filter = setup->filter,
        .filter_qos = setup->filter_qos,
        .version = setup->version,
        .is_patient = setup->is_patient,
        .receive_maximum = UINT16_MAX,
        .fd = -1,
        .is_dirty = link->is_dirty,
        .dirty_next = link->dirty_next,
    };
    if (link->out == NULL) {
        link->out = malloc(setup->out_bytes);
        link->out_bytes = setup->out_bytes;
    }
    if (link->out == NULL) {
        loop_fail(loop, "out of memory");
        return false;
    }
    if (!connect_socket(link, setup)) {
        return false;
    }
    if (loop->transport != NULL) {
        link->transport = transport_create(loop->transport, link->fd);
        if (link->transport == NULL) {
            loop_fail(loop, "out of memory");
            close(link->fd);
            link->fd = -1;
            return false;
        }
        link->is_opening = true;
    }
    link->state = LINK_CONNECTING;
    link->is_blocked = true; /* until connected: CONNECT leaves with the first EPOLLOUT */
    queue_connect(link, setup);
    return loop_watch(loop, link, true);
}

void link_close(struct link *link, bool abort)
{
    if (link->state == LINK_CLOSED) {
        return;
    }
    if (abort) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(link->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    }
    transport_destroy(link->transport);
    link->transport = NULL;
    close(link->fd); /* leaves epoll by itself: nothing else holds the socket */
    link->fd = -1;
    link->state = LINK_CLOSED;
    link->out_start = link->out_end = 0;
    link->tail_len = 0;
}

void link_fini(struct link *link)
{
    link_close(link, false);
    free(link->out);
    free(link->tail);
    link->out = link->tail = NULL;
}

/* Moves what waits to the front of the buffer, and makes the buffer larger if that is not enough.
 */
static void make_room(struct link *link, size_t len)
{
    size_t waiting = link->out_end - link->out_start;
    memmove(link->out, link->out + link->out_start, waiting);
    link->out_start = 0;
    link->out_end = waiting;
    if (waiting + len <= link->out_bytes) {
        return;
    }
    size_t bytes = 2 * (waiting + len);
    uint8_t *larger = bytes <= OUT_BYTES_MAX ? realloc(link->out, bytes) : NULL;
    if (larger == NULL) {
        abort(); /* a generator that cannot keep its own answers has nothing left to measure */
    }
    link->out = larger;
    link->out_bytes = bytes;
}

uint8_t *link_reserve(struct link *link, size_t len)
{
    if (link->out_end + len > link->out_bytes) {
        make_room(link, len);
    }
    uint8_t *to = link->out + link->out_end;
    link->out_end += len;
    if (!link->is_dirty) {
        loop_add_dirty(link->loop, link);
    }
    return to;
}

static void on_lost(struct link *link, const char *what)
{
    enum link_state was = link->state;
    bool was_leaving = link->is_leaving;
    bool is_handled = was_leaving || link->handler->closed != NULL;
    if (!is_handled) {
        loop_fail(link->loop, "connection lost: %s", what); /* while `what` is there */
    }
    link_close(link, true);
    if (!was_leaving && is_handled) {
        link->handler->closed(link, was);
    }
}

/* In words, after a call that set errno. */
static const char *what_happened(const struct link *link)
{
    bool is_transports = link->transport != NULL && transport_error(link->transport)[0] != 0;
    return is_transports ? transport_error(link->transport) : strerror(errno);
}

static bool has_unsent(const struct link *link)
{
    return link_has_output(link) ||
           (link->transport != NULL && transport_has_output(link->transport));
}

static ssize_t send_some(struct link *link, const uint8_t *bytes, size_t len)
{
    return link->transport != NULL ? transport_send(link->transport, bytes, len)
                                   : send(link->fd, bytes, len, MSG_NOSIGNAL);
}

void link_flush(struct link *link)
{
    if (link->is_blocked || link->is_opening || link->state == LINK_CLOSED || !has_unsent(link)) {
        return;
    }
    size_t waiting = link->out_end - link->out_start;
    ssize_t written = send_some(link, link->out + link->out_start, waiting);
    if (written < 0) {
        if (errno != EAGAIN) {
            on_lost(link, what_happened(link));
            return;
        }
        written = 0;
    }
    link->out_start += (size_t)written;
    if (!link_has_output(link)) {
        link->out_start = link->out_end = 0;
    }
    if (has_unsent(link)) {
        link->is_blocked = true;
        loop_watch(link->loop, link, false);
    }
}

void link_send_now(struct link *link, const uint8_t *head, size_t head_len, const uint8_t *body,
                   size_t body_len)
{
    struct iovec parts[2] = {
        {.iov_base = (void *)(uintptr_t)head, .iov_len = head_len},
        {.iov_base = (void *)(uintptr_t)body, .iov_len = body_len},
    };
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t written = 0;
    if (!link_has_output(link) && link->transport == NULL) {
        written = sendmsg(link->fd, &message, MSG_NOSIGNAL);
        written = written < 0 ? 0 : written; /* link_flush() meets the same error, and says it */
    }
    size_t sent = (size_t)written;
    if (sent < head_len) {
        memcpy(link_reserve(link, head_len - sent), head + sent, head_len - sent);
        sent = head_len;
    }
    size_t left = head_len + body_len - sent;
    if (left > 0) {
        memcpy(link_reserve(link, left), body + body_len - left, left);
    }
}

void link_subscribe(struct link *link, const char *filter, uint8_t qos)
{
    uint8_t packet[WIRE_SETUP_BYTES_MAX];
    size_t len = wire_put_subscribe(packet, link->version, filter, qos);
    memcpy(link_reserve(link, len), packet, len);
}

static void become_ready(struct link *link)
{
    link->state = LINK_READY;
    if (link->handler->ready != NULL) {
        link->handler->ready(link);
    }
}

static void on_connack(struct link *link, const struct wire_packet *packet)
{
    struct wire_connack connack;
    if (!wire_read_connack(packet, link->version, &connack)) {
        loop_fail(link->loop, "malformed CONNACK");
        return;
    }
    if (link->is_patient && wire_is_busy(connack.reason)) {
        link_close(link, true);
        link->is_refused = true;
        link->retry_ns = link->loop->now_ns + RETRY_NS;
        link->loop->refused++;
        return;
    }
    if (connack.reason != 0) {
        loop_fail(link->loop, "connection refused by the broker: code 0x%02x", connack.reason);
        return;
    }
    link->receive_maximum = connack.receive_maximum;
    link->session_present = connack.session_present;
    if (link->filter != NULL) {
        link->state = LINK_SUBSCRIBING;
        link_subscribe(link, link->filter, link->filter_qos);
    } else {
        become_ready(link);
    }
}

static void on_suback(struct link *link, const struct wire_packet *packet)
{
    uint8_t reason = 0;
    if (!wire_read_suback(packet, link->version, &reason)) {
        loop_fail(link->loop, "malformed SUBACK");
    } else if (reason >= WIRE_REASON_FAILED) {
        loop_fail(link->loop, "subscription refused by the broker: code 0x%02x", reason);
    } else if (link->state == LINK_SUBSCRIBING) {
        become_ready(link);
    }
}

static void on_ack(struct link *link, const struct wire_packet *packet)
{
    enum wire_type type = (enum wire_type)packet->type;
    uint16_t id = 0;
    uint8_t reason = 0;
    if (!wire_read_ack(packet, &id, &reason)) {
        loop_fail(link->loop, "malformed acknowledgement");
    } else if (type == WIRE_PUBREL) {
        link_send_ack(link, WIRE_PUBCOMP, id);
    } else if (link->handler->ack == NULL) {
        loop_fail(link->loop, "an acknowledgement on a connection that publishes nothing");
    } else {
        link->handler->ack(link, type, id, reason);
    }
}

static void on_publish(struct link *link, const struct wire_packet *packet)
{
    struct wire_publish publish;
    if (link->handler->publish == NULL) {
        loop_fail(link->loop, "PUBLISH on a connection that subscribed to nothing");
    } else if (!wire_read_publish(packet, link->version, &publish)) {
        loop_fail(link->loop, "malformed PUBLISH");
    } else {
        if (publish.qos > 0) {
            link_send_ack(link, publish.qos == 1 ? WIRE_PUBACK : WIRE_PUBREC, publish.id);
        }
        link->handler->publish(link, &publish);
    }
}

static void on_packet(struct link *link, const struct wire_packet *packet)
{
    switch (packet->type) {
    case WIRE_PUBLISH:
        on_publish(link, packet);
        break;
    case WIRE_PUBACK:
    case WIRE_PUBREC:
    case WIRE_PUBREL:
    case WIRE_PUBCOMP:
        on_ack(link, packet);
        break;
    case WIRE_CONNACK:
        on_connack(link, packet);
        break;
    case WIRE_SUBACK:
        on_suback(link, packet);
        break;
    case WIRE_DISCONNECT:
        loop_fail(link->loop, "the broker says DISCONNECT: code 0x%02x",
                  packet->body_len > 0 ? packet->body[0] : 0);
        break;
    default: /* a number from outside, not an enum */
        loop_fail(link->loop, "unexpected packet of type %u", packet->type);
    }
}

static void keep_tail(struct link *link, const uint8_t *from, size_t len)
{
    if (len > link->tail_bytes) {
        free(link->tail);
        link->tail_bytes = 2 * len;
        link->tail = malloc(link->tail_bytes);
        if (link->tail == NULL) {
            link->tail_bytes = link->tail_len = 0;
            loop_fail(link->loop, "out of memory");
            return;
        }
    }
    memcpy(link->tail, from, len);
    link->tail_len = len;
}

/* Handles the whole packets of `data`, and keeps the rest for the next read. */
static void consume(struct link *link, const uint8_t *data, size_t len)
{
    struct loop *loop = link->loop;
    size_t at = 0;
    while (at < len && !loop->failed) {
        struct wire_packet packet;
        enum wire_status status = wire_frame(data + at, len - at, &packet);
        if (status == WIRE_PARTIAL) {
            break;
        }
        if (status == WIRE_BROKEN) {
            loop_fail(loop, "bytes that are not MQTT");
            break;
        }
        at += packet.len;
        on_packet(link, &packet);
        if (link->state == LINK_CLOSED) {
            return; /* by its own handler */
        }
    }
    if (len - at > link->packet_max) {
        loop_fail(loop, "a packet larger than any that was sent");
    } else if (at < len) {
        keep_tail(link, data + at, len - at);
    }
}

void link_read(struct link *link, size_t len)
{
    struct loop *loop = link->loop;
    size_t kept = link->tail_len;
    if (kept > 0) {
        memcpy(loop->input, link->tail, kept);
    }
    ssize_t got = link->transport != NULL
                      ? transport_receive(link->transport, loop->input + kept, len)
                      : recv(link->fd, loop->input + kept, len, 0);
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    if (got <= 0) {
        on_lost(link, got == 0 ? "closed by the broker" : what_happened(link));
        return;
    }
    loop_clock(loop);
    link->tail_len = 0;
    consume(link, loop->input, kept + (size_t)got);
}

void link_pause(struct link *link, bool is_paused)
{
    if (link->is_paused != is_paused && link->state != LINK_CLOSED) {
        link->is_paused = is_paused;
        loop_watch(link->loop, link, false);
    }
}

static bool open_one(struct link *links, uint32_t index, struct loop *loop, link_setup_fn fill,
                     void *context)
{
    struct link_setup setup = {0};
    fill(context, index, &setup);
    return link_open(&links[index], loop, &setup);
}

/* Opens those again whose time has come. Gives how long the loop may wait for the next. */
static uint64_t open_refused(struct link *links, uint32_t from, uint32_t to, link_setup_fn fill,
                             void *context)
{
    uint64_t wait_ns = NS_PER_S;
    for (uint32_t i = from; i < to; i++) {
        struct loop *loop = links[i].loop;
        if (links[i].is_refused && links[i].retry_ns <= loop->now_ns) {
            open_one(links, i, loop, fill, context); /* a failure has called loop_fail() */
        } else if (links[i].is_refused) {
            wait_ns = RETRY_NS / 10;
        }
    }
    return wait_ns;
}

bool link_open_all(struct link *links, uint32_t count, struct loop *loop, link_setup_fn fill,
                   void *context)
{
    uint32_t opened = 0;
    uint32_t ready = 0;
    loop_mark_progress(loop);
    uint64_t ready_ns = loop->now_ns;
    while (ready < count && !loop->failed) {
        for (; opened < count && opened - ready < OPENING_MAX; opened++) {
            if (!open_one(links, opened, loop, fill, context)) {
                return false;
            }
        }
        loop_turn(loop, open_refused(links, ready, opened, fill, context));
        loop_flush(loop);
        for (; ready < opened && links[ready].state == LINK_READY; ready++) {
            ready_ns = loop->now_ns;
        }
        if (loop->now_ns - ready_ns > loop->stall_ns) {
            loop_fail(loop, "%u of %u connections open: the broker is too busy for more", ready,
                      count);
        }
    }
    return !loop->failed;
}

void link_fini_all(struct link *links, uint32_t count)
{
    struct loop *loop = NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (links[i].state == LINK_READY) {
            wire_put_disconnect(link_reserve(&links[i], 2));
        }
        loop = links[i].loop != NULL ? links[i].loop : loop;
    }
    if (loop != NULL) {
        loop_flush(loop); /* all: nothing may stay on its list that is about to be freed */
    }
    for (uint32_t i = 0; i < count; i++) {
        link_fini(&links[i]);
    }
}

bool link_leave_all(struct link *links, uint32_t count)
{
    struct loop *loop = count > 0 ? links[0].loop : NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (links[i].state == LINK_READY) {
            wire_put_disconnect(link_reserve(&links[i], 2));
            links[i].is_leaving = true;
        }
    }
    for (uint32_t closed = 0; closed < count && !loop->failed;) {
        loop_flush(loop);
        loop_turn(loop, NS_PER_S);
        while (closed < count && links[closed].state == LINK_CLOSED) {
            closed++;
        }
    }
    return loop == NULL || !loop->failed;
}

static void on_writable(struct link *link)
{
    link->is_blocked = false;
    link_flush(link);
    if (link->is_blocked || link->state == LINK_CLOSED) {
        return;
    }
    loop_watch(link->loop, link, false);
    if (link->state == LINK_READY && link->handler->drained != NULL) {
        link->handler->drained(link);
    }
}

/* Goes on with the handshakes below MQTT. CONNECT waits in the output until they are done. */
static void open_transport(struct link *link)
{
    enum transport_status status = transport_advance(link->transport);
    if (status == TRANSPORT_BROKEN) {
        on_lost(link, what_happened(link));
        return;
    }
    link->is_opening = status != TRANSPORT_OPEN;
    link->is_blocked = status == TRANSPORT_WANTS_WRITE;
    if (loop_watch(link->loop, link, false)) {
        link_flush(link);
    }
}

static void read_all(struct link *link)
{
    do {
        link_read(link, READ_BYTES);
    } while (link->state != LINK_CLOSED && link->transport != NULL && !link->is_paused &&
             transport_has_input(link->transport));
}

void link_on_events(struct link *link, uint32_t events)
{
    if (link->state == LINK_CLOSED) {
        return; /* closed earlier in this turn */
    }
    if (link->is_opening) {
        open_transport(link);
        return;
    }
    if (events & EPOLLOUT) {
        on_writable(link);
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && link->state != LINK_CLOSED) {
        read_all(link);
    }
}
