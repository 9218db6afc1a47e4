/*
 * sqlite_disk_support: a disk for SQLite that fails when told to, and that shows what would be
 * left of the files after a power loss: whatever was synced, and of the rest what chance picks,
 * in sectors. What a failed sync should have made safe stays unsafe, as the kernel has it.
 *
 * Owns      a VFS of SQLite that stands before the system's, as the default one.
 * Thread    the test's.
 */
#ifndef PULSE_TESTS_UNIT_STORAGE_SQLITE_DISK_SUPPORT_H
#define PULSE_TESTS_UNIT_STORAGE_SQLITE_DISK_SUPPORT_H

#include <stdint.h>

enum sqlite_disk_fault { SQLITE_DISK_IO, SQLITE_DISK_FULL };

/* From here on SQLite's files are on this disk, which is in order. */
void sqlite_disk_insert(void);

/* No file is open any more. */
void sqlite_disk_remove(void);

/* The calls that read, write, cut, sync and remove files, until now. */
uint64_t sqlite_disk_calls(void);
uint64_t sqlite_disk_syncs(void);

/* Of those calls the next `good` ones work, the `times` behind them fail; but a full disk reads. */
void sqlite_disk_fail(enum sqlite_disk_fault fault, uint64_t good, uint64_t times);

/* Every call fails from now on. */
void sqlite_disk_cut_power(void);

/* All files are closed: makes them what is left of them, as `seed` has it. The disk is in order
 * again. */
void sqlite_disk_restore_power(uint64_t seed);

#endif
