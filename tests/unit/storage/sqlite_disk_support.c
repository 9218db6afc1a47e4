#include "tests/unit/storage/sqlite_disk_support.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/macros.h"
#include "base/mem.h"

#define SECTOR 512
#define IMAGES_MAX 8

/* What was done to a file since it was synced. */
struct change {
    int64_t at; /* or the new length */
    size_t len;
    uint8_t *data; /* NULL: the file was cut, or grown, to `at` */
};

/* Invariant: `safe` with all changes applied is what is in the file, but for what failed. */
struct image {
    char *path;
    uint8_t *safe;
    size_t len;
    size_t room;
    struct change *changes;
    uint32_t count;
    uint32_t cap;
};

struct disk_file {
    sqlite3_file base;
    struct image *image; /* NULL: not on this disk (temporary files) */
    sqlite3_file *real;  /* behind this structure */
};

static struct {
    sqlite3_vfs vfs;
    sqlite3_vfs *real;
    struct image images[IMAGES_MAX];
    uint64_t calls;
    uint64_t syncs;
    uint64_t good;
    uint64_t bad;
    enum sqlite_disk_fault fault;
    bool no_power;
} disk;

/* ---- images ---------------------------------------------------------------------------------- */

static void image_resize(struct image *image, size_t len)
{
    if (len > image->room) {
        image->room = len * 2;
        image->safe = mem_resize(image->safe, image->room);
    }
    if (len > image->len) {
        memset(image->safe + image->len, 0, len - image->len);
    }
    image->len = len;
}

static void image_forget_changes(struct image *image)
{
    for (uint32_t i = 0; i < image->count; i++) {
        mem_free(image->changes[i].data);
    }
    image->count = 0;
}

/* The sectors of a change that `chosen` picks. */
static void image_change(struct image *image, const struct change *change, uint64_t *random,
                         bool (*chosen)(uint64_t *random))
{
    if (change->data == NULL) {
        if (chosen(random)) {
            image_resize(image, (size_t)change->at);
        }
        return;
    }
    size_t done = 0;
    while (done < change->len) {
        size_t at = (size_t)change->at + done;
        size_t len = SECTOR - at % SECTOR;
        len = len < change->len - done ? len : change->len - done;
        if (chosen(random)) {
            if (at + len > image->len) {
                image_resize(image, at + len);
            }
            memcpy(image->safe + at, change->data + done, len);
        }
        done += len;
    }
}

static void image_settle(struct image *image, uint64_t *random, bool (*chosen)(uint64_t *random))
{
    for (uint32_t i = 0; i < image->count; i++) {
        image_change(image, &image->changes[i], random, chosen);
    }
    image_forget_changes(image);
}

static bool all(uint64_t *random)
{
    (void)random;
    return true;
}

static bool some(uint64_t *random)
{
    uint64_t x = *random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *random = x;
    return ((x * 0x2545f4914f6cdd1du) >> 63) != 0;
}

static void image_note(struct image *image, int64_t at, const void *data, size_t len)
{
    if (image == NULL) {
        return;
    }
    uint8_t *copy = NULL;
    if (data != NULL) {
        copy = mem_resize(NULL, len + 1);
        memcpy(copy, data, len);
    }
    image->changes = mem_grow(image->changes, image->count, &image->cap, sizeof(image->changes[0]));
    image->changes[image->count++] = (struct change){.at = at, .len = len, .data = copy};
}

/* What is in the file when it is seen first counts as safe. */
static void image_read(struct image *image)
{
    struct stat info;
    int fd = open(image->path, O_RDONLY | O_CLOEXEC);
    ASSERT(fd != -1 && fstat(fd, &info) == 0);
    image_resize(image, (size_t)info.st_size);
    ASSERT(pread(fd, image->safe, image->len, 0) == (ssize_t)image->len);
    (void)close(fd); /* SQLite has it not open yet, so there is no lock to lose */
}

static struct image *image_find(const char *path)
{
    for (size_t i = 0; i < IMAGES_MAX; i++) {
        if (disk.images[i].path != NULL && strcmp(disk.images[i].path, path) == 0) {
            return &disk.images[i];
        }
    }
    return NULL;
}

static struct image *image_of(const char *path)
{
    struct image *image = image_find(path);
    for (size_t i = 0; i < IMAGES_MAX && image == NULL; i++) {
        if (disk.images[i].path == NULL) {
            image = &disk.images[i];
            image->path = mem_copy_text(path, strlen(path));
            if (access(path, F_OK) == 0) {
                image_read(image);
            }
        }
    }
    ASSERT(image != NULL);
    return image;
}

static void image_fini(struct image *image)
{
    image_forget_changes(image);
    mem_free(image->changes);
    mem_free(image->safe);
    mem_free(image->path);
    *image = (struct image){.path = NULL};
}

/* ---- a file ---------------------------------------------------------------------------------- */

static struct disk_file *own(sqlite3_file *file)
{
    return (struct disk_file *)(void *)file;
}

/* SQLITE_OK, or what this call fails with. */
static int count_call(int io_code)
{
    disk.calls++;
    if (disk.no_power) {
        return io_code;
    }
    if (disk.good > 0) {
        disk.good--;
        return SQLITE_OK;
    }
    if (disk.bad == 0) {
        return SQLITE_OK;
    }
    disk.bad--;
    return disk.fault == SQLITE_DISK_FULL && io_code == SQLITE_IOERR_WRITE ? SQLITE_FULL : io_code;
}

static int file_close(sqlite3_file *file)
{
    return own(file)->real->pMethods->xClose(own(file)->real);
}

static int file_read(sqlite3_file *file, void *data, int len, sqlite3_int64 at)
{
    bool full = disk.fault == SQLITE_DISK_FULL && !disk.no_power; /* reads well all the same */
    int code = full ? SQLITE_OK : count_call(SQLITE_IOERR_READ);
    if (code != SQLITE_OK) {
        return code;
    }
    return own(file)->real->pMethods->xRead(own(file)->real, data, len, at);
}

static int file_write(sqlite3_file *file, const void *data, int len, sqlite3_int64 at)
{
    int code = count_call(SQLITE_IOERR_WRITE);
    if (code != SQLITE_OK) {
        return code;
    }
    image_note(own(file)->image, at, data, (size_t)len);
    return own(file)->real->pMethods->xWrite(own(file)->real, data, len, at);
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 len)
{
    int code = count_call(SQLITE_IOERR_TRUNCATE);
    if (code != SQLITE_OK) {
        return code;
    }
    image_note(own(file)->image, len, NULL, 0);
    return own(file)->real->pMethods->xTruncate(own(file)->real, len);
}

/* The real sync is left out: nobody pulls a plug here, and it takes the test's time. */
static int file_sync(sqlite3_file *file, int flags)
{
    (void)flags;
    struct image *image = own(file)->image;
    int code = count_call(SQLITE_IOERR_FSYNC);
    if (image != NULL && code != SQLITE_OK) {
        image_forget_changes(image);
    } else if (image != NULL) {
        image_settle(image, NULL, all);
    }
    disk.syncs++;
    return code;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return own(file)->real->pMethods->xFileSize(own(file)->real, size);
}

static int file_lock(sqlite3_file *file, int lock)
{
    return own(file)->real->pMethods->xLock(own(file)->real, lock);
}

static int file_unlock(sqlite3_file *file, int lock)
{
    return own(file)->real->pMethods->xUnlock(own(file)->real, lock);
}

static int file_check_lock(sqlite3_file *file, int *out)
{
    return own(file)->real->pMethods->xCheckReservedLock(own(file)->real, out);
}

static int file_control(sqlite3_file *file, int op, void *arg)
{
    return own(file)->real->pMethods->xFileControl(own(file)->real, op, arg);
}

static int file_sector_size(sqlite3_file *file)
{
    return own(file)->real->pMethods->xSectorSize(own(file)->real);
}

static int file_characteristics(sqlite3_file *file)
{
    return own(file)->real->pMethods->xDeviceCharacteristics(own(file)->real);
}

static int file_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **out)
{
    return own(file)->real->pMethods->xShmMap(own(file)->real, region, size, extend, out);
}

static int file_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    return own(file)->real->pMethods->xShmLock(own(file)->real, offset, n, flags);
}

static void file_shm_barrier(sqlite3_file *file)
{
    own(file)->real->pMethods->xShmBarrier(own(file)->real);
}

static int file_shm_unmap(sqlite3_file *file, int remove_it)
{
    return own(file)->real->pMethods->xShmUnmap(own(file)->real, remove_it);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_lock,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
    .xShmMap = file_shm_map,
    .xShmLock = file_shm_lock,
    .xShmBarrier = file_shm_barrier,
    .xShmUnmap = file_shm_unmap,
};

/* ---- the disk -------------------------------------------------------------------------------- */

static int disk_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags, int *out)
{
    (void)vfs;
    struct disk_file *opened = own(file);
    bool kept = path != NULL &&
                (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0;
    *opened = (struct disk_file){.real = (sqlite3_file *)(void *)(opened + 1)};
    if (kept && disk.no_power) {
        return SQLITE_CANTOPEN;
    }
    opened->image = kept ? image_of(path) : NULL;
    int code = disk.real->xOpen(disk.real, path, opened->real, flags, out);
    opened->base.pMethods = code == SQLITE_OK ? &methods : NULL;
    return code;
}

/* Names come and go at once. */
static int disk_delete(sqlite3_vfs *vfs, const char *path, int sync_directory)
{
    (void)vfs;
    int code = count_call(SQLITE_IOERR_DELETE);
    if (code != SQLITE_OK) {
        return code;
    }
    struct image *image = image_find(path);
    if (image != NULL) {
        image_fini(image);
    }
    return disk.real->xDelete(disk.real, path, sync_directory);
}

void sqlite_disk_insert(void)
{
    ASSERT(disk.real == NULL);
    disk.real = sqlite3_vfs_find(NULL);
    disk.vfs = *disk.real; /* what isn't replaced here doesn't look at the VFS it is called for */
    disk.vfs.zName = "test-disk";
    disk.vfs.pNext = NULL;
    disk.vfs.szOsFile = (int)sizeof(struct disk_file) + disk.real->szOsFile;
    disk.vfs.xOpen = disk_open;
    disk.vfs.xDelete = disk_delete;
    ASSERT(sqlite3_vfs_register(&disk.vfs, 1) == SQLITE_OK);
}

void sqlite_disk_remove(void)
{
    for (size_t i = 0; i < IMAGES_MAX; i++) {
        image_fini(&disk.images[i]);
    }
    ASSERT(sqlite3_vfs_unregister(&disk.vfs) == SQLITE_OK);
    memset(&disk, 0, sizeof(disk));
}

uint64_t sqlite_disk_calls(void)
{
    return disk.calls;
}

uint64_t sqlite_disk_syncs(void)
{
    return disk.syncs;
}

void sqlite_disk_fail(enum sqlite_disk_fault fault, uint64_t good, uint64_t times)
{
    disk.fault = fault;
    disk.good = good;
    disk.bad = times;
}

void sqlite_disk_cut_power(void)
{
    disk.no_power = true;
}

static void put_back(struct image *image, uint64_t *random)
{
    image_settle(image, random, some);
    int fd = open(image->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ASSERT(fd != -1);
    ASSERT(pwrite(fd, image->safe, image->len, 0) == (ssize_t)image->len);
    (void)close(fd);
}

void sqlite_disk_restore_power(uint64_t seed)
{
    uint64_t random = seed | 1;
    for (size_t i = 0; i < IMAGES_MAX; i++) {
        if (disk.images[i].path != NULL) {
            put_back(&disk.images[i], &random);
        }
    }
    disk.no_power = false;
    disk.good = 0;
    disk.bad = 0;
}
