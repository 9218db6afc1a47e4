#include "node/conn.h"

#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/layers.h"
#include "node/transport.h"
#include "node/worker.h"

/*
 * A session lives on the worker that the hash of its client id names; a connection is accepted by
 * any. libuv can't detach a descriptor from a loop, so: duplicate it, close the handle, and open
 * the duplicate on the other loop, which gets the bytes that were read too.
 */

struct move_mail {
    struct mail mail;
    struct conn_start start; /* its bytes, from CONNECT on, are owned */
};

static void open_move(struct worker *worker, struct mail *mail)
{
    struct move_mail *move = container_of(mail, struct move_mail, mail);
    conn_open(worker, &move->start);
    mem_free((void *)(uintptr_t)move->start.early.data);
    mem_free(move);
}

/* What it has is the new connection's. */
static struct conn_start take_start(struct conn *conn, int fd)
{
    struct conn_start start = {.fd = fd,
                               .listener = conn->listener,
                               .layers = conn->layers,
                               .early = slice_of(conn->partial, conn->partial_len),
                               .moved = true,
                               .address = conn->address};
    conn->layers = NULL;
    conn->partial = NULL;
    conn->partial_len = 0;
    conn->partial_cap = 0;
    conn->counted = false;
    conn->address = NULL;
    return start;
}

/* A write under way still needs what it writes: the answer to a handshake, which a client that goes
 * on has taken. */
static bool has_unwritten(struct conn *conn)
{
    if (conn->layers != NULL) {
        transport_flush(conn);
    }
    return conn->writing;
}

void conn_move(struct conn *conn)
{
    struct worker *worker = conn->worker;
    int fd = has_unwritten(conn) ? -1 : transport_duplicate(conn);
    if (fd < 0) {
        log_warning(LOG_CONN,
                    "a connection can't be moved to another worker: no descriptor is left, or "
                    "its client takes no output");
        metric_add(&worker->metrics, METRIC_CLOSED_LIMIT, 1);
        transport_close(conn);
        return;
    }
    struct move_mail *move = mem_alloc(sizeof(*move));
    move->mail.open = open_move;
    move->start = take_start(conn, fd);
    metric_add(&worker->metrics, METRIC_HANDOFFS, 1);
    worker_send(worker, conn->move_to, &move->mail);
    transport_close(conn);
}
