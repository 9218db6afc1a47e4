#include "node/config_source_priv.h"

/* Longer words are not compared: nothing of ours is so long. */
#define WORD_MAX 64

/*
 * Single-letter changes between two words, by the usual table, one row at a time. A word that is
 * too long is as far away as it can be.
 */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[WORD_MAX + 1];
    size_t a_len = strlen(a);
    size_t b_len = strlen(b);
    if (a_len > WORD_MAX || b_len > WORD_MAX) {
        return WORD_MAX;
    }
    for (size_t j = 0; j <= b_len; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            size_t shorter = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = changed < shorter ? changed : shorter;
        }
    }
    return row[b_len];
}

void config__guess_offer(struct config_guess *guess, const char *candidate)
{
    size_t distance = edit_distance(guess->word, candidate);
    size_t limit = 1 + strlen(guess->word) / 6;
    bool better = guess->best.len == 0 || distance < guess->distance;
    if (distance <= limit && better) {
        text_fini(&guess->best);
        text_add(&guess->best, candidate);
        guess->distance = distance;
    }
}

void config__guess_finish(struct config_guess *guess, struct text *text)
{
    if (guess->best.len > 0) {
        text_printf(text, "; did you mean \"%s\"?", guess->best.data);
    }
    text_fini(&guess->best);
}
