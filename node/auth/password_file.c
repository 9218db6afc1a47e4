#include "node/auth/password_file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "codec/topic.h"

/* ---- what may stand in it -------------------------------------------------------------------- */

static bool has_control(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < 0x20 || text.data[i] == 0x7f) {
            return true;
        }
    }
    return false;
}

const char *password_file_check_username(struct slice username)
{
    if (username.len == 0) {
        return "the user name is empty";
    }
    if (username.len > PASSWORD_FILE_NAME_MAX) {
        return "the user name is longer than 1000 bytes";
    }
    if (memchr(username.data, ':', username.len) != NULL) {
        return "the user name has a colon in it";
    }
    if (username.data[0] == '#') {
        return "the user name begins with #";
    }
    return !utf8_valid(username) || has_control(username)
               ? "the user name is not UTF-8, or has control characters in it"
               : NULL;
}

/* A group has neither blanks nor commas, so that a list of them can be read in one way only. */
const char *password_file_check_groups(struct slice groups)
{
    if (groups.len > PASSWORD_FILE_GROUPS_MAX) {
        return "the groups are longer than 1000 bytes";
    }
    if (!utf8_valid(groups) || has_control(groups)) {
        return "the groups are not UTF-8, or have control characters in them";
    }
    uint8_t before = ',';
    for (size_t i = 0; i < groups.len; i++) {
        if (groups.data[i] == ' ' || groups.data[i] == ':') {
            return "a group has a blank or a colon in it";
        }
        if (groups.data[i] == ',' && before == ',') {
            return "a group is empty";
        }
        before = groups.data[i];
    }
    return groups.len > 0 && before == ',' ? "a group is empty" : NULL;
}

/* ---- lines ----------------------------------------------------------------------------------- */

static struct slice cut_line(struct slice *rest)
{
    const uint8_t *end = memchr(rest->data, '\n', rest->len);
    struct slice line = slice_of(rest->data, end != NULL ? (size_t)(end - rest->data) : rest->len);
    *rest = slice_from(*rest, end != NULL ? line.len + 1 : line.len);
    if (line.len > 0 && line.data[line.len - 1] == '\r') {
        line.len--;
    }
    return line;
}

static bool is_blank(struct slice line)
{
    for (size_t i = 0; i < line.len; i++) {
        if (line.data[i] != ' ' && line.data[i] != '\t') {
            return false;
        }
    }
    return true;
}

static enum err complain(const struct password_file_reader *reader, const char *what,
                         struct text *error)
{
    text_printf(error, "%s:%zu: %s", reader->name, reader->line, what);
    return ERR_SYNTAX;
}

static enum err read_hash(const struct password_file_reader *reader, struct slice text,
                          struct password_hash *hash, struct text *error)
{
    struct text why = {0};
    enum err err = password_parse(text, hash, &why);
    if (err != ERR_OK) {
        text_printf(error, "%s:%zu: %s", reader->name, reader->line, why.data);
    }
    text_fini(&why);
    return err;
}

/* user:hash or user:hash:groups; none of our hashes has a colon in it. */
static enum err read_user(const struct password_file_reader *reader,
                          struct password_file_entry *entry, struct text *error)
{
    struct slice line = entry->line;
    const uint8_t *colon = memchr(line.data, ':', line.len);
    if (colon == NULL) {
        return complain(reader, "expected user:hash or user:hash:groups", error);
    }
    entry->username = slice_of(line.data, (size_t)(colon - line.data));
    const char *wrong = password_file_check_username(entry->username);
    if (wrong != NULL) {
        return complain(reader, wrong, error);
    }
    struct slice hash = slice_from(line, entry->username.len + 1);
    const uint8_t *second = hash.len > 0 ? memchr(hash.data, ':', hash.len) : NULL;
    if (second != NULL) {
        size_t len = (size_t)(second - hash.data);
        entry->groups = slice_from(hash, len + 1);
        hash.len = len;
        wrong = password_file_check_groups(entry->groups);
        if (wrong != NULL) {
            return complain(reader, wrong, error);
        }
    }
    return read_hash(reader, hash, &entry->hash, error);
}

enum err password_file_next(struct password_file_reader *reader, struct password_file_entry *entry,
                            bool *more, struct text *error)
{
    *entry = (struct password_file_entry){.is_user = false};
    *more = reader->rest.len > 0;
    if (!*more) {
        return ERR_OK;
    }
    reader->line++;
    entry->line = cut_line(&reader->rest);
    if (is_blank(entry->line) || entry->line.data[0] == '#') {
        return ERR_OK;
    }
    if (entry->line.len > PASSWORD_FILE_LINE_MAX) {
        return complain(reader, "the line is longer than 4096 bytes", error);
    }
    entry->is_user = true;
    return read_user(reader, entry, error);
}

/* ---- the file -------------------------------------------------------------------------------- */

static enum err cannot_read(const char *path, const char *why, struct text *error)
{
    text_printf(error, "cannot read the password file %s: %s", path, why);
    return ERR_IO;
}

/* Reads exactly `size` bytes, or what there is. */
static ssize_t read_all(int fd, uint8_t *bytes, size_t size)
{
    size_t len = 0;
    while (len < size) {
        ssize_t got = read(fd, bytes + len, size - len);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return -1;
        }
        if (got == 0) {
            break;
        }
        len += (size_t)got;
    }
    return (ssize_t)len;
}

static enum err read_open_file(int fd, const char *path, struct slice *text, bool *open_to_all,
                               struct text *error)
{
    struct stat info;
    if (fstat(fd, &info) != 0) {
        return cannot_read(path, strerror(errno), error);
    }
    if (!S_ISREG(info.st_mode)) {
        return cannot_read(path, "not a file", error);
    }
    if (info.st_size > (off_t)PASSWORD_FILE_BYTES_MAX) {
        return cannot_read(path, "larger than 256 MiB", error);
    }
    size_t size = (size_t)info.st_size;
    uint8_t *bytes = mem_try_alloc(size + 1);
    if (bytes == NULL) {
        return cannot_read(path, "out of memory", error);
    }
    ssize_t len = read_all(fd, bytes, size);
    if (len < 0) {
        mem_free(bytes);
        return cannot_read(path, strerror(errno), error);
    }
    *text = slice_of(bytes, (size_t)len);
    *open_to_all = (info.st_mode & S_IROTH) != 0;
    return ERR_OK;
}

enum err password_file_read(const char *path, struct slice *text, bool *open_to_all,
                            struct text *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe is not to be waited for */
    if (fd < 0) {
        return cannot_read(path, strerror(errno), error);
    }
    enum err err = read_open_file(fd, path, text, open_to_all, error);
    close(fd);
    return err;
}

void password_file_free(struct slice text)
{
    if (text.data != NULL) {
        uint8_t *bytes = (uint8_t *)(uintptr_t)text.data;
        OPENSSL_cleanse(bytes, text.len);
        mem_free(bytes);
    }
}
