#include "node/config_value_priv.h"

#include <inttypes.h>
#include <openssl/crypto.h>

#include "base/mem.h"

struct unit {
    const char *name;
    uint64_t factor;
};

/* Smallest first; the last row of each has no name. */
static const struct unit durations[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                        {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
static const struct unit sizes[] = {
    {"B", 1},     {"KiB", 1024},       {"MiB", 1024 * 1024},       {"GiB", 1024 * 1024 * 1024},
    {"KB", 1000}, {"MB", 1000 * 1000}, {"GB", 1000 * 1000 * 1000}, {NULL, 0}};
/* The units that a size is printed with are the first four. */
#define BINARY_SIZES 4

static const char *const bool_words[][2] = {
    {"false", "true"}, {"no", "yes"}, {"off", "on"}}; /* those of YAML */

static bool ends_with(const char *text, const char *tail)
{
    size_t len = strlen(text);
    size_t tail_len = strlen(tail);
    return len >= tail_len && strcmp(text + len - tail_len, tail) == 0;
}

/* The product, or the largest number when that is too small for it. */
static uint64_t saturating_multiply(uint64_t a, uint64_t b)
{
    uint64_t product = 0;
    return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

/*
 * Reads the decimal number that `words` starts with, and points `*rest` behind it. A number that is
 * too large for any option becomes UINT64_MAX, so that it is out of range and not nonsense.
 */
static enum err read_number(const char *words, uint64_t *number, const char **rest)
{
    const char *at = words;
    uint64_t sum = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        sum = saturating_multiply(sum, 10);
        sum = __builtin_add_overflow(sum, (uint64_t)(*at - '0'), &sum) ? UINT64_MAX : sum;
    }
    bool octal_looking = words[0] == '0' && at > words + 1;
    if (at == words || octal_looking) {
        return ERR_SYNTAX;
    }
    *number = sum;
    *rest = at;
    return ERR_OK;
}

/* What a number without a unit counts: milliseconds for keys that end in _ms, else seconds; bytes.
 */
static uint64_t bare_factor(const struct config_option *option)
{
    return option->kind == CONFIG_KIND_DURATION && !ends_with(option->key, "_ms") ? 1000 : 1;
}

static enum err parse_units(const struct config_option *option, const char *words, uint64_t *number)
{
    const struct unit *unit = option->kind == CONFIG_KIND_SIZE ? sizes : durations;
    const char *rest = NULL;
    if (read_number(words, number, &rest) != ERR_OK) {
        return ERR_SYNTAX;
    }
    if (rest[0] == '\0') {
        *number = saturating_multiply(*number, bare_factor(option));
        return ERR_OK;
    }
    while (unit->name != NULL && strcmp(unit->name, rest) != 0) {
        unit++;
    }
    *number = saturating_multiply(*number, unit->factor);
    return unit->name == NULL ? ERR_SYNTAX : ERR_OK;
}

static enum err parse_count(const char *words, uint64_t *number)
{
    const char *rest = NULL;
    enum err err = read_number(words, number, &rest);
    return err == ERR_OK && rest[0] != '\0' ? ERR_SYNTAX : err;
}

static enum err parse_bool(const char *words, uint64_t *number)
{
    for (size_t i = 0; i < ARRAY_COUNT(bool_words); i++) {
        for (uint64_t truth = 0; truth < 2; truth++) {
            if (strcmp(words, bool_words[i][truth]) == 0) {
                *number = truth;
                return ERR_OK;
            }
        }
    }
    return ERR_SYNTAX;
}

/* Are they the same word? The predecessor also took queue_offline for queue-offline. */
static bool same_word(const char *word, const char *words)
{
    while (*word != '\0' && (*word == *words || (*word == '-' && *words == '_'))) {
        word++;
        words++;
    }
    return *word == *words;
}

static enum err parse_enum(const struct config_option *option, const char *words, uint64_t *number)
{
    for (uint64_t i = 0; option->words[i] != NULL; i++) {
        if (same_word(option->words[i], words)) {
            *number = i;
            return ERR_OK;
        }
    }
    return ERR_SYNTAX;
}

/* The word for an ADDRESS or STRING that is not there. */
static const char *word_for_none(const struct config_option *option)
{
    bool own = option->kind == CONFIG_KIND_STRING && option->rule->none != NULL;
    return own ? option->rule->none : "off";
}

/* An ADDRESS or STRING that need not be there. */
static bool is_off(const struct config_option *option, const char *words)
{
    return option->minimum == 0 && strcmp(words, word_for_none(option)) == 0;
}

static enum err parse_address(const struct config_option *option, const char *words,
                              const char **text)
{
    char host[CONFIG_HOST_SIZE];
    uint16_t port = 0;
    if (is_off(option, words)) {
        *text = "";
        return ERR_OK;
    }
    *text = words;
    return config_split_address(words, host, &port);
}

static enum err parse_string(const struct config_option *option, const char *words,
                             const char **text)
{
    size_t len = strlen(words);
    if (is_off(option, words)) {
        *text = "";
        return ERR_OK;
    }
    *text = words;
    bool fits = len > 0 && len >= option->minimum && len <= option->maximum;
    return fits ? option->rule->check(words) : ERR_SYNTAX;
}

static enum err check_range(const struct config_option *option, uint64_t number)
{
    bool inside = number >= option->minimum && number <= option->maximum;
    bool whole = option->step < 2 || number % option->step == 0;
    return inside && whole ? ERR_OK : ERR_RANGE;
}

static enum err parse(const struct config_option *option, const char *words,
                      struct config_value *value)
{
    enum err err = ERR_SYNTAX;
    switch (option->kind) {
    case CONFIG_KIND_BOOL:
        return parse_bool(words, &value->number);
    case CONFIG_KIND_ENUM:
        return parse_enum(option, words, &value->number);
    case CONFIG_KIND_STRING:
        return parse_string(option, words, &value->text);
    case CONFIG_KIND_ADDRESS:
        return parse_address(option, words, &value->text);
    case CONFIG_KIND_UINT:
        err = parse_count(words, &value->number);
        break;
    case CONFIG_KIND_DURATION:
    case CONFIG_KIND_SIZE:
        err = parse_units(option, words, &value->number);
        break;
    }
    return err == ERR_OK ? check_range(option, value->number) : err;
}

/* What a bad value is said to be. */
static const char *noun(const struct config_option *option)
{
    switch (option->kind) {
    case CONFIG_KIND_BOOL:
        return "not a yes or no";
    case CONFIG_KIND_UINT:
        return "not a number";
    case CONFIG_KIND_DURATION:
        return "not a duration";
    case CONFIG_KIND_SIZE:
        return "not a size";
    case CONFIG_KIND_ENUM:
        return "not one of the words";
    case CONFIG_KIND_STRING:
        return option->rule->noun;
    case CONFIG_KIND_ADDRESS:
        return "not an address";
    }
    return "";
}

static bool is_text(const struct config_option *option)
{
    return option->kind == CONFIG_KIND_STRING || option->kind == CONFIG_KIND_ADDRESS;
}

static bool may_be_secret(const struct config_option *option)
{
    return option->kind == CONFIG_KIND_STRING && option->rule->add_shown != NULL;
}

/* Adds the bad value, unless there may be a secret in it. */
static void add_bad(const struct config_option *option, const char *words, struct text *error)
{
    const size_t shown_max = 80;
    size_t len = strlen(words);
    if (may_be_secret(option)) {
        text_add(error, "the value");
        return;
    }
    text_add(error, "\"");
    text_add_json(error, slice_of(words, len < shown_max ? len : shown_max));
    text_add(error, len < shown_max ? "\"" : "...\"");
}

static void explain(const struct config_option *option, const char *words, enum err err,
                    struct text *error)
{
    add_bad(option, words, error);
    text_printf(error, " is %s (allowed: ", err == ERR_RANGE ? "out of range" : noun(option));
    config__value_add_allowed(option, error);
    text_add(error, ")");
}

enum err config__value_parse(const struct config_option *option, const char *words,
                             struct config_value *value, struct text *error)
{
    struct config_value parsed = {0};
    enum err err = parse(option, words, &parsed);
    if (err != ERR_OK) {
        explain(option, words, err, error);
        return err;
    }
    *value = parsed;
    return ERR_OK;
}

/* Adds a number with the largest unit that leaves no rest. */
static void add_with_unit(const struct config_option *option, uint64_t number, struct text *text)
{
    bool size = option->kind == CONFIG_KIND_SIZE;
    const struct unit *units = size ? sizes : durations;
    size_t best = size ? BINARY_SIZES : ARRAY_COUNT(durations) - 1;
    do {
        best--;
    } while (number % units[best].factor != 0);
    if (number == 0 || (size && best == 0)) {
        text_printf(text, "%" PRIu64, number);
    } else {
        text_printf(text, "%" PRIu64 "%s", number / units[best].factor, units[best].name);
    }
}

/* Does the key itself say what is counted? */
static bool key_names_unit(const struct config_option *option)
{
    return ends_with(option->key, option->kind == CONFIG_KIND_SIZE ? "_bytes" : "_ms");
}

static void add_text(const struct config_option *option, const char *words, struct text *text)
{
    if (words[0] == '\0') {
        text_add(text, word_for_none(option));
    } else if (may_be_secret(option)) {
        option->rule->add_shown(words, text);
    } else {
        text_add(text, words);
    }
}

void config__value_add(const struct config_option *option, struct config_value value,
                       struct text *text)
{
    switch (option->kind) {
    case CONFIG_KIND_BOOL:
        text_add(text, bool_words[0][value.number]);
        break;
    case CONFIG_KIND_UINT:
        text_printf(text, "%" PRIu64, value.number);
        break;
    case CONFIG_KIND_DURATION:
    case CONFIG_KIND_SIZE:
        if (key_names_unit(option)) {
            text_printf(text, "%" PRIu64, value.number);
        } else {
            add_with_unit(option, value.number, text);
        }
        break;
    case CONFIG_KIND_ENUM:
        text_add(text, option->words[value.number]);
        break;
    case CONFIG_KIND_STRING:
    case CONFIG_KIND_ADDRESS:
        add_text(option, value.text, text);
        break;
    }
}

static void add_words(const struct config_option *option, struct text *text)
{
    for (size_t i = 0; option->words[i] != NULL; i++) {
        text_printf(text, "%s%s", i == 0 ? "" : ", ", option->words[i]);
    }
}

static void add_bound(const struct config_option *option, uint64_t number, struct text *text)
{
    if (option->kind == CONFIG_KIND_UINT) {
        text_printf(text, "%" PRIu64, number);
    } else {
        add_with_unit(option, number, text);
    }
}

static void add_range(const struct config_option *option, struct text *text)
{
    add_bound(option, option->minimum, text);
    text_add(text, " to ");
    add_bound(option, option->maximum, text);
}

static void add_none(const struct config_option *option, struct text *text)
{
    if (option->minimum == 0) {
        text_printf(text, "; %s", word_for_none(option));
    }
}

void config__value_add_allowed(const struct config_option *option, struct text *text)
{
    switch (option->kind) {
    case CONFIG_KIND_BOOL:
        text_add(text, "true, false");
        break;
    case CONFIG_KIND_UINT:
        add_range(option, text);
        break;
    case CONFIG_KIND_DURATION:
        add_range(option, text);
        text_add(text, option->step > 1 ? ", in whole seconds, such as 10s or 5m"
                                        : ", such as 500ms, 10s or 5m");
        break;
    case CONFIG_KIND_SIZE:
        add_range(option, text);
        text_add(text, ", such as 65536 or 64KiB");
        break;
    case CONFIG_KIND_ENUM:
        add_words(option, text);
        break;
    case CONFIG_KIND_STRING:
        text_add(text, option->rule->allowed);
        add_none(option, text);
        break;
    case CONFIG_KIND_ADDRESS:
        text_add(text, "host:port, such as 127.0.0.1:1883 or [::1]:1883");
        add_none(option, text);
        break;
    }
}

static void free_text(const struct config_option *option, char *text)
{
    if (text != NULL && may_be_secret(option)) {
        OPENSSL_cleanse(text, strlen(text));
    }
    mem_free(text);
}

/* The offset of an option is that of a field of the type that its kind names. */
void config__value_store(const struct config_option *option, struct config_value value,
                         void *object)
{
    void *place = (char *)object + option->offset;
    const char **text = place;
    switch (option->kind) {
    case CONFIG_KIND_BOOL:
        *(CONFIG_C_BOOL *)place = value.number != 0;
        break;
    case CONFIG_KIND_UINT:
    case CONFIG_KIND_DURATION:
    case CONFIG_KIND_SIZE:
        *(uint64_t *)place = value.number;
        break;
    case CONFIG_KIND_ENUM:
        *(CONFIG_C_ENUM *)place = (int)value.number;
        break;
    case CONFIG_KIND_STRING:
    case CONFIG_KIND_ADDRESS:
        free_text(option, (char *)*text);
        *text = value.text == NULL ? NULL : mem_copy_text(value.text, strlen(value.text));
        break;
    }
}

struct config_value config__value_load(const struct config_option *option, const void *object)
{
    const void *place = (const char *)object + option->offset;
    switch (option->kind) {
    case CONFIG_KIND_BOOL:
        return (struct config_value){.number = *(const CONFIG_C_BOOL *)place};
    case CONFIG_KIND_ENUM:
        return (struct config_value){.number = (uint64_t) * (const CONFIG_C_ENUM *)place};
    case CONFIG_KIND_STRING:
    case CONFIG_KIND_ADDRESS:
        return (struct config_value){.text = *(const char *const *)place};
    case CONFIG_KIND_UINT:
    case CONFIG_KIND_DURATION:
    case CONFIG_KIND_SIZE:
        break;
    }
    return (struct config_value){.number = *(const uint64_t *)place};
}

bool config__value_equal(const struct config_option *option, struct config_value a,
                         struct config_value b)
{
    return is_text(option) ? strcmp(a.text, b.text) == 0 : a.number == b.number;
}

bool config__value_is_default(const struct config_option *option, const void *object)
{
    struct config_value initial = {0};
    struct text reason = {0};
    if (option->initial == NULL) {
        return false;
    }
    enum err err = config__value_parse(option, option->initial, &initial, &reason);
    ASSERT(err == ERR_OK);
    return config__value_equal(option, config__value_load(option, object), initial);
}

bool config__value_has_secret(const struct config_option *option, const char *text)
{
    if (!may_be_secret(option) || text[0] == '\0') {
        return false;
    }
    struct text shown = {0};
    option->rule->add_shown(text, &shown);
    bool hides = strcmp(shown.data, text) != 0;
    text_fini(&shown);
    return hides;
}
