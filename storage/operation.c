#include "storage/operation.h"

#include "base/macros.h"

#define OPERATION(NAME, name, help) static const struct operation_field name##_fields[] = {
#define FIELD(kind, member) {OPERATION_##kind, offsetof(struct operation, member), #member},
#define END \
    }       \
    ;
#include "storage/operations.def"
#undef OPERATION
#undef FIELD
#undef END

static const struct operation_info infos[] = {
#define OPERATION(NAME, name, help) {#name, help, name##_fields, ARRAY_COUNT(name##_fields)},
#define FIELD(kind, member)
#define END
#include "storage/operations.def"
#undef OPERATION
#undef FIELD
#undef END
};

const struct operation_info *operation_info(enum operation_type type)
{
    ASSERT(type < OPERATION_TYPES);
    return &infos[type];
}

enum operation_type operation_by_name(struct slice name)
{
    for (unsigned i = 0; i < OPERATION_TYPES; i++) {
        if (slice_equal(slice_text(infos[i].name), name)) {
            return (enum operation_type)i;
        }
    }
    return OPERATION_TYPES;
}
