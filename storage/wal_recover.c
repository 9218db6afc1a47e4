#include "storage/wal_recover.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "storage/wal_dir.h"
#include "storage/wal_segment_priv.h"
#include "storage/wal_snapshot.h"

static void add_name(void *argument, const char *name)
{
    struct wal_listing *listing = argument;
    uint64_t number = wal_snapshot_number(name);
    if (number != 0) {
        listing->snapshots = mem_grow(listing->snapshots, listing->snapshot_count,
                                      &listing->snapshot_cap, sizeof(uint64_t));
        listing->snapshots[listing->snapshot_count++] = number;
    } else if (wal_name_parse(name, "log.", &number) && number != 0) {
        if (listing->lowest_segment == 0 || number < listing->lowest_segment) {
            listing->lowest_segment = number;
        }
    } else if (strcmp(name, WAL_MANIFEST_TMP) == 0) {
        listing->manifest_tmp = true;
    } else if (strcmp(name, WAL_SNAPSHOT_TMP) == 0) {
        listing->snapshot_tmp = true;
    }
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

enum err wal_listing_init(struct wal_listing *listing, const struct files *files, const char *dir)
{
    *listing = (struct wal_listing){0};
    if (files->list(files->context, dir, add_name, listing) != 0) {
        return ERR_IO;
    }
    if (listing->snapshot_count > 0) {
        qsort(listing->snapshots, listing->snapshot_count, sizeof(uint64_t), compare);
    }
    return ERR_OK;
}

void wal_listing_fini(struct wal_listing *listing)
{
    mem_free(listing->snapshots);
    *listing = (struct wal_listing){0};
}

bool wal_listing_empty(const struct wal_listing *listing)
{
    return listing->snapshot_count == 0 && listing->lowest_segment == 0;
}

/* ---- the manifest ---------------------------------------------------------------------------- */

static enum err take_head(void *context, const struct wal_snapshot_head *head)
{
    struct wal_manifest *manifest = context;
    manifest->snapshot = head->number;
    manifest->first = head->first;
    manifest->keep_count = 0;
    enum err err = ERR_OK;
    for (size_t i = 0; i < head->keep_count && err == ERR_OK; i++) {
        err = wal_manifest_keep(manifest, head->keep[i]);
    }
    return err;
}

static enum err pass_record(void *context, struct wal_place place, struct slice record)
{
    (void)context;
    (void)place;
    (void)record;
    return ERR_OK;
}

static void pass_damage(void *context, uint64_t offset, uint64_t len)
{
    (void)context;
    (void)offset;
    (void)len;
}

/* ERR_DAMAGED: not whole, and not `damaged_too`. */
static enum err manifest_of_snapshot(const struct files *files, const char *dir, uint64_t number,
                                     bool damaged_too, struct wal_manifest *manifest)
{
    const struct wal_snapshot_reader reader = {.context = manifest,
                                               .head = take_head,
                                               .record = pass_record,
                                               .damage = damaged_too ? pass_damage : NULL};
    manifest->snapshot = 0;
    enum err err = wal_snapshot_read(files, dir, number, &reader);
    return err == ERR_OK && manifest->snapshot == 0 ? ERR_DAMAGED : err;
}

enum err wal_recover_manifest(const struct files *files, const char *dir,
                              const struct wal_listing *listing, struct wal_manifest *manifest)
{
    enum err err = ERR_DAMAGED;
    for (uint32_t i = 0; i < 2 * listing->snapshot_count && err == ERR_DAMAGED; i++) {
        bool damaged_too = i >= listing->snapshot_count;
        uint32_t from_end = i % listing->snapshot_count + 1;
        err =
            manifest_of_snapshot(files, dir, listing->snapshots[listing->snapshot_count - from_end],
                                 damaged_too, manifest);
    }
    if (err != ERR_DAMAGED) {
        return err;
    }
    manifest->snapshot = 0;
    manifest->keep_count = 0;
    manifest->first = listing->lowest_segment > 0 ? listing->lowest_segment : 1;
    return ERR_OK;
}

/* ---- tidying up ------------------------------------------------------------------------------ */

void wal_recover_tidy(const struct files *files, const char *dir, const struct wal_listing *listing,
                      const struct wal_manifest *manifest)
{
    if (listing->manifest_tmp) {
        (void)wal_dir_remove(files, dir, WAL_MANIFEST_TMP);
    }
    if (listing->snapshot_tmp) {
        (void)wal_dir_remove(files, dir, WAL_SNAPSHOT_TMP);
    }
    for (uint32_t i = 0; i < listing->snapshot_count; i++) {
        if (listing->snapshots[i] != manifest->snapshot) {
            char name[WAL_SNAPSHOT_NAME_SIZE];
            wal_snapshot_name(listing->snapshots[i], name);
            (void)wal_dir_remove(files, dir, name);
        }
    }
}
