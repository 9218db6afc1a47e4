/*
 * layers: what stands between the socket and MQTT where a connection is not plain: the header of
 * the PROXY protocol, then TLS, then WebSocket; each of them or none. Plain connections have none,
 * and pay nothing.
 *
 * Owns      the state of these layers, and `wire`: what is encoded for the socket. Moves with its
 *           connection from worker to worker.
 * Thread    the worker of the connection.
 * Errors    what the peer does wrong ends in conn_close, counted by layer.
 * Not here  the codecs (node/tls/tls.h, codec/websocket.h, codec/proxy_header.h), the socket
 *           (transport.h).
 */
#ifndef PULSE_NODE_LAYERS_H
#define PULSE_NODE_LAYERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/slice.h"
#include "codec/proxy_header.h"
#include "codec/websocket.h"
#include "node/outbuf.h"
#include "node/tls/tls.h"

struct conn;
struct listening;
struct worker;

struct layers {
    struct tls_stream *tls;          /* NULL: no TLS */
    struct sockaddr_storage *source; /* what the PROXY header said; NULL: the socket's own peer */
    struct outbuf wire;              /* encoded, waiting for the socket */
    struct ws_reader reader;
    uint8_t *early; /* input that is not whole, or has to wait for its turn */
    uint32_t early_len;
    uint16_t ws_close;  /* the code that the close frame will have */
    uint8_t proxy_mode; /* enum proxy_mode; PROXY_OFF: done, or never wanted */
    bool websocket : 1;
    bool upgraded : 1;      /* the WebSocket handshake is done */
    bool secured : 1;       /* the TLS handshake is done */
    bool said_farewell : 1; /* close frame and close_notify are on their way */
    bool ended : 1;         /* the peer has said its last word, or broken a rule */
    bool handshake_due : 1; /* in worker->handshakes: `early` holds what is to be read */
};

/* NULL: the listener wants none of them, or (`*failed`) there is no memory. */
struct layers *layers_create(const struct listening *listening, bool *failed);
/* What waits in `wire` goes back to `pool`. NULL is allowed. */
void layers_destroy(struct layers *layers, struct out_pool *pool);

/* Takes in what the socket gave. The bytes are changed in place. In a read section. */
void layers_input(struct conn *conn, uint8_t *bytes, size_t len);

/*
 * Encodes what conn->out holds as far as is sensible, with a farewell at the end of a connection
 * that lingers, and gives what the socket shall get.
 */
struct outbuf *layers_output(struct conn *conn);

/* After a move, behind the input that came along. */
void layers_moved(struct conn *conn);

/* Nothing is left to encode or to be written, farewell included. */
bool layers_drained(const struct conn *conn);

/* For worker_flush: goes on with handshakes that had to wait, for as long as an iteration may. */
void layers_go_on(struct worker *worker);

#endif
