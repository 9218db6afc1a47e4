#include "storage/transfer_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "storage/mysql_url.h"

/* The path of a store on disk. */
static const char *place_of(const struct storage_config *config)
{
    switch (config->engine) {
    case STORAGE_MEMORY:
        break;
    case STORAGE_WAL:
        return config->wal_dir;
    case STORAGE_SQLITE:
        return config->sqlite_path;
    case STORAGE_MYSQL:
        break;
    }
    return "";
}

/* As it may be shown: a URL has a password in it. */
static void add_place(const struct storage_config *config, struct text *error)
{
    struct mysql_url url;
    const char *why = NULL;
    char server[300];
    if (config->engine != STORAGE_MYSQL) {
        text_add_json(error, slice_text(place_of(config)));
    } else if (config->mysql_url != NULL &&
               mysql_url_parse(config->mysql_url, &url, &why) == ERR_OK) {
        mysql_url_describe(&url, server, sizeof(server));
        mysql_url_fini(&url);
        text_add_json(error, slice_text(server));
    } else {
        text_add(error, "that storage.mysql names"); /* the broken URL is in the log */
    }
}

/* Starts an error: which store, and what about it. */
static struct text *start_error(const struct engine_type *type, const struct storage_config *config,
                                const char *what, struct text *error)
{
    text_printf(error, "%s the %s store ", what, type->name);
    add_place(config, error);
    text_add(error, ": ");
    return error;
}

enum err transfer__find_engine(const struct storage_config *config, const struct engine_type **type,
                               struct text *error)
{
    *type = engine_type_of(config->engine);
    if (*type == NULL) {
        text_add(error, "there is no store: storage.engine is memory, which keeps nothing");
        return ERR_INVALID;
    }
    return ERR_OK;
}

enum err transfer__find_store(const struct storage_config *config, struct text *error)
{
    struct stat status;
    bool on_disk = config->engine == STORAGE_WAL || config->engine == STORAGE_SQLITE;
    if (on_disk && stat(place_of(config), &status) != 0) {
        const char *reason = strerror(errno);
        text_add(start_error(engine_type_of(config->engine), config, "can't find", error), reason);
        return ERR_IO;
    }
    return ERR_OK;
}

enum err transfer__open(const struct engine_type *type, const struct storage_config *config,
                        struct storage_stats *stats, struct engine **out, struct text *error)
{
    enum err err = type->open(config, stats, out);
    if (err != ERR_OK) {
        text_add(start_error(type, config, "can't open", error), err_text(err));
        text_add(error, err == ERR_LOCKED ? " (a broker? stop it first)" : "");
    }
    return err;
}

void transfer__add_trouble(const struct engine *engine, const char *verb, enum err err,
                           struct text *error)
{
    text_printf(error, "can't %s the %s store: %s", verb, engine->type->name, err_text(err));
    if (engine->trouble[0] != '\0') {
        text_add(error, ": ");
        text_add_json(error, slice_text(engine->trouble));
    }
}

enum err transfer__io_error(const char *what, struct text *error)
{
    int code = errno;
    text_printf(error, "%s: %s", what, strerror(code));
    return code == ENOSPC || code == EDQUOT || code == EFBIG ? ERR_FULL : ERR_IO;
}

FILE *transfer__spool(struct text *error)
{
    const char *folder = getenv("TMPDIR");
    struct text path = {0};
    text_printf(&path, "%s/pulse-transfer-XXXXXX",
                folder == NULL || folder[0] == '\0' ? "/tmp" : folder);
    int fd = mkostemp(path.data, O_CLOEXEC);
    FILE *file = NULL;
    if (fd >= 0) {
        (void)unlink(path.data); /* a leftover file is all that can come of it */
        file = fdopen(fd, "w+");
    }
    if (file == NULL) {
        (void)transfer__io_error("can't make a temporary file", error);
        if (fd >= 0) {
            close(fd);
        }
    }
    text_fini(&path);
    return file;
}

static enum err grow(struct transfer_reader *reader, struct text *error)
{
    size_t cap = reader->cap == 0 ? 4096 : reader->cap * 2;
    char *data = mem_try_resize(reader->data, cap);
    if (data == NULL) {
        text_add(error, err_text(ERR_MEMORY));
        return ERR_MEMORY;
    }
    reader->data = data;
    reader->cap = cap;
    return ERR_OK;
}

enum err transfer__read_line(struct transfer_reader *reader, struct slice *line, struct text *error)
{
    size_t len = 0;
    enum err err = ERR_OK;
    reader->number++;
    int letter = getc_unlocked(reader->in);
    for (; letter != EOF && letter != '\n'; letter = getc_unlocked(reader->in)) {
        if (len == TRANSFER_LINE_MAX) {
            text_add(error, "the line is too long");
            return ERR_RANGE;
        }
        if (len == reader->cap) {
            err = grow(reader, error);
            if (err != ERR_OK) {
                return err;
            }
        }
        reader->data[len++] = (char)letter;
    }
    if (ferror(reader->in)) {
        return transfer__io_error("can't read", error);
    }
    bool end = letter == EOF && len == 0;
    *line = end ? slice_of(NULL, 0) : slice_of(len == 0 ? "" : reader->data, len);
    return ERR_OK;
}

void transfer__reader_fini(struct transfer_reader *reader)
{
    mem_free(reader->data);
    *reader = (struct transfer_reader){0};
}
