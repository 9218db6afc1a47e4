/*
 * crc32c_priv: the ways to compute crc32c. They take and give the inner state of the CRC, which is
 * its complement.
 */
#ifndef PULSE_BASE_CRC32C_PRIV_H
#define PULSE_BASE_CRC32C_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint32_t (*crc32c_fn)(uint32_t state, const uint8_t *data, size_t len);

/* By tables, on any processor. */
uint32_t crc32c__portable(uint32_t state, const uint8_t *data, size_t len);

/* By the processor's instruction, which crc32c__has_instruction has found to be there. */
uint32_t crc32c__instruction(uint32_t state, const uint8_t *data, size_t len);
bool crc32c__has_instruction(void);

#endif
