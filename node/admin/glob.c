#include "node/admin/glob_priv.h"

bool glob__matches(struct slice pattern, struct slice text)
{
    size_t at = 0;
    size_t in = 0;
    size_t star = SIZE_MAX; /* the last one in the pattern, and where it began to match */
    size_t star_in = 0;
    while (in < text.len) {
        if (at < pattern.len && pattern.data[at] == '*') {
            star = at++;
            star_in = in;
        } else if (at < pattern.len &&
                   (pattern.data[at] == '?' || pattern.data[at] == text.data[in])) {
            at++;
            in++;
        } else if (star != SIZE_MAX) {
            at = star + 1; /* it takes one byte more */
            in = ++star_in;
        } else {
            return false;
        }
    }
    while (at < pattern.len && pattern.data[at] == '*') {
        at++;
    }
    return at == pattern.len;
}
