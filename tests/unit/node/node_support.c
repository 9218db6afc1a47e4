#include "tests/unit/node/node_support.h"

#include "base/clock.h"
#include "base/mem.h"

uint64_t test_seed(void)
{
    const char *given = getenv("PULSE_TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : clock_mono_ns();
    seed |= 1;
    print_message("PULSE_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

uint32_t random_between(uint64_t *state, uint32_t low, uint32_t high)
{
    return low + random_below(state, high - low + 1);
}

struct message *make_message(const char *topic, struct slice payload)
{
    struct message borrowed = message_borrow(slice_text(topic), slice_of(NULL, 0), payload);
    struct message *message = message_keep(&borrowed);
    assert_non_null(message);
    assert_false(message_release(&borrowed));
    return message;
}

struct message *make_patterned(size_t len)
{
    uint8_t *bytes = mem_alloc(len + 1);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)(i % 251);
    }
    struct message *message = make_message("t", slice_of(bytes, len));
    mem_free(bytes);
    return message;
}

unsigned message_refs(const struct message *message)
{
    return atomic_load(&message->refs);
}
