#include "storage/wal_manifest.h"

#include <errno.h>
#include <fcntl.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "storage/wal_dir.h"

#define CRC_DIGITS 8u

void wal_manifest_init(struct wal_manifest *manifest)
{
    *manifest = (struct wal_manifest){.first = 1};
}

void wal_manifest_fini(struct wal_manifest *manifest)
{
    mem_free(manifest->keep);
    *manifest = (struct wal_manifest){0};
}

enum err wal_manifest_keep(struct wal_manifest *manifest, uint64_t segment)
{
    ASSERT(manifest->keep_count == 0 || manifest->keep[manifest->keep_count - 1] < segment);
    if (manifest->keep_count == manifest->keep_cap) {
        size_t cap = manifest->keep_cap > 0 ? manifest->keep_cap * 2 : 16;
        uint64_t *keep = mem_try_resize(manifest->keep, cap * sizeof(*keep));
        if (keep == NULL) {
            return ERR_MEMORY;
        }
        manifest->keep = keep;
        manifest->keep_cap = cap;
    }
    manifest->keep[manifest->keep_count++] = segment;
    return ERR_OK;
}

bool wal_manifest_keeps(const struct wal_manifest *manifest, uint64_t segment)
{
    size_t low = 0, high = manifest->keep_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (manifest->keep[middle] == segment) {
            return true;
        }
        if (manifest->keep[middle] < segment) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

/* ---- text ------------------------------------------------------------------------------------ */

void wal_manifest_print(const struct wal_manifest *manifest, struct text *text)
{
    size_t start = text->len;
    text_printf(text, "pulse-wal %u\nsnapshot %llu\nfirst %llu\n", WAL_MANIFEST_VERSION,
                (unsigned long long)manifest->snapshot, (unsigned long long)manifest->first);
    for (size_t i = 0; i < manifest->keep_count; i++) {
        text_printf(text, "keep %llu\n", (unsigned long long)manifest->keep[i]);
    }
    text_printf(text, "crc %08x\n", crc32c(0, text->data + start, text->len - start));
}

/* Takes "<word> <decimal number>\n" off `text`. */
static bool take_line(struct slice *text, const char *word, uint64_t *value)
{
    size_t at = strlen(word);
    if (!slice_starts_with(*text, word) || at >= text->len || text->data[at] != ' ') {
        return false;
    }
    uint64_t sum = 0;
    size_t start = ++at;
    for (; at < text->len && text->data[at] >= '0' && text->data[at] <= '9'; at++) {
        uint64_t digit = (uint64_t)(text->data[at] - '0');
        if (sum > (UINT64_MAX - digit) / 10 || (at > start && sum == 0)) {
            return false;
        }
        sum = sum * 10 + digit;
    }
    if (at == start || at >= text->len || text->data[at] != '\n') {
        return false;
    }
    *text = slice_from(*text, at + 1);
    *value = sum;
    return true;
}

/* Takes the line with the CRC, which is the last one, off the end of `text`. */
static bool take_crc(struct slice *text)
{
    char line[sizeof("crc 00000000\n")];
    size_t len = sizeof(line) - 1;
    if (text->len < len) {
        return false;
    }
    struct slice body = slice_of(text->data, text->len - len);
    struct text wanted = text_fixed(line, sizeof(line));
    text_printf(&wanted, "crc %08x\n", crc32c(0, body.data, body.len));
    if (memcmp(text->data + body.len, line, len) != 0) {
        return false;
    }
    *text = body;
    return true;
}

static enum err parse_body(struct slice text, struct wal_manifest *manifest)
{
    uint64_t segment = 0;
    if (!take_line(&text, "snapshot", &manifest->snapshot) || manifest->snapshot > UINT32_MAX ||
        !take_line(&text, "first", &manifest->first) || manifest->first == 0) {
        return ERR_DAMAGED;
    }
    while (text.len > 0) {
        bool taken = take_line(&text, "keep", &segment);
        bool sorted =
            manifest->keep_count == 0 || manifest->keep[manifest->keep_count - 1] < segment;
        if (!taken || !sorted || segment == 0 || segment >= manifest->first) {
            return ERR_DAMAGED;
        }
        enum err err = wal_manifest_keep(manifest, segment);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

enum err wal_manifest_parse(struct slice text, struct wal_manifest *manifest)
{
    struct slice body = text;
    uint64_t version = 0;
    bool sound = take_crc(&body);
    if (!take_line(&body, "pulse-wal", &version) || version == 0) {
        return ERR_DAMAGED;
    }
    if (version > WAL_MANIFEST_VERSION) {
        return ERR_VERSION; /* its other lines, the CRC too, may look different */
    }
    if (!sound) {
        return ERR_DAMAGED;
    }
    struct wal_manifest parsed;
    wal_manifest_init(&parsed);
    enum err err = parse_body(body, &parsed);
    if (err != ERR_OK) {
        wal_manifest_fini(&parsed);
        return err;
    }
    wal_manifest_fini(manifest);
    *manifest = parsed;
    return ERR_OK;
}

/* ---- the file -------------------------------------------------------------------------------- */

static enum err read_whole(const struct files *files, int fd, uint8_t **data, size_t *len)
{
    off_t size = files->size(files->context, fd);
    if (size < 0 || size > WAL_MANIFEST_BYTES_MAX) {
        return size < 0 ? ERR_IO : ERR_DAMAGED;
    }
    *data = mem_try_alloc((size_t)size + 1);
    if (*data == NULL) {
        return ERR_MEMORY;
    }
    *len = 0;
    while (*len < (size_t)size) {
        ssize_t got =
            files->pread(files->context, fd, *data + *len, (size_t)size - *len, (off_t)*len);
        if (got < 0 && errno != EINTR) {
            return ERR_IO;
        }
        if (got == 0) {
            break;
        }
        *len += got > 0 ? (size_t)got : 0;
    }
    return ERR_OK;
}

enum err wal_manifest_read(const struct files *files, const char *dir,
                           struct wal_manifest *manifest, bool *found)
{
    char *path = wal_dir_path(dir, WAL_MANIFEST_NAME);
    int fd = files->open(files->context, path, O_RDONLY | O_CLOEXEC, 0);
    int error = errno;
    mem_free(path);
    *found = fd >= 0;
    if (fd < 0) {
        return error == ENOENT ? ERR_OK : ERR_IO;
    }
    uint8_t *data = NULL;
    size_t len = 0;
    enum err err = read_whole(files, fd, &data, &len);
    if (err == ERR_OK) {
        err = wal_manifest_parse(slice_of(data, len), manifest);
    }
    mem_free(data);
    (void)files->close(files->context, fd); /* it was only read */
    return err;
}

/* Writes and syncs the file under the name that doesn't count yet. */
static enum err write_tmp(const struct files *files, const char *path, struct slice text)
{
    int fd = files->open(files->context, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return wal_dir_err(errno);
    }
    enum err err = ERR_OK;
    size_t at = 0;
    while (err == ERR_OK && at < text.len) {
        ssize_t done = files->pwrite(files->context, fd, text.data + at, text.len - at, (off_t)at);
        if (done < 0 && errno != EINTR) {
            err = wal_dir_err(errno);
        } else if (done == 0) {
            err = ERR_IO;
        }
        at += done > 0 ? (size_t)done : 0;
    }
    if (err == ERR_OK && files->datasync(files->context, fd) != 0) {
        err = wal_dir_err(errno);
    }
    if (files->close(files->context, fd) != 0 && err == ERR_OK) {
        err = wal_dir_err(errno);
    }
    return err;
}

enum err wal_manifest_write(const struct files *files, const char *dir,
                            const struct wal_manifest *manifest)
{
    struct text text = {0};
    wal_manifest_print(manifest, &text);
    char *tmp = wal_dir_path(dir, WAL_MANIFEST_TMP);
    char *path = wal_dir_path(dir, WAL_MANIFEST_NAME);
    enum err err = write_tmp(files, tmp, slice_of(text.data, text.len));
    if (err == ERR_OK && (files->rename(files->context, tmp, path) != 0 ||
                          files->sync_directory(files->context, dir) != 0)) {
        err = wal_dir_err(errno);
    }
    mem_free(tmp);
    mem_free(path);
    text_fini(&text);
    return err;
}
