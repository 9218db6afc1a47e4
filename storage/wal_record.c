#include "storage/wal_record.h"

/*
 * Numbers take as many bytes as they need: the first byte says by its trailing zero bits how many
 * follow, 7 bits of value a byte, little-endian; a first byte of zero is followed by all 8 bytes.
 * U32 and U64 are written plus one, wrapping: their highest value stands for "never" and is
 * frequent. Only the shortest form is accepted back.
 *
 * The code for each operation is made out of its rows in operations.def, with nothing to look up
 * while it runs: this is once per record on the hot path.
 */
#define NUMBER_BYTES_MAX 9

static size_t number_size(uint64_t value)
{
    unsigned bits = 64 - (unsigned)__builtin_clzll(value | 1);
    return bits > 56 ? NUMBER_BYTES_MAX : (bits + 6) / 7;
}

static uint8_t *put_bytes_of(uint8_t *at, uint64_t value, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
    return at + count;
}

static uint8_t *put_number(uint8_t *at, uint64_t value)
{
    if (likely(value < 128)) {
        *at = (uint8_t)(value << 1 | 1);
        return at + 1;
    }
    size_t size = number_size(value);
    if (size == NUMBER_BYTES_MAX) {
        *at = 0;
        return put_bytes_of(at + 1, value, 8);
    }
    return put_bytes_of(at, value << size | (uint64_t)1 << (size - 1), size);
}

/* ---- one field ------------------------------------------------------------------------------- */

static size_t size_U8(uint8_t value)
{
    (void)value;
    return 1;
}

static size_t size_BOOL(bool value)
{
    (void)value;
    return 1;
}

static size_t size_U16(uint16_t value)
{
    return number_size(value);
}

static size_t size_U32(uint32_t value)
{
    return number_size((uint32_t)(value + 1));
}

static size_t size_U64(uint64_t value)
{
    return number_size(value + 1);
}

static size_t size_BYTES(struct slice bytes)
{
    return number_size(bytes.len) + bytes.len;
}

static size_t size_TEXT(struct slice text)
{
    return size_BYTES(text);
}

static size_t size_IDS(const uint32_t *ids, size_t count)
{
    size_t size = number_size(count);
    for (size_t i = 0; i < count; i++) {
        size += number_size(ids[i]);
    }
    return size;
}

static uint8_t *put_U8(uint8_t *at, uint8_t value)
{
    *at = value;
    return at + 1;
}

static uint8_t *put_BOOL(uint8_t *at, bool value)
{
    return put_U8(at, value ? 1 : 0);
}

static uint8_t *put_U16(uint8_t *at, uint16_t value)
{
    return put_number(at, value);
}

static uint8_t *put_U32(uint8_t *at, uint32_t value)
{
    return put_number(at, (uint32_t)(value + 1));
}

static uint8_t *put_U64(uint8_t *at, uint64_t value)
{
    return put_number(at, value + 1);
}

static uint8_t *put_BYTES(uint8_t *at, struct slice bytes)
{
    at = put_number(at, bytes.len);
    if (bytes.len > 0) {
        memcpy(at, bytes.data, bytes.len);
    }
    return at + bytes.len;
}

static uint8_t *put_TEXT(uint8_t *at, struct slice text)
{
    return put_BYTES(at, text);
}

static uint8_t *put_IDS(uint8_t *at, const uint32_t *ids, size_t count)
{
    at = put_number(at, count);
    for (size_t i = 0; i < count; i++) {
        at = put_number(at, ids[i]);
    }
    return at;
}

static bool get_number(struct slice *in, uint64_t max, uint64_t *value)
{
    if (in->len == 0) {
        return false;
    }
    size_t size = in->data[0] == 0 ? NUMBER_BYTES_MAX : (size_t)__builtin_ctz(in->data[0]) + 1;
    if (in->len < size) {
        return false;
    }
    size_t skipped = size == NUMBER_BYTES_MAX ? 1 : 0;
    uint64_t word = 0;
    for (size_t i = skipped; i < size; i++) {
        word |= (uint64_t)in->data[i] << (8 * (i - skipped));
    }
    *value = size == NUMBER_BYTES_MAX ? word : word >> size;
    *in = slice_from(*in, size);
    return number_size(*value) == size && *value <= max;
}

static bool get_U8(struct slice *in, uint8_t *value)
{
    if (in->len == 0) {
        return false;
    }
    *value = in->data[0];
    *in = slice_from(*in, 1);
    return true;
}

static bool get_BOOL(struct slice *in, bool *value)
{
    uint8_t byte;
    if (!get_U8(in, &byte) || byte > 1) {
        return false;
    }
    *value = byte == 1;
    return true;
}

static bool get_U16(struct slice *in, uint16_t *value)
{
    uint64_t number;
    if (!get_number(in, UINT16_MAX, &number)) {
        return false;
    }
    *value = (uint16_t)number;
    return true;
}

static bool get_U32(struct slice *in, uint32_t *value)
{
    uint64_t number;
    if (!get_number(in, UINT32_MAX, &number)) {
        return false;
    }
    *value = (uint32_t)number - 1;
    return true;
}

static bool get_U64(struct slice *in, uint64_t *value)
{
    uint64_t number;
    if (!get_number(in, UINT64_MAX, &number)) {
        return false;
    }
    *value = number - 1;
    return true;
}

static bool get_BYTES(struct slice *in, struct slice *bytes)
{
    uint64_t len;
    if (!get_number(in, in->len, &len) || len > in->len) {
        return false;
    }
    *bytes = slice_of(in->data, (size_t)len);
    *in = slice_from(*in, (size_t)len);
    return true;
}

static bool get_TEXT(struct slice *in, struct slice *text)
{
    return get_BYTES(in, text);
}

/* Not plus one: identifiers are at most 268,435,455. */
static bool get_IDS(struct slice *in, uint32_t *room, const uint32_t **ids, size_t *ids_count)
{
    uint64_t count;
    if (!get_number(in, WAL_RECORD_IDS_MAX, &count)) {
        return false;
    }
    for (uint64_t i = 0; i < count; i++) {
        uint64_t id;
        if (!get_number(in, UINT32_MAX, &id)) {
            return false;
        }
        room[i] = (uint32_t)id;
    }
    *ids = count > 0 ? room : NULL;
    *ids_count = (size_t)count;
    return true;
}

/* ---- whole records --------------------------------------------------------------------------- */

/* The arguments that stand for a member: IDS is two members and, to decode, room for them. */
#define VALUE_U8(member) operation->member
#define VALUE_BOOL(member) operation->member
#define VALUE_U16(member) operation->member
#define VALUE_U32(member) operation->member
#define VALUE_U64(member) operation->member
#define VALUE_BYTES(member) operation->member
#define VALUE_TEXT(member) operation->member
#define VALUE_IDS(member) operation->member, id_count(operation)

#define TARGET_U8(member) &operation->member
#define TARGET_BOOL(member) &operation->member
#define TARGET_U16(member) &operation->member
#define TARGET_U32(member) &operation->member
#define TARGET_U64(member) &operation->member
#define TARGET_BYTES(member) &operation->member
#define TARGET_TEXT(member) &operation->member
#define TARGET_IDS(member) ids, &operation->member, &operation->subscription_id_count

static size_t id_count(const struct operation *operation)
{
    size_t count = operation->subscription_id_count;
    return count < WAL_RECORD_IDS_MAX ? count : WAL_RECORD_IDS_MAX;
}

size_t wal_record_size(const struct operation *operation)
{
    size_t size = 1;
    switch (operation->type) {
#define OPERATION(NAME, name, help) case OPERATION_##NAME:
#define FIELD(kind, member) size += size_##kind(VALUE_##kind(member));
#define END return size;
#include "storage/operations.def"
#undef OPERATION
#undef FIELD
#undef END
    case OPERATION_TYPES:
        break;
    }
    ASSERT(operation->type < OPERATION_TYPES);
    return 0;
}

uint8_t *wal_record_encode(const struct operation *operation, uint8_t *at)
{
    at = put_U8(at, (uint8_t)operation->type);
    switch (operation->type) {
#define OPERATION(NAME, name, help) case OPERATION_##NAME:
#define FIELD(kind, member) at = put_##kind(at, VALUE_##kind(member));
#define END return at;
#include "storage/operations.def"
#undef OPERATION
#undef FIELD
#undef END
    case OPERATION_TYPES:
        break;
    }
    ASSERT(operation->type < OPERATION_TYPES);
    return at;
}

/* Reads the fields of operation->type. */
static bool get_fields(struct slice *in, struct operation *operation, uint32_t *ids)
{
    switch (operation->type) {
#define OPERATION(NAME, name, help) case OPERATION_##NAME:
#define FIELD(kind, member)                       \
    if (!get_##kind(in, TARGET_##kind(member))) { \
        return false;                             \
    }
#define END return true;
#include "storage/operations.def"
#undef OPERATION
#undef FIELD
#undef END
    case OPERATION_TYPES:
        break;
    }
    return false;
}

enum err wal_record_decode(struct slice bytes, struct operation *operation, uint32_t *ids,
                           size_t *len)
{
    struct slice in = bytes;
    uint8_t type;
    if (!get_U8(&in, &type) || type >= OPERATION_TYPES) {
        return ERR_DAMAGED;
    }
    *operation = (struct operation){.type = (enum operation_type)type};
    if (!get_fields(&in, operation, ids)) {
        return ERR_DAMAGED;
    }
    *len = bytes.len - in.len;
    return ERR_OK;
}
