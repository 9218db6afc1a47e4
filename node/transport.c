#include "node/transport.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/reclaim.h"
#include "node/conn.h"
#include "node/worker.h"

/* One write takes at most this much. What libuv writes later comes in smaller portions, so that
 * progress is seen and memory comes back in between. */
#define WRITE_BUFS_MAX 64
#define WRITE_BYTES_MAX 262144
#define WRITE_LATER_BYTES_MAX 65536

/* A write that the socket did not take at once. */
struct pending_write {
    uv_write_t request;
    size_t len;
};

static void on_closed(uv_handle_t *handle)
{
    struct conn *conn = container_of(handle, struct conn, tcp);
    mem_free(conn);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    *buf = conn_input_buffer(container_of(handle, struct conn, tcp));
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct conn *conn = container_of(stream, struct conn, tcp);
    if (len == 0) {
        return;
    }
    if (conn->state == CONN_LINGER) {
        if (len < 0) {
            transport_close(conn);
        }
        return;
    }
    if (len < 0) {
        enum metric why = len == UV_EOF ? METRIC_CLOSED_PEER : METRIC_CLOSED_IO;
        conn_close(conn, why, MQTT_REASON_UNSPECIFIED_ERROR, false);
        return;
    }
    reclaim_enter();
    conn_input_read(conn, buf, (size_t)len);
    reclaim_leave();
}

enum err transport_open(struct conn *conn, uv_os_sock_t fd)
{
    uv_tcp_init(&conn->worker->loop, &conn->tcp);
    conn->handle_open = true;
    if (uv_tcp_open(&conn->tcp, fd) != 0) {
        close(fd);
        return ERR_IO;
    }
    /* Not fatal: a socket pair of a test, say, has no Nagle to turn off. */
    (void)uv_tcp_nodelay(&conn->tcp, 1);
    return ERR_OK;
}

void transport_read_start(struct conn *conn)
{
    if (!conn->reading && conn->handle_open) {
        conn->reading = uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read) == 0;
    }
}

void transport_read_stop(struct conn *conn)
{
    if (conn->reading) {
        uv_read_stop((uv_stream_t *)&conn->tcp);
        conn->reading = false;
    }
}

uint32_t transport_unsent(struct conn *conn)
{
    uv_os_fd_t fd;
    int in_kernel = 0;
    if (uv_fileno((uv_handle_t *)&conn->tcp, &fd) == 0) {
        (void)ioctl(fd, SIOCOUTQ, &in_kernel); /* 0 then: only what libuv holds counts */
    }
    return (uint32_t)uv_stream_get_write_queue_size((uv_stream_t *)&conn->tcp) +
           (uint32_t)in_kernel;
}

static void written(struct conn *conn, size_t len)
{
    metric_add(&conn->worker->metrics, METRIC_BYTES_OUT, (int64_t)len);
    if (len < conn->out.len) {
        uint64_t left = conn->out.len - len;
        conn->out_messages = (uint32_t)(conn->out_messages * left / conn->out.len);
        conn->answers = (uint32_t)(conn->answers * left / conn->out.len);
    } else {
        conn->out_messages = 0;
        conn->answers = 0;
    }
    outbuf_consume(&conn->out, &conn->worker->pool, len);
}

static void failed(struct conn *conn)
{
    metric_add(&conn->worker->metrics, METRIC_FLUSH_FAILURES, 1);
    conn_close(conn, METRIC_CLOSED_IO, MQTT_REASON_UNSPECIFIED_ERROR, false);
}

static void on_written(uv_write_t *request, int status)
{
    struct pending_write *write = container_of(request, struct pending_write, request);
    struct conn *conn = request->data;
    size_t len = write->len;
    mem_free(write);
    conn->writing = false;
    if (!conn->handle_open) {
        outbuf_clear(&conn->out, &conn->worker->pool);
        return;
    }
    if (status != 0) {
        failed(conn);
        return;
    }
    written(conn, len);
    reclaim_enter();
    transport_flush(conn);
    conn_written(conn);
    reclaim_leave();
}

/* Lets libuv write what comes first, when the socket can. */
static void write_later(struct conn *conn)
{
    uv_buf_t bufs[WRITE_BUFS_MAX];
    unsigned count = outbuf_peek(&conn->out, bufs, WRITE_BUFS_MAX, WRITE_LATER_BYTES_MAX);
    struct pending_write *write = mem_alloc(sizeof(*write));
    for (unsigned i = 0; i < count; i++) {
        write->len += bufs[i].len;
    }
    write->request.data = conn;
    conn->writing = true;
    conn->stalled_since_ms = worker_now(conn->worker);
    if (uv_write(&write->request, (uv_stream_t *)&conn->tcp, bufs, count, on_written) != 0) {
        conn->writing = false;
        mem_free(write);
        failed(conn);
        return;
    }
    conn->stalled_bytes = transport_unsent(conn);
    conn_arm_timer(conn);
}

void transport_flush(struct conn *conn)
{
    while (conn->out.len > 0 && !conn->writing && conn->handle_open) {
        uv_buf_t bufs[WRITE_BUFS_MAX];
        unsigned count = outbuf_peek(&conn->out, bufs, WRITE_BUFS_MAX, WRITE_BYTES_MAX);
        int len = uv_try_write((uv_stream_t *)&conn->tcp, bufs, count);
        if (len < 0 && len != UV_EAGAIN) {
            outbuf_clear(&conn->out, &conn->worker->pool);
            failed(conn);
            return;
        }
        if (len > 0) {
            written(conn, (size_t)len);
        } else {
            write_later(conn);
        }
    }
}

void transport_shutdown(struct conn *conn)
{
    uv_os_fd_t fd;
    if (uv_fileno((uv_handle_t *)&conn->tcp, &fd) == 0) {
        (void)shutdown(fd, SHUT_WR); /* fails when the peer is gone already, which is as good */
    }
}

void transport_close(struct conn *conn)
{
    if (!conn->handle_open) {
        return;
    }
    conn->handle_open = false;
    conn->reading = false;
    conn->state = CONN_CLOSED;
    timer_disarm(&conn->worker->timers, &conn->timer);
    list_remove(&conn->of_worker);
    list_remove(&conn->pending_link);
    list_remove(&conn->dirty_link);
    conn_drop_state(conn);
    if (!conn->writing) {
        outbuf_clear(&conn->out, &conn->worker->pool);
    }
    metric_add(&conn->worker->metrics, METRIC_SOCKETS, -1);
    atomic_fetch_sub_explicit(&conn->worker->broker->sockets, 1, memory_order_relaxed);
    uv_close((uv_handle_t *)&conn->tcp, on_closed);
}

int transport_duplicate(struct conn *conn)
{
    uv_os_fd_t fd;
    if (uv_fileno((uv_handle_t *)&conn->tcp, &fd) != 0) {
        return -1;
    }
    return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}
