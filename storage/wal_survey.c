#include "storage/wal_survey_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/mem.h"

/* Only what has exactly the name that a segment gets: a copy called log.7 would be taken for
 * another one of number 7. */
static void add_name(void *argument, const char *name)
{
    struct wal_survey *survey = argument;
    char path[WAL_PATH_BYTES];
    uint64_t number;
    if (!wal_name_parse(name, "log.", &number) || number == 0) {
        return;
    }
    wal_segment_path(path, ".", number);
    if (strcmp(path + 2, name) == 0) {
        wal_survey_add(survey, &(struct wal_file){.number = number});
    }
}

static enum err read_header(const struct files *files, int fd, struct wal_file *file)
{
    off_t size = files->size(files->context, fd);
    if (size < 0) {
        return ERR_IO;
    }
    uint8_t *bytes;
    size_t len;
    size_t unreadable; /* shows as a header that is not valid */
    enum err err = wal_read_file(files, fd, WAL_FRAMES_AT, &bytes, &len, &unreadable);
    if (err != ERR_OK) {
        return err;
    }
    file->file_bytes = (uint64_t)size;
    err = wal_segment_header_decode(slice_of(bytes, len), file->number, &file->header);
    file->alive = err == ERR_OK;
    mem_free(bytes);
    return err == ERR_VERSION ? ERR_VERSION : ERR_OK;
}

static enum err look_into(const struct wal_survey *survey, struct wal_file *file)
{
    const struct files *files = survey->files;
    char path[WAL_PATH_BYTES];
    wal_segment_path(path, survey->dir, file->number);
    int fd = files->open(files->context, path, O_RDONLY, 0);
    if (fd < 0) {
        /* a log that is open at the same time may have dropped it since it was listed */
        return errno == ENOENT ? ERR_OK : ERR_IO;
    }
    enum err err = read_header(files, fd, file);
    (void)files->close(files->context, fd); /* it was only read */
    return err;
}

/* The highest segment up to `number` that is alive and not below `first`; NULL: none. */
static struct wal_file *highest_alive(const struct wal_survey *survey, uint64_t number,
                                      uint64_t first)
{
    for (uint32_t i = survey->count; i > 0; i--) {
        struct wal_file *file = &survey->list[i - 1];
        if (file->alive && file->number <= number && file->number >= first) {
            return file;
        }
    }
    return NULL;
}

/* Where a segment of the chain is missing, the next lower one goes on with it. */
static void mark_chain(const struct wal_survey *survey, uint64_t first)
{
    struct wal_file *file = highest_alive(survey, UINT64_MAX, first);
    while (file != NULL) {
        file->chained = true;
        uint64_t previous = file->header.previous;
        file = previous > 0 ? highest_alive(survey, previous, first) : NULL;
    }
}

enum err wal_survey_init(struct wal_survey *survey, const struct files *files, const char *dir,
                         uint64_t first)
{
    *survey = (struct wal_survey){.files = files, .dir = dir};
    if (files->list(files->context, dir, add_name, survey) != 0) {
        return ERR_IO;
    }
    for (uint32_t i = 0; i < survey->count; i++) {
        enum err err = look_into(survey, &survey->list[i]);
        if (err != ERR_OK) {
            return err;
        }
    }
    mark_chain(survey, first);
    return ERR_OK;
}

void wal_survey_fini(struct wal_survey *survey)
{
    mem_free(survey->list);
    survey->list = NULL;
    survey->count = 0;
}

void wal_survey_add(struct wal_survey *survey, const struct wal_file *file)
{
    survey->list = mem_grow(survey->list, survey->count, &survey->cap, sizeof(struct wal_file));
    uint32_t at = survey->count++;
    for (; at > 0 && survey->list[at - 1].number > file->number; at--) {
        survey->list[at] = survey->list[at - 1];
    }
    survey->list[at] = *file;
}

struct wal_file *wal_survey_find(const struct wal_survey *survey, uint64_t number)
{
    for (uint32_t i = 0; i < survey->count; i++) {
        if (survey->list[i].number == number) {
            return &survey->list[i];
        }
    }
    return NULL;
}
