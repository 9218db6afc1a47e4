/*
 * crc32c: the CRC with Castagnoli's polynomial (iSCSI, ext4), by the processor's own instruction
 * where it has one.
 *
 * Thread    any.
 * Source    RFC 3720, B.4 has test vectors.
 */
#ifndef PULSE_BASE_CRC32C_H
#define PULSE_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The CRC of what gave `crc` (0: nothing yet) with `data` behind it. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

#endif
