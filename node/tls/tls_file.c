#include "node/tls/tls_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <sys/stat.h>
#include <unistd.h>

/* Revocation lists of large authorities are the longest of these files. */
#define FILE_BYTES_MAX (64 * 1024 * 1024)

static enum err complain(struct text *error, const char *name, const char *what)
{
    text_printf(error, "%s: %s", name, what);
    return ERR_IO;
}

static unsigned char *file_alloc(size_t size, bool secret)
{
    return secret ? OPENSSL_secure_zalloc(size) : OPENSSL_zalloc(size);
}

/* Reads until the end or until `size` bytes are there; -1: errno says why not. */
static ssize_t read_all(int fd, unsigned char *to, size_t size)
{
    size_t len = 0;
    while (len < size) {
        ssize_t more = read(fd, to + len, size - len);
        if (more < 0 && errno == EINTR) {
            continue;
        }
        if (more < 0) {
            return -1;
        }
        if (more == 0) {
            break;
        }
        len += (size_t)more;
    }
    return (ssize_t)len;
}

static enum err read_open_file(int fd, const char *name, bool secret, struct tls_file *file,
                               struct text *error)
{
    struct stat facts;
    if (fstat(fd, &facts) != 0) {
        return complain(error, name, strerror(errno));
    }
    if (!S_ISREG(facts.st_mode) || facts.st_size > FILE_BYTES_MAX) {
        return complain(error, name, "not a file, or too long");
    }
    size_t size = (size_t)facts.st_size + 1;
    unsigned char *data = file_alloc(size, secret);
    if (data == NULL) {
        ERR_clear_error();
        return complain(error, name, "too long");
    }
    ssize_t len = read_all(fd, data, size - 1);
    *file = (struct tls_file){.data = data,
                              .len = len > 0 ? (size_t)len : 0,
                              .size = size,
                              .mode = facts.st_mode,
                              .secret = secret};
    if (len < 0) {
        tls__file_fini(file);
        return complain(error, name, strerror(errno));
    }
    return ERR_OK;
}

enum err tls__file_read(const char *name, bool secret, struct tls_file *file, struct text *error)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe does not hold us up */
    if (fd < 0) {
        return complain(error, name, strerror(errno));
    }
    enum err err = read_open_file(fd, name, secret, file, error);
    close(fd);
    return err;
}

void tls__file_fini(struct tls_file *file)
{
    if (file->secret) {
        OPENSSL_secure_clear_free(file->data, file->size);
    } else {
        OPENSSL_free(file->data);
    }
    *file = (struct tls_file){.data = NULL};
}
