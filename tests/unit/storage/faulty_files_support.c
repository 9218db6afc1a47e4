#include "tests/unit/storage/faulty_files_support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

#define FIRST_FD 1000
#define NAMES_MAX 1000

static bool in_folder(const char *path, const char *folder)
{
    size_t len = strlen(folder);
    return strncmp(path, folder, len) == 0 && path[len] == '/' &&
           strchr(path + len + 1, '/') == NULL;
}

static struct faulty_node *node_of(struct faulty_files *faulty, int fd)
{
    size_t index = (size_t)(fd - FIRST_FD);
    ASSERT(fd >= FIRST_FD && index < faulty->open_count && faulty->open[index] != NULL);
    return faulty->open[index];
}

uint64_t faulty_files_bytes(struct faulty_files *faulty)
{
    uint64_t bytes = 0;
    for (struct faulty_entry *entry = faulty->disk.entries; entry != NULL; entry = entry->next) {
        bytes += entry->node->len;
    }
    return bytes;
}

/* ---- each call ------------------------------------------------------------------------------- */

static struct faulty_files *enter(void *context)
{
    struct faulty_files *faulty = context;
    (void)pthread_mutex_lock(&faulty->mutex);
    return faulty;
}

static int leave(struct faulty_files *faulty, int error)
{
    (void)pthread_mutex_unlock(&faulty->mutex);
    errno = error;
    return error == 0 ? 0 : -1;
}

/* Counts the call; the errno with which it fails, or 0. */
static int fate(struct faulty_files *faulty, enum faulty_call call)
{
    unsigned number = ++faulty->calls;
    faulty->calls_of[call]++;
    if (faulty->frozen_at != 0 && number >= faulty->frozen_at) {
        return EIO;
    }
    if ((faulty->broken & BIT(call)) != 0) {
        return EIO;
    }
    if (faulty->fail_at != 0 && number >= faulty->fail_at &&
        number - faulty->fail_at < faulty->fail_count) {
        faulty->failed++;
        return faulty->error;
    }
    return 0;
}

static bool is_frozen(const struct faulty_files *faulty)
{
    return faulty->frozen_at != 0 && faulty->calls >= faulty->frozen_at;
}

static int give_fd(struct faulty_files *faulty, struct faulty_node *node)
{
    size_t index = 0;
    while (index < faulty->open_count && faulty->open[index] != NULL) {
        index++;
    }
    if (index == faulty->open_count) {
        faulty->open_count++;
        faulty->open = realloc(faulty->open, faulty->open_count * sizeof(*faulty->open));
        ASSERT(faulty->open != NULL);
    }
    faulty->open[index] = node;
    return FIRST_FD + (int)index;
}

static int do_open(void *context, const char *path, int flags, mode_t mode)
{
    (void)mode;
    struct faulty_files *faulty = enter(context);
    int error = fate(faulty, CALL_OPEN);
    struct faulty_node *node = faulty_disk_find(&faulty->disk, path);
    if (error == 0 && node == NULL && (flags & O_CREAT) == 0) {
        error = ENOENT;
    }
    if (error == 0 && node != NULL && (flags & O_EXCL) != 0) {
        error = EEXIST;
    }
    if (error != 0) {
        return leave(faulty, error);
    }
    if (node == NULL) {
        node = faulty_disk_create(&faulty->disk, path);
    }
    if ((flags & O_TRUNC) != 0) {
        faulty_node_resize(node, 0);
    }
    int fd = give_fd(faulty, node);
    (void)leave(faulty, 0);
    return fd;
}

static int do_close(void *context, int fd)
{
    struct faulty_files *faulty = enter(context);
    int error = fate(faulty, CALL_CLOSE);
    (void)node_of(faulty, fd);
    faulty->open[fd - FIRST_FD] = NULL; /* also when it fails */
    return leave(faulty, error);
}

static bool is_bad_spot(struct faulty_files *faulty, const struct faulty_node *node, off_t start,
                        off_t end)
{
    if (faulty->bad_path == NULL || start >= faulty->bad_to || end <= faulty->bad_from ||
        node != faulty_disk_find(&faulty->disk, faulty->bad_path)) {
        return false;
    }
    if (faulty->bad_times == 1) {
        faulty->bad_path = NULL; /* that was the last time */
    }
    faulty->bad_times -= faulty->bad_times > 0 ? 1 : 0;
    return true;
}

static ssize_t do_pread(void *context, int fd, void *data, size_t len, off_t at)
{
    struct faulty_files *faulty = enter(context);
    int error = fate(faulty, CALL_READ);
    struct faulty_node *node = node_of(faulty, fd);
    if (error == 0 && is_bad_spot(faulty, node, at, at + (off_t)len)) {
        error = EIO;
    }
    if (error != 0) {
        return leave(faulty, error);
    }
    size_t start = (size_t)at < node->len ? (size_t)at : node->len;
    size_t count = node->len - start < len ? node->len - start : len;
    if (count > 0) {
        memcpy(data, node->data + start, count);
    }
    (void)leave(faulty, 0);
    return (ssize_t)count;
}

static ssize_t do_pwrite(void *context, int fd, const void *data, size_t len, off_t at)
{
    struct faulty_files *faulty = enter(context);
    int error = fate(faulty, CALL_WRITE);
    struct faulty_node *node = node_of(faulty, fd);
    size_t end = (size_t)at + len;
    uint64_t growth = end > node->len ? end - node->len : 0;
    if (error == 0 && faulty_files_bytes(faulty) + growth > faulty->room) {
        uint64_t over = faulty_files_bytes(faulty) + growth - faulty->room;
        len = over < len ? len - (size_t)over : 0; /* as much as there is room for */
        error = len == 0 ? ENOSPC : 0;
    } else if (error != 0 && faulty->torn && !is_frozen(faulty) && len > 1) {
        len /= 2; /* a short write; the next call goes on failing, or not */
        error = 0;
    }
    if (error == 0) {
        faulty_node_put(node, data, len, (size_t)at);
    }
    (void)leave(faulty, error);
    return error == 0 ? (ssize_t)len : -1;
}

static off_t do_size(void *context, int fd)
{
    struct faulty_files *faulty = enter(context);
    int error = fate(faulty, CALL_SIZE);
    off_t size = (off_t)node_of(faulty, fd)->len;
    (void)leave(faulty, error);
    return error == 0 ? size : -1;
}

static int do_datasync(void *context, int fd)
{
    struct faulty_files *faulty = enter(context);
    int error = fate(faulty, CALL_DATASYNC);
    struct faulty_node *node = node_of(faulty, fd);
    if (error == 0) {
        faulty_node_sync(node);
    } else if (!is_frozen(faulty)) {
        faulty_node_forget_dirty(node); /* nobody tries again to write it */
    }
    return leave(faulty, error);
}

static int do_lock(void *context, int fd)
{
    struct faulty_files *faulty = enter(context);
    int error = fate(faulty, CALL_LOCK);
    struct faulty_node *node = node_of(faulty, fd);
    for (size_t i = 0; i < faulty->open_count && error == 0; i++) {
        if (faulty->open[i] == node && (int)i != fd - FIRST_FD) {
            error = EWOULDBLOCK; /* whoever opens a file that is locked, locks it */
        }
    }
    return leave(faulty, error);
}

static int do_mkdir(void *context, const char *path, mode_t mode)
{
    (void)mode;
    struct faulty_files *faulty = enter(context);
    int error = fate(faulty, CALL_MKDIR);
    if (error == 0 && faulty_disk_find(&faulty->disk, path) != NULL) {
        error = EEXIST;
    }
    if (error == 0) {
        faulty_disk_create(&faulty->disk, path)->folder = true;
    }
    return leave(faulty, error);
}

/* The names are copied first: whoever gets them makes calls. */
static int do_list(void *context, const char *path, files_name_fn each, void *argument)
{
    struct faulty_files *faulty = enter(context);
    int error = fate(faulty, CALL_LIST);
    char *names[NAMES_MAX];
    size_t count = 0;
    for (struct faulty_entry *entry = faulty->disk.entries; entry != NULL && error == 0;
         entry = entry->next) {
        if (in_folder(entry->path, path)) {
            ASSERT(count < NAMES_MAX);
            names[count] = strdup(entry->path + strlen(path) + 1);
            ASSERT(names[count] != NULL);
            count++;
        }
    }
    (void)leave(faulty, error);
    for (size_t i = 0; i < count; i++) {
        each(argument, names[i]);
        free(names[i]);
    }
    errno = error;
    return error == 0 ? 0 : -1;
}

static int do_sync_directory(void *context, const char *path)
{
    (void)path; /* tests have one folder, or can take it that all are synced */
    struct faulty_files *faulty = enter(context);
    int error = fate(faulty, CALL_SYNC_DIRECTORY);
    if (error == 0) {
        faulty_disk_sync_names(&faulty->disk);
    }
    return leave(faulty, error);
}

static int do_rename(void *context, const char *from, const char *to)
{
    struct faulty_files *faulty = enter(context);
    int error = fate(faulty, CALL_RENAME);
    if (error == 0 && faulty_disk_find(&faulty->disk, from) == NULL) {
        error = ENOENT;
    }
    if (error == 0) {
        faulty_disk_rename(&faulty->disk, from, to);
    }
    return leave(faulty, error);
}

static int do_unlink(void *context, const char *path)
{
    struct faulty_files *faulty = enter(context);
    int error = fate(faulty, CALL_UNLINK);
    if (error == 0 && faulty_disk_find(&faulty->disk, path) == NULL) {
        error = ENOENT;
    }
    if (error == 0) {
        faulty_disk_unlink(&faulty->disk, path);
    }
    return leave(faulty, error);
}

/* The same numbers in each run. */
static int do_random(void *context, void *data, size_t len)
{
    struct faulty_files *faulty = enter(context);
    int error = fate(faulty, CALL_RANDOM);
    for (size_t i = 0; i < len; i++) {
        faulty->random = faulty->random * 6364136223846793005u + 1442695040888963407u;
        ((uint8_t *)data)[i] = (uint8_t)(faulty->random >> 56);
    }
    return leave(faulty, error);
}

/* ---- the test's side ------------------------------------------------------------------------- */

void faulty_files_init(struct faulty_files *faulty)
{
    *faulty = (struct faulty_files){.files = {.context = faulty,
                                              .open = do_open,
                                              .close = do_close,
                                              .pread = do_pread,
                                              .pwrite = do_pwrite,
                                              .size = do_size,
                                              .datasync = do_datasync,
                                              .lock = do_lock,
                                              .mkdir = do_mkdir,
                                              .list = do_list,
                                              .sync_directory = do_sync_directory,
                                              .rename = do_rename,
                                              .unlink = do_unlink,
                                              .random = do_random},
                                    .room = UINT64_MAX};
    (void)pthread_mutex_init(&faulty->mutex, NULL);
}

void faulty_files_fini(struct faulty_files *faulty)
{
    for (size_t i = 0; i < faulty->open_count; i++) {
        ASSERT(faulty->open[i] == NULL); /* every file that was opened was closed */
    }
    faulty_disk_fini(&faulty->disk);
    free(faulty->open);
    (void)pthread_mutex_destroy(&faulty->mutex);
}

void faulty_files_fail(struct faulty_files *faulty, unsigned at, unsigned count, int error,
                       bool torn)
{
    faulty->fail_at = faulty->calls + at;
    faulty->fail_count = count;
    faulty->error = error;
    faulty->torn = torn;
    faulty->failed = 0;
}

void faulty_files_freeze(struct faulty_files *faulty, unsigned at)
{
    faulty->frozen_at = faulty->calls + at;
}

void faulty_files_restart(struct faulty_files *faulty, enum faulty_loss loss, uint64_t seed)
{
    faulty->fail_at = 0;
    faulty->frozen_at = 0;
    faulty->broken = 0;
    faulty->room = UINT64_MAX;
    if (loss != LOSS_NONE) {
        faulty_disk_lose(&faulty->disk, loss == LOSS_ALL, seed);
    }
}

uint8_t *faulty_files_data(struct faulty_files *faulty, const char *path, size_t *len)
{
    struct faulty_node *node = faulty_disk_find(&faulty->disk, path);
    if (node == NULL) {
        return NULL;
    }
    *len = node->len;
    return node->data;
}

void faulty_files_spoil(struct faulty_files *faulty, const char *path, size_t at)
{
    struct faulty_node *node = faulty_disk_find(&faulty->disk, path);
    ASSERT(node != NULL && at < node->len);
    node->data[at] = (uint8_t)(node->data[at] * 5 + 1);
    if (at < node->safe_len) {
        node->safe[at] = (uint8_t)(node->safe[at] * 5 + 1);
    }
}

void faulty_files_truncate(struct faulty_files *faulty, const char *path, size_t len)
{
    struct faulty_node *node = faulty_disk_find(&faulty->disk, path);
    ASSERT(node != NULL && len <= node->len);
    faulty_node_resize(node, len);
    node->safe_len = node->safe_len < len ? node->safe_len : len;
    faulty_node_sync(node);
}

void faulty_files_remove(struct faulty_files *faulty, const char *path)
{
    faulty_disk_unlink(&faulty->disk, path);
    faulty_disk_sync_names(&faulty->disk);
}

void faulty_files_copy(struct faulty_files *to, const struct faulty_files *from)
{
    for (const struct faulty_entry *entry = from->disk.entries; entry != NULL;
         entry = entry->next) {
        struct faulty_node *node = faulty_disk_create(&to->disk, entry->path);
        node->folder = entry->node->folder;
        faulty_node_put(node, entry->node->data, entry->node->len, 0);
        faulty_node_sync(node);
    }
    faulty_disk_sync_names(&to->disk);
}

size_t faulty_files_count(struct faulty_files *faulty, const char *prefix)
{
    size_t count = 0;
    for (struct faulty_entry *entry = faulty->disk.entries; entry != NULL; entry = entry->next) {
        count += strncmp(entry->path, prefix, strlen(prefix)) == 0 ? 1 : 0;
    }
    return count;
}
