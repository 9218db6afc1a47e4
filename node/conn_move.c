#include "node/conn.h"

#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/transport.h"
#include "node/worker.h"

/*
 * A session lives on the worker that the hash of its client id names; a connection is accepted by
 * any. libuv can't detach a descriptor from a loop, so: duplicate it, close the handle, and open
 * the duplicate on the other loop, which gets the bytes that were read too.
 */

struct move_mail {
    struct mail mail;
    int fd;
    uint8_t *bytes; /* from CONNECT on; owned */
    size_t len;
};

static void open_move(struct worker *worker, struct mail *mail)
{
    struct move_mail *move = container_of(mail, struct move_mail, mail);
    conn_open(worker, move->fd, slice_of(move->bytes, move->len));
    mem_free(move->bytes);
    mem_free(move);
}

void conn_move(struct conn *conn)
{
    struct worker *worker = conn->worker;
    int fd = transport_duplicate(conn);
    if (fd < 0) {
        log_warning(LOG_CONN, "no descriptor left to move a connection");
        metric_add(&worker->metrics, METRIC_CLOSED_LIMIT, 1);
        transport_close(conn);
        return;
    }
    struct move_mail *move = mem_alloc(sizeof(*move));
    move->mail.open = open_move;
    move->fd = fd;
    move->bytes = conn->partial;
    move->len = conn->partial_len;
    conn->partial = NULL;
    conn->partial_len = 0;
    conn->partial_cap = 0;
    metric_add(&worker->metrics, METRIC_HANDOFFS, 1);
    worker_send(worker, conn->move_to, &move->mail);
    transport_close(conn);
}
