#include "storage/mysql_leftovers.h"

#include <string.h>

#include "base/mem.h"

/* Messages, and which of them are in use. */
struct usage {
    const struct mysql_ids *messages;
    bool *used;
};

void mysql_leftovers_fini(struct mysql_leftovers *leftovers)
{
    mysql_ids_fini(&leftovers->messages);
    mysql_ids_fini(&leftovers->sessions);
}

static enum err take_used(void *context, const struct mysql_row *row)
{
    struct usage *usage = context;
    size_t index = 0;
    if (mysql_ids_find(usage->messages, mysql_number(row->columns[0]), &index)) {
        usage->used[index] = true;
    }
    return ERR_OK;
}

static enum err mark_used(struct usage *usage, struct mysql_connection *connection,
                          const char *owner, const char *table)
{
    struct sql sql = {.data = NULL};
    sql_add(&sql, "SELECT t.message_id FROM ");
    sql_add(&sql, table);
    sql_add(&sql, " t JOIN sessions s ON s.id=t.session_id WHERE s.owner<>");
    sql_add_bytes(&sql, slice_text(owner));
    enum err err = mysql_connection_rows(connection, &sql, usage, take_used);
    sql_fini(&sql);
    return err;
}

static void keep_unused(struct mysql_ids *messages, const bool *used)
{
    size_t kept = 0;
    for (size_t i = 0; i < messages->count; i++) {
        if (!used[i]) {
            messages->items[kept++] = messages->items[i];
        }
    }
    messages->count = kept;
}

enum err mysql_leftovers_settle(struct mysql_leftovers *leftovers,
                                struct mysql_connection *connection, const char *owner)
{
    struct mysql_ids *messages = &leftovers->messages;
    mysql_ids_sort(messages);
    mysql_ids_sort(&leftovers->sessions);
    if (messages->count == 0) {
        return ERR_OK;
    }
    struct usage usage = {.messages = messages, .used = mem_try_alloc(messages->count)};
    if (usage.used == NULL) {
        return ERR_MEMORY;
    }
    memset(usage.used, 0, messages->count);
    enum err err = mark_used(&usage, connection, owner, "queue");
    if (err == ERR_OK) {
        err = mark_used(&usage, connection, owner, "wills");
    }
    if (err == ERR_OK) {
        keep_unused(messages, usage.used);
    } else {
        messages->count = 0;
    }
    mem_free(usage.used);
    return err;
}
