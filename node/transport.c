#include "node/transport.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/reclaim.h"
#include "node/conn.h"
#include "node/layers.h"
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
    struct conn *conn = container_of(handle, struct conn, io.handle);
    layers_destroy(conn->layers, &conn->worker->pool);
    mem_free(conn);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct conn *conn = container_of(handle, struct conn, io.handle);
    *buf = conn->layers == NULL
               ? conn_input_buffer(conn)
               : uv_buf_init((char *)conn->worker->read_buffer, WORKER_READ_BUFFER);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct conn *conn = container_of(stream, struct conn, io.stream);
    if (len == 0) {
        return;
    }
    if (conn->state == CONN_LINGER) {
        if (len < 0) {
            transport_close(conn);
        }
        return;
    }
    if (len == UV_EOF && conn_login_wants_rest(conn)) {
        transport_read_stop(conn);
        return;
    }
    if (len < 0) {
        enum metric why = len == UV_EOF ? METRIC_CLOSED_PEER : METRIC_CLOSED_IO;
        conn_close(conn, why, MQTT_REASON_UNSPECIFIED_ERROR, false);
        return;
    }
    metric_add(&conn->worker->metrics, METRIC_BYTES_IN, (int64_t)len);
    conn->bytes_in += (uint64_t)len;
    reclaim_enter();
    if (conn->layers != NULL) {
        layers_input(conn, (uint8_t *)buf->base, (size_t)len);
    } else {
        conn_input_read(conn, buf, (size_t)len);
    }
    reclaim_leave();
}

static bool is_unix_socket(uv_os_sock_t fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    return getsockname(fd, (struct sockaddr *)&address, &len) == 0 && address.ss_family == AF_UNIX;
}

static int open_handle(struct conn *conn, uv_os_sock_t fd)
{
    uv_loop_t *loop = &conn->worker->loop;
    if (is_unix_socket(fd)) {
        uv_pipe_init(loop, &conn->io.pipe, 0);
        return uv_pipe_open(&conn->io.pipe, fd);
    }
    uv_tcp_init(loop, &conn->io.tcp);
    int status = uv_tcp_open(&conn->io.tcp, fd);
    if (status == 0) {
        (void)uv_tcp_nodelay(&conn->io.tcp, 1); /* fails only for what is dead already */
    }
    return status;
}

enum err transport_open(struct conn *conn, uv_os_sock_t fd)
{
    int status = open_handle(conn, fd);
    conn->handle_open = true;
    if (status != 0) {
        close(fd);
        return ERR_IO;
    }
    return ERR_OK;
}

void transport_read_start(struct conn *conn)
{
    if (!conn->reading && conn->handle_open) {
        conn->reading = uv_read_start(&conn->io.stream, on_alloc, on_read) == 0;
    }
}

void transport_read_stop(struct conn *conn)
{
    if (conn->reading) {
        uv_read_stop(&conn->io.stream);
        conn->reading = false;
    }
}

uint32_t transport_unsent(struct conn *conn)
{
    uv_os_fd_t fd;
    int in_kernel = 0;
    if (uv_fileno(&conn->io.handle, &fd) == 0) {
        (void)ioctl(fd, SIOCOUTQ, &in_kernel); /* 0 then: only what libuv holds counts */
    }
    return (uint32_t)uv_stream_get_write_queue_size(&conn->io.stream) + (uint32_t)in_kernel;
}

void transport_took(struct conn *conn, size_t len)
{
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

/* What the socket gets next. */
static struct outbuf *output(struct conn *conn)
{
    return conn->layers != NULL ? layers_output(conn) : &conn->out;
}

static void written(struct conn *conn, size_t len)
{
    metric_add(&conn->worker->metrics, METRIC_BYTES_OUT, (int64_t)len);
    conn->bytes_out += len;
    if (conn->layers != NULL) {
        outbuf_consume(&conn->layers->wire, &conn->worker->pool, len);
    } else {
        transport_took(conn, len);
    }
}

static void drop_output(struct conn *conn)
{
    outbuf_clear(&conn->out, &conn->worker->pool);
    if (conn->layers != NULL) {
        outbuf_clear(&conn->layers->wire, &conn->worker->pool);
    }
}

bool transport_drained(const struct conn *conn)
{
    return conn->layers != NULL ? layers_drained(conn) : conn->out.len == 0;
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
        drop_output(conn);
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
static void write_later(struct conn *conn, const struct outbuf *out)
{
    uv_buf_t bufs[WRITE_BUFS_MAX];
    unsigned count = outbuf_peek(out, bufs, WRITE_BUFS_MAX, WRITE_LATER_BYTES_MAX);
    struct pending_write *write = mem_alloc(sizeof(*write));
    for (unsigned i = 0; i < count; i++) {
        write->len += bufs[i].len;
    }
    write->request.data = conn;
    conn->writing = true;
    conn->stalled_since_ms = worker_now(conn->worker);
    if (uv_write(&write->request, &conn->io.stream, bufs, count, on_written) != 0) {
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
    while (!conn->writing && conn->handle_open) {
        struct outbuf *out = output(conn);
        if (out->len == 0) {
            return;
        }
        uv_buf_t bufs[WRITE_BUFS_MAX];
        unsigned count = outbuf_peek(out, bufs, WRITE_BUFS_MAX, WRITE_BYTES_MAX);
        int len = uv_try_write(&conn->io.stream, bufs, count);
        if (len < 0 && len != UV_EAGAIN) {
            drop_output(conn);
            failed(conn);
            return;
        }
        if (len > 0) {
            written(conn, (size_t)len);
        } else {
            write_later(conn, out);
        }
    }
}

void transport_shutdown(struct conn *conn)
{
    uv_os_fd_t fd;
    if (uv_fileno(&conn->io.handle, &fd) == 0) {
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
        drop_output(conn);
    }
    conn_leave_limits(conn);
    uv_close(&conn->io.handle, on_closed);
}

int transport_duplicate(struct conn *conn)
{
    uv_os_fd_t fd;
    if (uv_fileno(&conn->io.handle, &fd) != 0) {
        return -1;
    }
    return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}
