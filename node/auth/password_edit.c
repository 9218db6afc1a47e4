#include "node/auth/password_edit.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/auth/password_file.h"

/* ---- the new text ---------------------------------------------------------------------------- */

static void add_user(struct text *out, const struct password_change *change, struct slice groups)
{
    text_add_bytes(out, change->username.data, change->username.len);
    text_add(out, ":");
    password_print(change->hash, out);
    if (groups.len > 0) {
        text_add(out, ":");
        text_add_bytes(out, groups.data, groups.len);
    }
    text_add(out, "\n");
}

/* A line as it was, or what comes in its place. */
static void add_line(struct text *out, const struct password_change *change,
                     const struct password_file_entry *entry, bool *found)
{
    if (!entry->is_user || !slice_equal(entry->username, change->username)) {
        text_add_bytes(out, entry->line.data, entry->line.len);
        text_add(out, "\n");
        return;
    }
    *found = true;
    if (change->hash != NULL) {
        add_user(out, change, change->groups != NULL ? *change->groups : entry->groups);
    }
}

static enum err change_text(struct slice old, const char *path,
                            const struct password_change *change, struct text *out, size_t *left,
                            struct text *error)
{
    struct password_file_reader reader = {.rest = old, .name = path};
    struct password_file_entry entry;
    bool found = false;
    bool more = true;
    *left = 0;
    while (more) {
        enum err err = password_file_next(&reader, &entry, &more, error);
        if (err != ERR_OK) {
            return err;
        }
        if (more) {
            add_line(out, change, &entry, &found);
            *left += entry.is_user;
        }
    }
    OPENSSL_cleanse(&entry, sizeof(entry));
    if (change->hash == NULL) {
        *left -= found;
    } else if (!found) {
        add_user(out, change, change->groups != NULL ? *change->groups : slice_of(NULL, 0));
        (*left)++;
    }
    if (change->hash == NULL && !found) {
        text_printf(error, "%s: there is no such user", path);
        return ERR_INVALID;
    }
    return ERR_OK;
}

/* ---- the new file ---------------------------------------------------------------------------- */

static enum err complain(const char *what, const char *path, struct text *error)
{
    text_printf(error, "cannot %s %s: %s", what, path, strerror(errno));
    return ERR_IO;
}

static bool write_all(int fd, struct slice text)
{
    while (text.len > 0) {
        ssize_t written = write(fd, text.data, text.len);
        if (written < 0 && errno != EINTR) {
            return false;
        }
        text = slice_from(text, written > 0 ? (size_t)written : 0);
    }
    return true;
}

/* Owner and permissions of the old file, if there is one. */
static bool take_after(int fd, const char *path)
{
    struct stat old;
    struct stat made;
    if (stat(path, &old) != 0) {
        return errno == ENOENT;
    }
    if (fstat(fd, &made) != 0) {
        return false;
    }
    bool same_owner = made.st_uid == old.st_uid && made.st_gid == old.st_gid;
    return (same_owner || fchown(fd, old.st_uid, old.st_gid) == 0) &&
           fchmod(fd, old.st_mode & 07777) == 0;
}

static enum err replace(const char *path, struct slice text, struct text *error)
{
    struct text name = {0};
    enum err err = ERR_OK;
    text_printf(&name, "%s.XXXXXX", path);
    int fd = mkostemp(name.data, O_CLOEXEC);
    if (fd < 0) {
        err = complain("write a file beside", path, error);
        text_fini(&name);
        return err;
    }
    bool written = take_after(fd, path) && write_all(fd, text) && fsync(fd) == 0;
    written = (close(fd) == 0) && written;
    if (!written || rename(name.data, path) != 0) {
        err = complain("write", path, error);
        (void)unlink(name.data); /* it is the failure before that counts */
    }
    text_fini(&name);
    return err;
}

/* Opens and locks the folder of `path`. Below 0: it can't. */
static int lock_folder(const char *path)
{
    char *copy = mem_copy_text(path, strlen(path));
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    mem_free(copy);
    if (fd >= 0 && flock(fd, LOCK_EX) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static enum err change_file(const char *path, const struct password_change *change, size_t *left,
                            struct text *error)
{
    struct slice old = {0};
    struct text text = {0};
    bool open_to_all = false;
    enum err err = ERR_OK;
    if (change->hash == NULL || access(path, F_OK) == 0) {
        err = password_file_read(path, &old, &open_to_all, error);
    }
    if (err == ERR_OK) {
        err = change_text(old, path, change, &text, left, error);
    }
    if (err == ERR_OK) {
        err = replace(path, slice_of(text.data, text.len), error);
    }
    password_file_free(old);
    if (text.data != NULL) {
        OPENSSL_cleanse(text.data, text.len);
    }
    text_fini(&text);
    return err;
}

enum err password_file_change(const char *path, const struct password_change *change, size_t *left,
                              struct text *error)
{
    char *resolved = realpath(path, NULL); /* a link stays one */
    const char *real = resolved != NULL ? resolved : path;
    int folder = lock_folder(real);
    enum err err = ERR_OK;
    if (folder < 0) {
        err = complain("open the folder of", path, error);
    } else {
        err = change_file(real, change, left, error);
        if (err == ERR_OK && fsync(folder) != 0) {
            err = complain("sync the folder of", path, error);
        }
        close(folder);
    }
    free(resolved);
    return err;
}
