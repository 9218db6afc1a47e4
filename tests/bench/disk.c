/*
 * disk: what it takes to make a few bytes safe on this disk: the floor of a strict acknowledgement.
 *
 * Owns      --file while it runs; it stays for the next run, which then finds it in place. (Making
 *           one, and removing one, keeps the file system busy for a while after.)
 * Thread    main.
 * Errors    loop_fail().
 * Source    fdatasync(2). The file is written with zeros first: syncing one that grows also commits
 *           the file system's journal, which no log does that cares about latency.
 */
#include "tests/bench/histogram.h"
#include "tests/bench/scenario.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_BYTES = 16 * 1024 * 1024, ZEROS_BYTES = 1024 * 1024 };

static bool write_whole(int fd, const uint8_t *bytes, size_t len, off_t at)
{
    return pwrite(fd, bytes, len, at) == (ssize_t)len;
}

static bool fill_with_zeros(int fd)
{
    static const uint8_t zeros[ZEROS_BYTES];
    for (off_t at = 0; at < FILE_BYTES; at += ZEROS_BYTES) {
        if (!write_whole(fd, zeros, ZEROS_BYTES, at)) {
            return false;
        }
    }
    return fsync(fd) == 0;
}

/* How long this thread has waited for a core so far: on a busy machine that is no fault of the
 * disk. 0 where the kernel does not say. */
static uint64_t delay_ns(int schedule_fd)
{
    char text[96];
    unsigned long long running = 0;
    unsigned long long delay = 0;
    ssize_t len = schedule_fd < 0 ? -1 : pread(schedule_fd, text, sizeof(text) - 1, 0);
    if (len <= 0) {
        return 0;
    }
    text[len] = 0;
    return sscanf(text, "%llu %llu", &running, &delay) == 2 ? delay : 0;
}

static bool measure(struct bench *bench, int fd, const uint8_t *record, size_t len)
{
    struct histogram *histogram = calloc(1, sizeof(*histogram));
    if (histogram == NULL) {
        return false;
    }
    int schedule_fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    off_t at = 0;
    uint64_t done = 0;
    bool is_good = true;
    scenario_begin(bench);
    while (is_good && done < bench->options->count) {
        uint64_t delayed_ns = delay_ns(schedule_fd);
        uint64_t start_ns = loop_clock(&bench->loop);
        is_good = write_whole(fd, record, len, at) && fdatasync(fd) == 0;
        uint64_t took_ns = loop_clock(&bench->loop) - start_ns;
        delayed_ns = delay_ns(schedule_fd) - delayed_ns;
        histogram_record(histogram, took_ns > delayed_ns ? took_ns - delayed_ns : 0);
        at = at + 2 * (off_t)len > FILE_BYTES ? 0 : at + (off_t)len;
        done++;
    }
    scenario_end(bench, done);
    bench->outcome.latency = scenario_latency(histogram);
    if (schedule_fd >= 0) {
        close(schedule_fd);
    }
    free(histogram);
    return is_good;
}

/* Gives the descriptor of a file of FILE_BYTES, or -1. */
static int open_file(struct loop *loop, const char *path)
{
    struct stat stat;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || fstat(fd, &stat) != 0) {
        loop_fail(loop, "cannot open %s: %s", path, strerror(errno));
    } else if (stat.st_size == 0 && !fill_with_zeros(fd)) {
        loop_fail(loop, "cannot write %s: %s", path, strerror(errno));
    } else if (stat.st_size != 0 && stat.st_size != FILE_BYTES) {
        loop_fail(loop, "%s is not of an earlier run: it would be overwritten", path);
    } else {
        return fd;
    }
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

void disk_run(struct bench *bench)
{
    const char *path = bench->options->file;
    size_t len = (size_t)bench->options->payload;
    bench->outcome.unit = "sync";
    int fd = open_file(&bench->loop, path);
    if (fd < 0) {
        return;
    }
    uint8_t *record = malloc(len);
    if (record == NULL) {
        loop_fail(&bench->loop, "out of memory");
    } else {
        memset(record, 'r', len);
        if (!measure(bench, fd, record, len)) {
            loop_fail(&bench->loop, "cannot write %s: %s", path, strerror(errno));
        }
    }
    free(record);
    close(fd);
}
