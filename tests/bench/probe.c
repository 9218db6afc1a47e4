#include "tests/bench/probe.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t clock_read(clockid_t clock)
{
    struct timespec now = {0};
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

bool probe_can_watch(pid_t pid)
{
    clockid_t clock;
    return clock_getcpuclockid(pid, &clock) == 0;
}

static uint64_t cpu_time(pid_t pid)
{
    clockid_t clock;
    if (pid == 0 || clock_getcpuclockid(pid, &clock) != 0) {
        return 0;
    }
    return clock_read(clock);
}

struct probe_span probe_clocks(pid_t pid)
{
    return (struct probe_span){
        .wall_ns = clock_read(CLOCK_MONOTONIC),
        .broker_ns = cpu_time(pid),
        .own_ns = clock_read(CLOCK_PROCESS_CPUTIME_ID),
    };
}

struct probe_span probe_since(pid_t pid, const struct probe_span *start)
{
    struct probe_span now = probe_clocks(pid);
    bool has_died = now.broker_ns < start->broker_ns;
    return (struct probe_span){
        .wall_ns = now.wall_ns - start->wall_ns,
        .broker_ns = has_died ? 0 : now.broker_ns - start->broker_ns,
        .own_ns = now.own_ns - start->own_ns,
    };
}

/* The number after `key` at the start of a line of `path`, or 0. */
static uint64_t number_in_file(const char *path, const char *key)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return 0;
    }
    char line[256];
    size_t key_len = strlen(key);
    uint64_t number = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, key, key_len) == 0) {
            number = strtoull(line + key_len, NULL, 10);
            break;
        }
    }
    fclose(file);
    return number;
}

struct probe_memory probe_memory(pid_t pid)
{
    struct probe_memory memory = {0};
    if (pid == 0) {
        return memory;
    }
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    uint64_t rss_kib = number_in_file(path, "VmRSS:");
    uint64_t peak_kib = number_in_file(path, "VmHWM:");
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
    uint64_t exact_kib = number_in_file(path, "Rss:");
    memory.rss_bytes = 1024 * (exact_kib > 0 ? exact_kib : rss_kib);
    memory.rss_peak_bytes = 1024 * peak_kib;
    return memory;
}

struct probe_wakeups probe_wakeups(pid_t pid)
{
    struct probe_wakeups sum = {0};
    char path[320];
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *tasks = pid == 0 ? NULL : opendir(path);
    if (tasks == NULL) {
        return sum;
    }
    for (struct dirent *task = readdir(tasks); task != NULL; task = readdir(tasks)) {
        if (task->d_name[0] == '.') {
            continue;
        }
        snprintf(path, sizeof(path), "/proc/%d/task/%s/status", pid, task->d_name);
        sum.voluntary += number_in_file(path, "voluntary_ctxt_switches:");
        sum.threads++;
    }
    closedir(tasks);
    return sum;
}
