#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "node/auth/sql_priv.h"

static enum err refuse(struct text *error, const char *option, const char *why)
{
    text_printf(error, "%s: %s", option, why);
    return ERR_SYNTAX;
}

/* Takes one piece of the text at `*at`: a value, or bytes that stay as they are. `*quote` is the
 * quotation mark of the text that we are in; 0: none. */
static enum err read_piece(struct sql_query *query, const char **at, char *quote, struct text *text,
                           const char *option, struct text *error)
{
    const char *here = *at;
    bool is_value = here[0] == '%' && (here[1] == 'u' || here[1] == 'c');
    *at = here + (is_value || (here[0] == '%' && here[1] == '%') ? 2 : 1);
    if (!is_value) {
        if (here[0] == '?' && *quote == 0) {
            return refuse(error, option, "values are %u and %c, not ?");
        }
        if (strchr("'\"`", here[0]) != NULL && (*quote == 0 || *quote == here[0])) {
            *quote = *quote == 0 ? here[0] : 0; /* a doubled mark ends and begins it again */
        }
        text_add_bytes(text, here, 1);
        return ERR_OK;
    }
    if (*quote != 0) {
        return refuse(error, option, "%u and %c are values: no quotation marks around them");
    }
    if (query->value_count == SQL_VALUES_MAX) {
        return refuse(error, option, "more than 16 values");
    }
    query->values[query->value_count++] = here[1] == 'u' ? SQL_USERNAME : SQL_CLIENT_ID;
    text_add(text, "?");
    return ERR_OK;
}

enum err sql_query_read(struct sql_query *query, const char *source, const char *option,
                        struct text *error)
{
    struct text text = {.data = NULL};
    char quote = 0;
    enum err err = ERR_OK;
    *query = (struct sql_query){.text = NULL};
    for (const char *at = source; *at != '\0' && err == ERR_OK;) {
        err = read_piece(query, &at, &quote, &text, option, error);
    }
    if (err == ERR_OK && quote != 0) {
        err = refuse(error, option, "a quotation mark without its end");
    }
    if (err == ERR_OK && query->value_count == 0) {
        err = refuse(error, option, "asks the same for everybody: it has neither %u nor %c");
    }
    if (err == ERR_OK) {
        query->text = mem_copy_text(text.data, text.len);
    }
    text_fini(&text);
    return err;
}

void sql_query_fini(struct sql_query *query)
{
    mem_free(query->text);
    *query = (struct sql_query){.text = NULL};
}

enum err sql_patience_left(const struct sql_patience *patience)
{
    if (atomic_load_explicit(patience->cancelled, memory_order_relaxed)) {
        return ERR_STOPPED;
    }
    return clock_mono_ms() < patience->deadline_ms ? ERR_OK : ERR_UNAVAILABLE;
}
