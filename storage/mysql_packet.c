#include "storage/mysql_packet.h"

#include <string.h>

/* A packet is sent when it has so many bytes: large enough that the round trips don't count, small
 * enough to be in the caches. */
#define PACKET_BYTES (512u * 1024)

/* The largest row: what is larger goes in parts. Some servers refuse a value that is more than a
 * tenth of their redo log. */
#define ROW_BYTES_MAX (4u * 1024 * 1024)

/* What a server and the head and tail of a statement may take of max_allowed_packet. */
#define SLACK_BYTES 4096u

/* Kept between batches. */
#define KEPT_BYTES (4u * 1024 * 1024)

void mysql_packet_begin(struct mysql_packet *packet, struct mysql_connection *connection)
{
    packet->connection = connection;
    packet->err = ERR_OK;
    packet->open = NULL;
    packet->rows = 0;
    sql_clear(&packet->sql, KEPT_BYTES);
}

void mysql_packet_fini(struct mysql_packet *packet)
{
    sql_fini(&packet->sql);
}

static size_t packet_max(const struct mysql_connection *connection)
{
    uint64_t bytes = connection->packet_bytes_max;
    return bytes > 2 * SLACK_BYTES ? (size_t)bytes - SLACK_BYTES : SLACK_BYTES;
}

size_t mysql_packet_row_max(const struct mysql_connection *connection)
{
    size_t bytes = packet_max(connection) - SLACK_BYTES / 2;
    return bytes < ROW_BYTES_MAX ? bytes : ROW_BYTES_MAX;
}

static void end_statement(struct mysql_packet *packet)
{
    if (packet->open != NULL) {
        sql_add(&packet->sql, packet->open->tail);
        packet->open = NULL;
        packet->rows = 0;
    }
}

static void send_packet(struct mysql_packet *packet)
{
    end_statement(packet);
    if (packet->err == ERR_OK && packet->sql.len > 0) {
        packet->err = mysql_connection_run_sql(packet->connection, &packet->sql);
    }
    sql_clear(&packet->sql, SIZE_MAX);
}

/* Sees that `len` bytes more find room, and begins a statement. */
static void make_room(struct mysql_packet *packet, size_t len)
{
    size_t max = packet_max(packet->connection);
    if (packet->sql.len > 0 && packet->sql.len + len > (max < PACKET_BYTES ? max : PACKET_BYTES)) {
        send_packet(packet);
    }
}

static void separate(struct mysql_packet *packet)
{
    end_statement(packet);
    if (packet->sql.len > 0) {
        sql_add(&packet->sql, ";");
    }
}

void mysql_packet_add(struct mysql_packet *packet, const char *statement)
{
    if (packet->err != ERR_OK) {
        return;
    }
    make_room(packet, strlen(statement));
    separate(packet);
    sql_add(&packet->sql, statement);
}

void mysql_packet_row(struct mysql_packet *packet, const struct mysql_statement *statement,
                      const char *row, size_t row_len)
{
    if (packet->err != ERR_OK) {
        return;
    }
    make_room(packet, row_len);
    if (packet->open == statement && packet->rows < MYSQL_ROWS_MAX) {
        sql_add(&packet->sql, statement->separator);
    } else {
        separate(packet);
        sql_add(&packet->sql, statement->head);
        packet->open = statement;
        packet->rows = 0;
    }
    sql_add_raw(&packet->sql, row, row_len);
    packet->rows++;
}

enum err mysql_packet_end(struct mysql_packet *packet)
{
    send_packet(packet);
    return packet->err;
}
