#include "node/journal_priv.h"

#include "base/mem.h"
#include "node/conn.h"
#include "node/receipt.h"
#include "node/session.h"

struct journal_wait *journal__wait(struct journal_part *part)
{
    part->waits = mem_grow(part->waits, part->wait_count, &part->wait_cap, sizeof(*part->waits));
    struct journal_wait *wait = &part->waits[part->wait_count++];
    *wait = (struct journal_wait){.kind = WAIT_HELD};
    return wait;
}

void journal__wait_held(struct session *session, uint64_t position)
{
    struct journal *journal = &session->worker->journal;
    struct journal_part *part = journal->filling;
    struct journal_wait *wait = NULL;
    if (session->held_wait > 0 && session->held_wait <= part->wait_count) {
        wait = &part->waits[session->held_wait - 1];
    }
    if (wait == NULL || wait->kind != WAIT_HELD || wait->session != session->handle) {
        wait = journal__wait(part);
        wait->session = session->handle;
        session->held_wait = part->wait_count;
    }
    wait->position = position;
}

static void send_answer(struct conn *conn, enum mqtt_packet type, uint16_t packet_id,
                        const uint8_t *reasons, size_t count)
{
    if (type == MQTT_PUBCOMP) {
        conn_send_ack(conn, type, packet_id, reasons[0]);
    } else {
        conn_send_suback(conn, type, packet_id, reasons, count);
    }
}

void journal_answer(struct conn *conn, enum mqtt_packet type, uint16_t packet_id,
                    const uint8_t *reasons, size_t count)
{
    struct session *session = conn->session;
    struct journal *journal = &conn->worker->journal;
    struct journal_part *part =
        journal->filling->part.count > 0 ? journal->filling : journal->latest;
    if (session->stored_id == 0 || part == NULL) {
        send_answer(conn, type, packet_id, reasons, count);
        return;
    }
    struct journal_wait *wait = journal__wait(part);
    wait->kind = WAIT_ANSWER;
    wait->packet = (uint8_t)type;
    wait->packet_id = packet_id;
    wait->session = session->handle;
    wait->connection = conn->serial;
    wait->reasons = mem_alloc(count);
    wait->reason_count = (uint32_t)count;
    memcpy(wait->reasons, reasons, count);
}

/* ---- going on -------------------------------------------------------------------------------- */

static void go_on(struct session *session, const struct journal_wait *wait)
{
    struct conn *conn = session->conn;
    switch ((enum journal_wait_kind)wait->kind) {
    case WAIT_HELD:
        session->held_to = wait->position + 1;
        session_pump(session);
        break;
    case WAIT_RELEASE:
        session_released(session, wait->position);
        break;
    case WAIT_ANSWER:
        if (conn_online(conn) && conn->serial == wait->connection) {
            send_answer(conn, (enum mqtt_packet)wait->packet, wait->packet_id, wait->reasons,
                        wait->reason_count);
        }
        break;
    }
}

static void complete_receipts(struct worker *worker, struct journal_part *part)
{
    for (uint32_t i = 0; i < part->part.count; i++) {
        struct receipt *receipt = part->part.changes[i].waiter;
        part->part.changes[i].waiter = NULL;
        if (receipt == NULL) {
            continue;
        }
        if (part->outcome == ERR_OK) {
            receipt_done(worker, receipt);
        } else if (atomic_fetch_sub(&receipt->waiting, 1) == 1) {
            receipt_abandon(receipt);
        }
    }
}

void journal__complete(struct worker *worker, struct journal_part *part)
{
    complete_receipts(worker, part);
    for (uint32_t i = 0; i < part->wait_count; i++) {
        struct journal_wait *wait = &part->waits[i];
        struct session *session = session_table_get(&worker->sessions, wait->session);
        if (session != NULL && part->outcome == ERR_OK) {
            go_on(session, wait);
        }
        mem_free(wait->reasons);
        wait->reasons = NULL;
    }
    part->wait_count = 0;
}
