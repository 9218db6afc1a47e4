#include "tests/bench/crowd.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KEEP_ALIVE_S = 600 };

/* What the process tells, in one write. */
struct crowd_report {
    bool is_good;
    uint64_t wall_ns;
    char error[256];
};

/* ---- in the process -------------------------------------------------------------------------- */

struct members {
    struct link *links;
    uint32_t count;
    uint32_t ready;
};

static void on_ready(struct link *link)
{
    struct members *members = link->owner;
    members->ready++;
}

static void open_all(struct members *members, struct bench *bench)
{
    static const struct link_handler handler = {.ready = on_ready};
    for (uint32_t i = 0; i < members->count && !bench->loop.failed; i++) {
        struct link_setup setup;
        scenario_fill_setup(bench, "x", i, &setup);
        setup.handler = &handler;
        setup.owner = members;
        setup.keep_alive_s = KEEP_ALIVE_S;
        setup.out_bytes = 512;
        link_open(&members->links[i], &bench->loop, &setup); /* a failure has called loop_fail() */
    }
}

static void allow_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* connecting fails loudly */
    }
}

static void __attribute__((noreturn)) be_a_crowd(const struct bench *parents, int report_fd)
{
    struct crowd_report report = {0};
    struct bench bench = {.options = parents->options, .run_id = parents->run_id};
    struct members members = {.count = (uint32_t)bench.options->connections};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){0});
    allow_descriptors();
    members.links = calloc(members.count, sizeof(*members.links));
    if (members.links != NULL && loop_init(&bench.loop, bench.options->host, bench.options->port) &&
        transport_plan_create(bench.options, &bench.loop.transport)) {
        uint64_t start_ns = loop_clock(&bench.loop);
        bench.loop.stall_ns = parents->loop.stall_ns;
        open_all(&members, &bench);
        while (members.ready < members.count && !bench.loop.failed) {
            loop_flush(&bench.loop);
            loop_turn(&bench.loop, NS_PER_S);
        }
        report.wall_ns = loop_clock(&bench.loop) - start_ns;
        report.is_good = !bench.loop.failed;
        memcpy(report.error, bench.loop.error, sizeof(report.error));
    }
    ssize_t written = write(report_fd, &report, sizeof(report));
    _exit(written == sizeof(report) ? 0 : 1);
}

/* ---- in ours --------------------------------------------------------------------------------- */

bool crowd_start(struct crowd *crowd, struct bench *bench)
{
    int report[2];
    *crowd = (struct crowd){.bench = bench};
    if (pipe2(report, O_CLOEXEC | O_NONBLOCK) != 0) {
        loop_fail(&bench->loop, "pipe: %s", strerror(errno));
        return false;
    }
    crowd->span = probe_clocks((pid_t)bench->options->broker_pid);
    crowd->pid = fork();
    if (crowd->pid == 0) {
        be_a_crowd(bench, report[1]);
    }
    close(report[1]);
    if (crowd->pid < 0) {
        crowd->pid = 0;
        close(report[0]);
        loop_fail(&bench->loop, "fork: %s", strerror(errno));
        return false;
    }
    crowd->report_fd = report[0];
    return true;
}

bool crowd_is_over(struct crowd *crowd)
{
    struct crowd_report report;
    ssize_t got = read(crowd->report_fd, &report, sizeof(report));
    if (got < 0 && errno == EAGAIN) {
        return false;
    }
    struct bench *bench = crowd->bench;
    if (got != sizeof(report) || !report.is_good) {
        loop_fail(&bench->loop, "the crowd: %s",
                  got == sizeof(report) ? report.error : "its process has died");
        return true;
    }
    crowd->span = probe_since((pid_t)bench->options->broker_pid, &crowd->span);
    bench->outcome.crowd.connects = bench->options->connections;
    bench->outcome.crowd.wall_ns = report.wall_ns;
    bench->outcome.crowd.broker_ns = crowd->span.broker_ns;
    return true;
}

void crowd_fini(struct crowd *crowd)
{
    if (crowd->pid > 0) {
        kill(crowd->pid, SIGKILL);
        waitpid(crowd->pid, NULL, 0);
        close(crowd->report_fd);
    }
    crowd->pid = 0;
}
