#include "node/auth/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

static enum err system_error(const char *path, struct text *error)
{
    text_printf(error, "%s: %s", path, strerror(errno));
    return ERR_IO;
}

/* Reads until the end, at most one byte more than allowed. */
static enum err read_all(int fd, struct secret_file *file)
{
    file->data = mem_try_alloc(SECRET_FILE_MAX + 1);
    if (file->data == NULL) {
        return ERR_MEMORY;
    }
    while (file->len <= SECRET_FILE_MAX) {
        ssize_t got = read(fd, file->data + file->len, SECRET_FILE_MAX + 1 - file->len);
        if (got == 0) {
            return ERR_OK;
        }
        if (got < 0 && errno != EINTR) {
            return ERR_IO;
        }
        file->len += got > 0 ? (size_t)got : 0;
    }
    return ERR_RANGE;
}

static enum err read_descriptor(int fd, struct secret_file *file, const char *path,
                                struct text *error)
{
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return system_error(path, error);
    }
    if (!S_ISREG(status.st_mode)) { /* a pipe could keep us waiting */
        text_printf(error, "%s: not a file", path);
        return ERR_IO;
    }
    file->open_to_all = (status.st_mode & S_IROTH) != 0;
    enum err err = read_all(fd, file);
    if (err == ERR_IO) {
        return system_error(path, error);
    }
    if (err == ERR_RANGE) {
        text_printf(error, "%s: larger than %u bytes", path, SECRET_FILE_MAX);
    } else if (err != ERR_OK) {
        text_printf(error, "%s: %s", path, err_text(err));
    }
    return err;
}

enum err secret_file_read(struct secret_file *file, const char *path, struct text *error)
{
    *file = (struct secret_file){.data = NULL};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return system_error(path, error);
    }
    enum err err = read_descriptor(fd, file, path, error);
    (void)close(fd); /* only read */
    if (err != ERR_OK) {
        secret_file_fini(file);
    }
    return err;
}

void secret_file_fini(struct secret_file *file)
{
    if (file->data != NULL) {
        OPENSSL_cleanse(file->data, file->len);
        mem_free(file->data);
    }
    *file = (struct secret_file){.data = NULL};
}

struct slice secret_file_line(const struct secret_file *file)
{
    size_t len = file->len;
    while (len > 0 && (file->data[len - 1] == '\n' || file->data[len - 1] == '\r')) {
        len--;
    }
    return slice_of(file->data, len);
}

void secret_file_warn(const struct secret_file *file, const char *path)
{
    if (file->open_to_all) {
        log_warning(LOG_AUTH, "everybody on this machine may read a file with a secret",
                    log_text("file", path));
    }
}
