/*
 * faulty_disk_support: files and their names, as a process sees them and as they are on the disk:
 * two states, of which the second follows when something is synced. Below faulty_files_support.
 *
 * Thread    one at a time.
 */
#ifndef PULSE_TESTS_FAULTY_DISK_SUPPORT_H
#define PULSE_TESTS_FAULTY_DISK_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A file, whatever it is called. `dirty` has a byte for each sector. */
struct faulty_node {
    struct faulty_node *next;
    uint8_t *data;
    size_t len;
    uint8_t *safe;
    size_t safe_len;
    bool *dirty;
    size_t dirty_count;
    bool folder;
};

/* A name of a file; in the list of changes also one that ends (no node). */
struct faulty_entry {
    struct faulty_entry *next;
    char *path;
    struct faulty_node *node;
};

struct faulty_disk {
    struct faulty_entry *entries; /* what the process sees */
    struct faulty_entry *safe_entries;
    struct faulty_entry *changes; /* of names, since they were synced; first one first */
    struct faulty_node *nodes;
};

void faulty_disk_fini(struct faulty_disk *disk);

/* The file called `path`, or NULL. */
struct faulty_node *faulty_disk_find(const struct faulty_disk *disk, const char *path);

/* A new, empty file called `path`. */
struct faulty_node *faulty_disk_create(struct faulty_disk *disk, const char *path);
void faulty_disk_rename(struct faulty_disk *disk, const char *from, const char *to);
void faulty_disk_unlink(struct faulty_disk *disk, const char *path);

/* Changes the process's view of a file. */
void faulty_node_resize(struct faulty_node *node, size_t len);
void faulty_node_put(struct faulty_node *node, const void *data, size_t len, size_t at);

/* All of a file, or all names, are on the disk. */
void faulty_node_sync(struct faulty_node *node);
void faulty_disk_sync_names(struct faulty_disk *disk);

/* What was changed will not be written out by a later sync. */
void faulty_node_forget_dirty(struct faulty_node *node);

/* The process sees what is on the disk; before that, as `seed` says, any part of what was not
 * synced gets there, or with `all` nothing. */
void faulty_disk_lose(struct faulty_disk *disk, bool all, uint64_t seed);

#endif
