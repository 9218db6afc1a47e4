/*
 * pulse-bench: loads an MQTT broker, checks what arrives, and says what it cost.
 *
 * One thread, one epoll loop, publishers and subscribers side by side: so it knows which messages
 * are under way, and is never slower than it must be. Start reading at traffic.c.
 */
#include "tests/bench/report.h"
#include "tests/bench/scenario.h"

#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct options options;
    options_parse(&options, argc, argv);

    struct bench bench = {.options = &options, .run_id = (uint64_t)getpid()};
    bench.run_id = options.run_id != 0 ? options.run_id : bench.run_id;
    if (loop_init(&bench.loop, options.host, options.port)) {
        if (!transport_plan_create(&options, &bench.loop.transport)) {
            loop_fini(&bench.loop);
            return 1;
        }
        bench.loop.stall_ns = options.stall_ms * NS_PER_MS;
        options.scenario->run(&bench);
        bench.outcome.handshakes += transport_plan_opened(bench.loop.transport);
        bench.outcome.resumed += transport_plan_resumed(bench.loop.transport);
        transport_plan_destroy(bench.loop.transport);
        loop_fini(&bench.loop);
    }
    report_print(&bench);
    return report_is_good(&bench) ? 0 : 1;
}
