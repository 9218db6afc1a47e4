#include "base/err.h"

static const char *const texts[] = {
#define X(name, text) [ERR_##name] = text,
#include "base/err.def"
#undef X
};

const char *err_text(enum err err)
{
    return texts[err];
}
