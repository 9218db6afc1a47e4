#include "tests/crash/filler.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void filler_init(struct filler *filler, const char *dir)
{
    snprintf(filler->path, sizeof(filler->path), "%s/filler", dir);
    filler->fd = -1;
}

void filler_fill(struct filler *filler)
{
    static const char zeros[4096];
    if (filler->fd < 0) {
        filler->fd = open(filler->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (filler->fd < 0) {
            perror(filler->path);
            exit(2);
        }
    }
    while (write(filler->fd, zeros, sizeof(zeros)) > 0) {
    }
}

void filler_free(struct filler *filler)
{
    if (filler->fd >= 0) {
        close(filler->fd);
        unlink(filler->path);
        filler->fd = -1;
    }
}
