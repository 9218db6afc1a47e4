/*
 * operation_text_support: operations as lines of text, for comparing them in tests.
 */
#ifndef PULSE_TESTS_OPERATION_TEXT_SUPPORT_H
#define PULSE_TESTS_OPERATION_TEXT_SUPPORT_H

#include "base/text.h"
#include "storage/operation.h"

/* Adds one line: the operation's name, and " field=value" for its fields that aren't zero. Bytes
 * that aren't printable ASCII are escaped. */
void operation_text_add(struct text *text, const struct operation *operation);

/* Sorts the lines of `text`. */
void operation_text_sort(struct text *text);

#endif
