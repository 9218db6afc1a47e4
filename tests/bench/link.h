/*
 * link: one MQTT client connection of the load generator.
 *
 * Owns      its socket, its output buffer, and the incomplete packet at the end of the last read.
 * Thread    the loop's.
 * Errors    a refused, broken or closed connection ends the run (loop_fail), unless the owner
 *           handles `closed`.
 * Not here  what a message means and when to send one: that is the owner's `struct link_handler`.
 */
#ifndef TESTS_BENCH_LINK_H
#define TESTS_BENCH_LINK_H

#include "tests/bench/loop.h"
#include "tests/bench/transport.h"
#include "tests/bench/wire.h"

enum link_state { LINK_CLOSED, LINK_CONNECTING, LINK_SUBSCRIBING, LINK_READY };

/*
 * All may be NULL but `publish` for links that subscribe, and `ack` for those that publish at QoS 1
 * or 2. They run inside loop_turn(). A receiver's acknowledgements are the link's own business.
 */
struct link_handler {
    void (*publish)(struct link *link, const struct wire_publish *publish);
    void (*ack)(struct link *link, enum wire_type type, uint16_t id, uint8_t reason);
    void (*ready)(struct link *link);   /* CONNACK, and SUBACK if it subscribes */
    void (*drained)(struct link *link); /* when READY: a write that had been refused is out */
    /* By the broker, in state `was`; the link may be opened again at once. */
    void (*closed)(struct link *link, enum link_state was);
};

struct link_setup {
    const struct link_handler *handler;
    void *owner;
    const char *filter; /* subscribed to once connected; NULL: none. Borrowed until READY. */
    const char *client_id;
    const char *username;
    const char *password;
    size_t out_bytes;  /* first size of the output buffer */
    size_t packet_max; /* larger packets are an error */
    int receive_bytes; /* SO_RCVBUF, 0: the system's */
    uint16_t keep_alive_s;
    uint8_t version;
    uint8_t filter_qos;
    bool keep_session;
    bool is_patient; /* asks again, for a while, when the broker says that it is busy */
};

struct link {
    struct loop *loop;
    const struct link_handler *handler;
    void *owner;
    uint8_t *out;
    size_t out_start; /* [out_start, out_end) waits to be written */
    size_t out_end;
    size_t out_bytes;
    uint8_t *tail;
    size_t tail_len;
    size_t tail_bytes;
    size_t packet_max;
    struct link *dirty_next;
    uint64_t retry_ns; /* when is_refused: the moment to ask again */
    const char *filter;
    struct transport *transport; /* NULL: plain TCP */
    int fd;
    enum link_state state;
    uint16_t receive_maximum; /* the broker's */
    uint8_t version;
    uint8_t filter_qos;
    bool session_present; /* said by CONNACK */
    bool is_dirty;
    bool is_blocked; /* the socket refused bytes: epoll tells when it takes more */
    bool is_opening; /* the handshakes of its transport are under way */
    bool is_paused;
    bool is_patient;
    bool is_refused; /* closed by us: the broker was busy */
    bool is_leaving; /* has said DISCONNECT: the broker's close is no fault */
};

/* Starts to connect; on success `ready` follows from the loop. */
bool link_open(struct link *link, struct loop *loop, const struct link_setup *setup);

/* Closes the socket; with `abort`, without leaving it in TIME_WAIT. The link may be opened again.
 */
void link_close(struct link *link, bool abort);

/* Closes, and frees the buffers. A zeroed link is allowed. */
void link_fini(struct link *link);

/* Room for `len` more bytes of output, which will be written in this iteration. Never NULL. */
uint8_t *link_reserve(struct link *link, size_t len);

/* Writes a packet made of two parts now, without copying it if the socket takes it whole. */
void link_send_now(struct link *link, const uint8_t *head, size_t head_len, const uint8_t *body,
                   size_t body_len);

void link_subscribe(struct link *link, const char *filter, uint8_t qos);

/* A paused link reads only what link_read() tells it to. */
void link_pause(struct link *link, bool is_paused);
void link_read(struct link *link, size_t len);

/*
 * Opens `count` links, a few at a time, and turns the loop until all are READY. `fill` completes
 * the set-up of link `index`; the strings it points to are borrowed until that link is READY.
 */
typedef void (*link_setup_fn)(void *context, uint32_t index, struct link_setup *setup);
bool link_open_all(struct link *links, uint32_t count, struct loop *loop, link_setup_fn fill,
                   void *context);

/* Says DISCONNECT on each READY link, closes all, frees their buffers. */
void link_fini_all(struct link *links, uint32_t count);

/*
 * Says DISCONNECT on each READY link and turns the loop until the broker has closed them all: then
 * it has done everything that they asked for.
 */
bool link_leave_all(struct link *links, uint32_t count);

/* For loop.c: what epoll reported. */
void link_on_events(struct link *link, uint32_t events);
void link_flush(struct link *link);

static inline bool link_has_output(const struct link *link)
{
    return link->out_end > link->out_start;
}

static inline void link_send_ack(struct link *link, enum wire_type type, uint16_t id)
{
    wire_put_ack(link_reserve(link, WIRE_ACK_BYTES), type, id);
}

#endif
