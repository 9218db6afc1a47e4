/*
 * config_value: the text of a value, to what it means, and back.
 *
 * Strict on purpose: `10s` is not a count, `010` is not ten, `maybe` is not a yes.
 *
 * Thread    any, but for log filters: main, before the workers start.
 * Errors    ERR_SYNTAX or ERR_RANGE, with the reason and what is allowed added to `error`.
 */
#ifndef PULSE_NODE_CONFIG_VALUE_PRIV_H
#define PULSE_NODE_CONFIG_VALUE_PRIV_H

#include "node/config_option_priv.h"

/* Of BOOL, UINT, DURATION, SIZE and ENUM the number; of STRING and ADDRESS the text. */
struct config_value {
    uint64_t number;
    const char *text;
};

/* Reads `words`. The text in `*value` is borrowed from `words` or constant. */
must_check enum err config__value_parse(const struct config_option *option, const char *words,
                                        struct config_value *value, struct text *error);

/* Adds the value as config__value_parse reads it, but for a secret in it. */
void config__value_add(const struct config_option *option, struct config_value value,
                       struct text *text);

/* Adds what is allowed, such as "0 to 64". */
void config__value_add_allowed(const struct config_option *option, struct text *text);

/* Stores a copy in `object`, the configuration or an entry of a list, and frees what was there. */
void config__value_store(const struct config_option *option, struct config_value value,
                         void *object);

/* Borrows the value of `option` from `object`, until it is stored again. */
struct config_value config__value_load(const struct config_option *option, const void *object);

/* Are they the same? */
bool config__value_equal(const struct config_option *option, struct config_value a,
                         struct config_value b);

/* Is the value in `object` the default? A key that must be given has none. */
bool config__value_is_default(const struct config_option *option, const void *object);

/* Is there something in the stored value `text` that must not be shown? */
bool config__value_has_secret(const struct config_option *option, const char *text);

#endif
