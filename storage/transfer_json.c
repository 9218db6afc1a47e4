#include "storage/transfer_json.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

#include "base/base64.h"
#include "base/mem.h"

/* The largest whole number that every reader of JSON keeps exact. */
#define EXACT_MAX (1ULL << 53)

/* More than any payload needs. */
#define BYTES_MAX (300u * 1024 * 1024)

static const void *member(const struct operation *operation, const struct operation_field *field)
{
    return (const char *)operation + field->offset;
}

static void *member_of(struct operation *operation, const struct operation_field *field)
{
    return (char *)operation + field->offset;
}

/* ---- writing --------------------------------------------------------------------------------- */

static json_t *json_of_u64(uint64_t value)
{
    char digits[24];
    if (value == OPERATION_NEVER_MS) {
        return json_null();
    }
    if (value <= EXACT_MAX) {
        return json_integer((json_int_t)value);
    }
    snprintf(digits, sizeof(digits), "%" PRIu64, value);
    return json_string(digits);
}

/* NULL: no memory. */
static json_t *json_of_bytes(struct slice bytes)
{
    json_t *json = NULL;
    if (bytes.len > BYTES_MAX) {
        return NULL;
    }
    char *base64 = mem_try_alloc(BASE64_CHARS(bytes.len) + 1); /* even for no bytes */
    if (base64 != NULL) {
        json = json_stringn_nocheck(base64, base64_write(bytes, BASE64_PADDED, base64));
    }
    mem_free(base64);
    return json;
}

/* NULL: no memory. */
static json_t *json_of_ids(const struct operation *operation)
{
    json_t *array = json_array();
    for (size_t i = 0; i < operation->subscription_id_count; i++) {
        if (json_array_append_new(array, json_integer(operation->subscription_ids[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

/* NULL: no memory, or text that is not UTF-8. */
static json_t *json_of_field(const struct operation *operation, const struct operation_field *field)
{
    const void *value = member(operation, field);
    const struct slice *slice = value;
    switch (field->kind) {
    case OPERATION_U8:
        return json_integer(*(const uint8_t *)value);
    case OPERATION_U16:
        return json_integer(*(const uint16_t *)value);
    case OPERATION_U32:
        return json_integer(*(const uint32_t *)value);
    case OPERATION_U64:
        return json_of_u64(*(const uint64_t *)value);
    case OPERATION_BOOL:
        return json_boolean(*(const bool *)value);
    case OPERATION_TEXT:
        return json_stringn((const char *)slice->data, slice->len);
    case OPERATION_BYTES:
        return json_of_bytes(*slice);
    case OPERATION_IDS:
        return json_of_ids(operation);
    }
    return NULL;
}

/* Takes `object`. */
static enum err dump(json_t *object, char **line, struct text *error)
{
    char *text = object == NULL ? NULL : json_dumps(object, JSON_COMPACT);
    json_decref(object);
    if (text == NULL) {
        text_add(error, err_text(ERR_MEMORY));
        return ERR_MEMORY;
    }
    *line = text;
    return ERR_OK;
}

enum err transfer_json_operation(const struct operation *operation, char **line, struct text *error)
{
    const struct operation_info *info = operation_info(operation->type);
    json_t *object = json_pack("{ss}", "op", info->name);
    for (size_t i = 0; i < info->field_count; i++) {
        json_t *value = json_of_field(operation, &info->fields[i]);
        if (json_object_set_new_nocheck(object, info->fields[i].name, value) != 0) {
            text_printf(error, "%s: %s can't be written: it is not UTF-8, or memory is short",
                        info->name, info->fields[i].name);
            json_decref(object);
            return ERR_DAMAGED;
        }
    }
    return dump(object, line, error);
}

enum err transfer_json_header(char **line, struct text *error)
{
    return dump(json_pack("{sssi}", "format", TRANSFER_FORMAT, "version", TRANSFER_VERSION), line,
                error);
}

enum err transfer_json_end(uint64_t operations, char **line, struct text *error)
{
    return dump(json_pack("{sbsI}", "end", 1, "operations", (json_int_t)operations), line, error);
}

/* ---- reading --------------------------------------------------------------------------------- */

static enum err refuse(struct text *error, const char *name, const char *expected)
{
    text_printf(error, "%s: %s is expected", name, expected);
    return ERR_SYNTAX;
}

static enum err read_number(const json_t *json, const char *name, uint64_t maximum,
                            uint64_t *number, struct text *error)
{
    if (!json_is_integer(json)) {
        return refuse(error, name, "a whole number");
    }
    json_int_t value = json_integer_value(json);
    if (value < 0 || (uint64_t)value > maximum) {
        text_printf(error, "%s: out of range (allowed: 0 to %" PRIu64 ")", name, maximum);
        return ERR_RANGE;
    }
    *number = (uint64_t)value;
    return ERR_OK;
}

/* A number that is too large for JSON numbers, as it is written: digits without leading zeros. */
static enum err read_digits(const json_t *json, const char *name, uint64_t *number,
                            struct text *error)
{
    uint64_t value = 0;
    bool good = json_string_length(json) > 0;
    const char *at = json_string_value(json);
    for (size_t i = 0; i < json_string_length(json) && good; i++) {
        good = at[i] >= '0' && at[i] <= '9' && !__builtin_mul_overflow(value, 10, &value) &&
               !__builtin_add_overflow(value, (uint64_t)(at[i] - '0'), &value);
    }
    if (!good || value <= EXACT_MAX || value == OPERATION_NEVER_MS || at[0] == '0') {
        return refuse(error, name, "a number; above 2^53 as a string of digits");
    }
    *number = value;
    return ERR_OK;
}

static enum err read_u64(const json_t *json, const char *name, uint64_t *number, struct text *error)
{
    if (json_is_null(json)) {
        *number = OPERATION_NEVER_MS;
        return ERR_OK;
    }
    return json_is_string(json) ? read_digits(json, name, number, error)
                                : read_number(json, name, EXACT_MAX, number, error);
}

/* Gives memory that `line` owns, or NULL. */
static void *line_alloc(struct transfer_line *line, size_t size)
{
    void *block = mem_try_alloc(size == 0 ? 1 : size);
    if (block != NULL) {
        ASSERT(line->owned_count < ARRAY_COUNT(line->owned));
        line->owned[line->owned_count++] = block;
    }
    return block;
}

static enum err read_bytes(struct transfer_line *line, const json_t *json, const char *name,
                           struct slice *bytes, struct text *error)
{
    struct slice base64 = slice_of(json_string_value(json), json_string_length(json));
    if (base64.len > BYTES_MAX) {
        text_printf(error, "%s: too long", name);
        return ERR_RANGE;
    }
    size_t size = base64.len / 4 * 3;
    uint8_t *data = line_alloc(line, size);
    if (data == NULL) {
        text_add(error, err_text(ERR_MEMORY));
        return ERR_MEMORY;
    }
    size_t len = 0;
    if (!json_is_string(json) || !base64_read(base64, BASE64_PADDED, data, size, &len)) {
        return refuse(error, name, "base64");
    }
    *bytes = slice_of(data, len);
    return ERR_OK;
}

static enum err read_ids(struct transfer_line *line, const json_t *json, const char *name,
                         struct text *error)
{
    size_t count = json_array_size(json);
    if (!json_is_array(json) || count > TRANSFER_IDS_MAX) {
        return refuse(error, name, "an array of at most 65535 numbers");
    }
    uint32_t *ids = line_alloc(line, count * sizeof(ids[0]));
    if (ids == NULL) {
        text_add(error, err_text(ERR_MEMORY));
        return ERR_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t id = 0;
        enum err err = read_number(json_array_get(json, i), name, UINT32_MAX, &id, error);
        if (err != ERR_OK) {
            return err;
        }
        ids[i] = (uint32_t)id;
    }
    line->operation.subscription_ids = count == 0 ? NULL : ids;
    line->operation.subscription_id_count = count;
    return ERR_OK;
}

static enum err read_text(const json_t *json, const char *name, struct slice *text,
                          struct text *error)
{
    if (!json_is_string(json)) {
        return refuse(error, name, "a string");
    }
    *text = slice_of(json_string_value(json), json_string_length(json));
    return ERR_OK;
}

static enum err read_bool(const json_t *json, const char *name, bool *truth, struct text *error)
{
    if (!json_is_boolean(json)) {
        return refuse(error, name, "true or false");
    }
    *truth = json_is_true(json);
    return ERR_OK;
}

static enum err read_field(struct transfer_line *line, const struct operation_field *field,
                           const json_t *json, struct text *error)
{
    void *place = member_of(&line->operation, field);
    uint64_t number = 0;
    enum err err = ERR_OK;
    switch (field->kind) {
    case OPERATION_U8:
        err = read_number(json, field->name, UINT8_MAX, &number, error);
        *(uint8_t *)place = (uint8_t)number;
        return err;
    case OPERATION_U16:
        err = read_number(json, field->name, UINT16_MAX, &number, error);
        *(uint16_t *)place = (uint16_t)number;
        return err;
    case OPERATION_U32:
        err = read_number(json, field->name, UINT32_MAX, &number, error);
        *(uint32_t *)place = (uint32_t)number;
        return err;
    case OPERATION_U64:
        return read_u64(json, field->name, place, error);
    case OPERATION_BOOL:
        return read_bool(json, field->name, place, error);
    case OPERATION_TEXT:
        return read_text(json, field->name, place, error);
    case OPERATION_BYTES:
        return read_bytes(line, json, field->name, place, error);
    case OPERATION_IDS:
        return read_ids(line, json, field->name, error);
    }
    return err;
}

/* Adds the key of `object` that is no field of `info`. */
static void add_unknown_key(json_t *object, const struct operation_info *info, struct text *error)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        bool known = strcmp(key, "op") == 0;
        for (size_t i = 0; i < info->field_count; i++) {
            known = known || strcmp(key, info->fields[i].name) == 0;
        }
        if (!known) {
            text_printf(error, "%s: unknown field \"", info->name);
            text_add_json(error, slice_of(key, strnlen(key, 80)));
            text_add(error, "\"");
            return;
        }
    }
}

static enum err read_fields(struct transfer_line *line, const struct operation_info *info,
                            struct text *error)
{
    struct text reason = {0};
    enum err err = ERR_OK;
    for (size_t i = 0; i < info->field_count && err == ERR_OK; i++) {
        const struct operation_field *field = &info->fields[i];
        const json_t *json = json_object_get(line->object, field->name);
        if (json == NULL) {
            text_printf(&reason, "%s is missing", field->name);
            err = ERR_SYNTAX;
        } else {
            err = read_field(line, field, json, &reason);
        }
    }
    if (err != ERR_OK) {
        text_printf(error, "%s: %s", info->name, reason.data);
    } else if (json_object_size(line->object) != info->field_count + 1) {
        add_unknown_key(line->object, info, error);
        err = ERR_SYNTAX;
    }
    text_fini(&reason);
    return err;
}

static enum err read_operation(struct transfer_line *line, const json_t *op, struct text *error)
{
    struct slice name = slice_of(json_string_value(op), json_string_length(op));
    line->operation.type = operation_by_name(name);
    if (line->operation.type == OPERATION_TYPES) {
        text_add(error, "unknown operation \"");
        text_add_json(error, slice_of(name.data, name.len < 80 ? name.len : 80));
        text_add(error, "\"");
        return ERR_SYNTAX;
    }
    return read_fields(line, operation_info(line->operation.type), error);
}

static enum err read_end(struct transfer_line *line, struct text *error)
{
    line->kind = TRANSFER_END;
    if (!json_is_true(json_object_get(line->object, "end")) ||
        json_object_size(line->object) != 2) {
        text_add(error, "neither an operation nor the end");
        return ERR_SYNTAX;
    }
    return read_number(json_object_get(line->object, "operations"), "operations", EXACT_MAX,
                       &line->operations, error);
}

static enum err parse(struct slice text, json_t **object, struct text *error)
{
    json_error_t problem;
    json_t *json = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &problem);
    if (json == NULL) {
        text_add(error, "this is not JSON: ");
        text_add_json(error, slice_text(problem.text));
        return json_error_code(&problem) == json_error_out_of_memory ? ERR_MEMORY : ERR_SYNTAX;
    }
    if (!json_is_object(json)) {
        json_decref(json);
        text_add(error, "an object is expected");
        return ERR_SYNTAX;
    }
    *object = json;
    return ERR_OK;
}

enum err transfer_json_read(struct slice text, struct transfer_line *line, struct text *error)
{
    struct transfer_line read = {.kind = TRANSFER_OPERATION};
    enum err err = parse(text, &read.object, error);
    if (err != ERR_OK) {
        return err;
    }
    const json_t *op = json_object_get(read.object, "op");
    err = json_is_string(op) ? read_operation(&read, op, error) : read_end(&read, error);
    if (err != ERR_OK) {
        transfer_line_fini(&read);
        return err;
    }
    *line = read;
    return ERR_OK;
}

void transfer_line_fini(struct transfer_line *line)
{
    for (size_t i = 0; i < line->owned_count; i++) {
        mem_free(line->owned[i]);
    }
    json_decref(line->object);
    *line = (struct transfer_line){.kind = TRANSFER_OPERATION};
}

enum err transfer_json_read_header(struct slice text, struct text *error)
{
    json_t *object = NULL;
    enum err err = parse(text, &object, error);
    if (err != ERR_OK) {
        return err;
    }
    const char *format = json_string_value(json_object_get(object, "format"));
    json_int_t version = json_integer_value(json_object_get(object, "version"));
    if (format == NULL || strcmp(format, TRANSFER_FORMAT) != 0 || version < 1) {
        text_add(error, "an export of pulse begins with {\"format\":\"" TRANSFER_FORMAT
                        "\",\"version\":1}");
        err = ERR_SYNTAX;
    } else if (version > TRANSFER_VERSION) {
        text_printf(error, "version %lld of the format is newer than this pulse, which knows %d",
                    (long long)version, TRANSFER_VERSION);
        err = ERR_VERSION;
    } else if (json_object_size(object) != 2) {
        text_add(error, "only \"format\" and \"version\" are expected");
        err = ERR_SYNTAX;
    }
    json_decref(object);
    return err;
}
