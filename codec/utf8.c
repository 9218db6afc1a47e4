#include "codec/topic.h"

#include "codec/ascii_priv.h"

/* What may follow a lead byte: so many continuation bytes, the first of them within a range. */
struct lead_rule {
    uint8_t more;
    uint8_t low;
    uint8_t high;
};

/* Unicode 15, table 3-7: no over-long forms, no surrogates, nothing above U+10FFFF. */
static struct lead_rule lead_rule(uint8_t lead)
{
    if (lead >= 0xc2 && lead <= 0xdf) {
        return (struct lead_rule){1, 0x80, 0xbf};
    }
    if (lead >= 0xe0 && lead <= 0xef) {
        return (struct lead_rule){2, lead == 0xe0 ? 0xa0 : 0x80, lead == 0xed ? 0x9f : 0xbf};
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        return (struct lead_rule){3, lead == 0xf0 ? 0x90 : 0x80, lead == 0xf4 ? 0x8f : 0xbf};
    }
    return (struct lead_rule){0, 0, 0};
}

/* Bytes of the character at the start of `s`, which is not empty and not ASCII; 0 when it is none.
 */
static size_t wide_char_len(struct slice s)
{
    struct lead_rule rule = lead_rule(s.data[0]);
    if (rule.more == 0 || s.len <= rule.more || s.data[1] < rule.low || s.data[1] > rule.high) {
        return 0;
    }
    for (size_t i = 2; i <= rule.more; i++) {
        if ((s.data[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return (size_t)rule.more + 1;
}

static bool well_formed(struct slice s, bool nul_allowed)
{
    size_t at = 0;
    while (at < s.len) {
        if (s.len - at >= 8 && (ascii_odd_text(ascii_load8(s.data + at)) & ASCII_HIGH) == 0) {
            at += 8;
            continue;
        }
        if (s.data[at] < 128) {
            if (s.data[at] == 0 && !nul_allowed) {
                return false;
            }
            at++;
            continue;
        }
        size_t len = wide_char_len(slice_from(s, at));
        if (len == 0) {
            return false;
        }
        at += len;
    }
    return true;
}

bool utf8_valid(struct slice s)
{
    return ascii_plain(s, false) || well_formed(s, false);
}

bool utf8_well_formed(struct slice s)
{
    return well_formed(s, true);
}
