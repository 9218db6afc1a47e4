/*
 * err: the one error type of the tree. What a client did wrong is not here: that is an MQTT reason
 * code (codec/reason.h).
 */
#ifndef PULSE_BASE_ERR_H
#define PULSE_BASE_ERR_H

enum err {
#define X(name, text) ERR_##name,
#include "base/err.def"
#undef X
};

/* Borrows the text of `err`; constant. */
const char *err_text(enum err err);

#endif
