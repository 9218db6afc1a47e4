#include "base/whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static enum err complain(enum err err, const char *path, const char *why, struct text *error)
{
    text_printf(error, "%s: %s", path, why);
    return err;
}

/* Reads until the end, or until `size` bytes are there. False: errno says why not. */
static bool read_all(int fd, struct whole_file *file, size_t size)
{
    while (file->len < size) {
        ssize_t got = read(fd, file->data + file->len, size - file->len);
        if (got == 0) {
            return true;
        }
        if (got < 0 && errno != EINTR) {
            return false;
        }
        file->len += got > 0 ? (size_t)got : 0;
    }
    return true;
}

static enum err read_descriptor(struct whole_file *file, int fd, const char *path, size_t bytes_max,
                                struct text *error)
{
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return complain(ERR_IO, path, strerror(errno), error);
    }
    if (!S_ISREG(status.st_mode)) {
        return complain(ERR_IO, path, "not a file", error);
    }
    if ((uint64_t)status.st_size > bytes_max) {
        text_printf(error, "%s: larger than %zu bytes", path, bytes_max);
        return ERR_RANGE;
    }
    size_t size = (size_t)status.st_size + 1; /* one more shows a file that grows meanwhile */
    file->data = mem_try_alloc(size);
    if (file->data == NULL) {
        return complain(ERR_MEMORY, path, err_text(ERR_MEMORY), error);
    }
    if (!read_all(fd, file, size)) {
        return complain(ERR_IO, path, strerror(errno), error);
    }
    if (file->len == size) {
        return complain(ERR_IO, path, "it grew while it was read", error);
    }
    file->data[file->len] = '\0';
    file->open_to_all = (status.st_mode & S_IROTH) != 0;
    return ERR_OK;
}

enum err whole_file_read(struct whole_file *file, const char *path, size_t bytes_max,
                         struct text *error)
{
    *file = (struct whole_file){.data = NULL};
    /* A pipe would keep us waiting until somebody writes to it. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return complain(ERR_IO, path, strerror(errno), error);
    }
    enum err err = read_descriptor(file, fd, path, bytes_max, error);
    (void)close(fd); /* only read */
    if (err != ERR_OK) {
        whole_file_fini(file);
    }
    return err;
}

void whole_file_fini(struct whole_file *file)
{
    if (file->data != NULL) {
        explicit_bzero(file->data, file->len);
        mem_free(file->data);
    }
    *file = (struct whole_file){.data = NULL};
}

struct slice whole_file_line(const struct whole_file *file)
{
    size_t len = file->len;
    while (len > 0 && (file->data[len - 1] == '\n' || file->data[len - 1] == '\r')) {
        len--;
    }
    return slice_of(file->data, len);
}
