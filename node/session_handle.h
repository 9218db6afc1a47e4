/*
 * session_handle: names a session across threads without a pointer. 0 is nobody. A handle is never
 * used again for another session in the life of the process (its generation has 32 bits).
 */
#ifndef PULSE_NODE_SESSION_HANDLE_H
#define PULSE_NODE_SESSION_HANDLE_H

#include <stdint.h>

/* bits 0..25: slot + 1, 26..31: worker, 32..63: generation */
#define SESSION_SLOT_BITS 26
#define SESSION_SLOTS_MAX ((1u << SESSION_SLOT_BITS) - 2)

static inline uint64_t session_handle_make(unsigned worker, uint32_t slot, uint32_t generation)
{
    return (uint64_t)generation << 32 | (uint64_t)worker << SESSION_SLOT_BITS | (slot + 1);
}

static inline unsigned session_handle_worker(uint64_t handle)
{
    return (unsigned)(handle >> SESSION_SLOT_BITS & 63);
}

static inline uint32_t session_handle_slot(uint64_t handle)
{
    return (uint32_t)(handle & ((1u << SESSION_SLOT_BITS) - 1)) - 1;
}

static inline uint32_t session_handle_generation(uint64_t handle)
{
    return (uint32_t)(handle >> 32);
}

#endif
