#include "node/auth/outage.h"

#include "base/clock.h"
#include "base/log.h"

#define PAUSE_MS 60000

void outage_failed(struct outage *outage, const char *what, const char *trouble)
{
    uint64_t now_ms = clock_mono_ms();
    outage->failures++;
    if (outage->said_at_ms != 0 && now_ms - outage->said_at_ms < PAUSE_MS) {
        return;
    }
    log_error(LOG_AUTH, "clients can't be let in: a server does not answer as it should",
              log_text("server", what), log_slice("error", slice_text(trouble)),
              log_uint("failures", outage->failures));
    outage->said = true;
    outage->said_at_ms = now_ms;
    outage->failures = 0;
}

void outage_worked(struct outage *outage, const char *what)
{
    if (outage->said) {
        outage->said = false;
        log_notice(LOG_AUTH, "a server for logins works again", log_text("server", what),
                   log_uint("failures", outage->failures));
        outage->failures = 0;
    }
}
