#include "tests/unit/storage/faulty_disk_support.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

#define SECTOR 512u

static void *checked(void *block)
{
    ASSERT(block != NULL);
    return block;
}

/* ---- lists of names -------------------------------------------------------------------------- */

static struct faulty_entry **find(struct faulty_entry **list, const char *path)
{
    struct faulty_entry **at = list;
    while (*at != NULL && strcmp((*at)->path, path) != 0) {
        at = &(*at)->next;
    }
    return at;
}

static void append(struct faulty_entry **list, const char *path, struct faulty_node *node)
{
    while (*list != NULL) {
        list = &(*list)->next;
    }
    *list = checked(malloc(sizeof(**list)));
    **list = (struct faulty_entry){.path = checked(strdup(path)), .node = node};
}

static void take_first(struct faulty_entry **list)
{
    struct faulty_entry *entry = *list;
    *list = entry->next;
    free(entry->path);
    free(entry);
}

static void clear(struct faulty_entry **list)
{
    while (*list != NULL) {
        take_first(list);
    }
}

/* `path` is the name of `node`, or of nothing. */
static void set(struct faulty_entry **list, const char *path, struct faulty_node *node)
{
    struct faulty_entry **at = find(list, path);
    if (*at != NULL) {
        take_first(at);
    }
    if (node != NULL) {
        append(list, path, node);
    }
}

/* A name changes now for the process, on the disk only later. */
static void change(struct faulty_disk *disk, const char *path, struct faulty_node *node)
{
    set(&disk->entries, path, node);
    append(&disk->changes, path, node);
}

/* ---- files -------------------------------------------------------------------------------------
 */

static struct faulty_node *new_node(struct faulty_disk *disk)
{
    struct faulty_node *node = checked(calloc(1, sizeof(*node)));
    node->next = disk->nodes;
    disk->nodes = node;
    return node;
}

void faulty_node_resize(struct faulty_node *node, size_t len)
{
    size_t sectors = (len + SECTOR - 1) / SECTOR;
    node->data = checked(realloc(node->data, len + 1));
    node->dirty = checked(realloc(node->dirty, sectors + 1));
    if (len > node->len) {
        memset(node->data + node->len, 0, len - node->len);
    }
    for (size_t i = node->dirty_count; i < sectors; i++) {
        node->dirty[i] = false;
    }
    node->len = len;
    node->dirty_count = sectors;
}

void faulty_node_put(struct faulty_node *node, const void *data, size_t len, size_t at)
{
    if (len == 0) {
        return;
    }
    if (at + len > node->len) {
        faulty_node_resize(node, at + len);
    }
    memcpy(node->data + at, data, len);
    for (size_t i = at / SECTOR; i <= (at + len - 1) / SECTOR; i++) {
        node->dirty[i] = true;
    }
}

void faulty_node_forget_dirty(struct faulty_node *node)
{
    for (size_t i = 0; i < node->dirty_count; i++) {
        node->dirty[i] = false;
    }
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static bool always(uint64_t *state)
{
    (void)state;
    return true;
}

static bool never(uint64_t *state)
{
    (void)state;
    return false;
}

static bool perhaps(uint64_t *state)
{
    return (random_next(state) >> 32) % 2 == 0;
}

/* Puts the sectors that are dirty, and that `survives` says, to the safe ones. */
static void write_out(struct faulty_node *node, bool (*survives)(uint64_t *state), uint64_t *state)
{
    size_t len = node->safe_len;
    if (node->len > len && survives(state)) {
        len = node->len;
    }
    node->safe = checked(realloc(node->safe, len + 1));
    memset(node->safe + node->safe_len, 0, len - node->safe_len);
    node->safe_len = len;
    for (size_t i = 0; i < node->dirty_count; i++) {
        size_t at = i * SECTOR;
        if (node->dirty[i] && at < len && survives(state)) {
            size_t end = at + SECTOR < node->len ? at + SECTOR : node->len;
            end = end < len ? end : len;
            memcpy(node->safe + at, node->data + at, end - at);
        }
    }
}

void faulty_node_sync(struct faulty_node *node)
{
    write_out(node, always, NULL);
    faulty_node_forget_dirty(node);
}

/* ---- names */

/* The first `count` changes of folders have reached the disk. */
static void make_changes_safe(struct faulty_disk *disk, size_t count)
{
    for (; count > 0; count--) {
        struct faulty_entry *entry = disk->changes;
        if (entry->node != NULL) {
            /* a rename: the node has no other name any more */
            struct faulty_entry **at = &disk->safe_entries;
            while (*at != NULL) {
                if ((*at)->node == entry->node) {
                    take_first(at);
                } else {
                    at = &(*at)->next;
                }
            }
        }
        set(&disk->safe_entries, entry->path, entry->node);
        take_first(&disk->changes);
    }
}

static size_t change_count(const struct faulty_disk *disk)
{
    size_t count = 0;
    for (const struct faulty_entry *entry = disk->changes; entry != NULL; entry = entry->next) {
        count++;
    }
    return count;
}

struct faulty_node *faulty_disk_find(const struct faulty_disk *disk, const char *path)
{
    const struct faulty_entry *entry = disk->entries;
    while (entry != NULL && strcmp(entry->path, path) != 0) {
        entry = entry->next;
    }
    return entry != NULL ? entry->node : NULL;
}

struct faulty_node *faulty_disk_create(struct faulty_disk *disk, const char *path)
{
    struct faulty_node *node = new_node(disk);
    change(disk, path, node);
    return node;
}

void faulty_disk_rename(struct faulty_disk *disk, const char *from, const char *to)
{
    struct faulty_node *node = faulty_disk_find(disk, from);
    ASSERT(node != NULL);
    set(&disk->entries, from, NULL);
    change(disk, to, node); /* on the disk both names change at once */
}

void faulty_disk_unlink(struct faulty_disk *disk, const char *path)
{
    change(disk, path, NULL);
}

void faulty_disk_sync_names(struct faulty_disk *disk)
{
    make_changes_safe(disk, change_count(disk));
}

/* ---- a power loss */

/* The disk's view becomes the process's. */
static void show_safe(struct faulty_disk *disk)
{
    clear(&disk->changes);
    clear(&disk->entries);
    for (struct faulty_entry *entry = disk->safe_entries; entry != NULL; entry = entry->next) {
        append(&disk->entries, entry->path, entry->node);
    }
    for (struct faulty_node *node = disk->nodes; node != NULL; node = node->next) {
        faulty_node_resize(node, node->safe_len);
        if (node->safe_len > 0) {
            memcpy(node->data, node->safe, node->safe_len);
        }
        faulty_node_forget_dirty(node);
    }
}

void faulty_disk_lose(struct faulty_disk *disk, bool all, uint64_t seed)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    for (struct faulty_node *node = disk->nodes; node != NULL; node = node->next) {
        write_out(node, all ? never : perhaps, &state);
    }
    if (!all) {
        make_changes_safe(disk, random_next(&state) % (change_count(disk) + 1));
    }
    show_safe(disk);
}

void faulty_disk_fini(struct faulty_disk *disk)
{
    clear(&disk->entries);
    clear(&disk->safe_entries);
    clear(&disk->changes);
    while (disk->nodes != NULL) {
        struct faulty_node *node = disk->nodes;
        disk->nodes = node->next;
        free(node->data);
        free(node->safe);
        free(node->dirty);
        free(node);
    }
}
