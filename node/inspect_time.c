#include "node/inspect_time.h"

#include <time.h>

#include "base/clock.h"

void inspect_time_add(struct text *text, uint64_t wall_ms)
{
    struct tm parts = {.tm_year = 70, .tm_mday = 1};
    time_t seconds = (time_t)(wall_ms / 1000);
    char words[32];
    gmtime_r(&seconds, &parts);
    strftime(words, sizeof(words), "%Y-%m-%dT%H:%M:%S", &parts);
    text_printf(text, "%s.%03uZ", words, (unsigned)(wall_ms % 1000));
}

uint64_t inspect_time_of(uint64_t mono_ms)
{
    return clock_wall_ms() + mono_ms - clock_mono_ms();
}
