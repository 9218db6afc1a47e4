#include "node/metrics_process_priv.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

uint64_t process__resident_bytes(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) {
        return 0;
    }
    if (fscanf(file, "%*s %llu", &pages) != 1) {
        pages = 0;
    }
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t process__resident_bytes_max(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss * 1024 : 0;
}

uint64_t process__cpu_ns(void)
{
    struct timespec used;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) != 0) {
        return 0;
    }
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

/* Entries of the folder, without `.`, `..` and the one that reading it opens. */
static uint64_t count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL) {
        return 0;
    }
    uint64_t entries = 0;
    while (readdir(dir) != NULL) {
        entries++;
    }
    closedir(dir);
    return entries > 3 ? entries - 3 : 0;
}

uint64_t process__fds(void)
{
    /* Kernels since 6.2 answer without a walk over what may be 100,000 sockets. */
    struct stat status;
    if (stat("/proc/self/fd", &status) == 0 && status.st_size > 0) {
        return (uint64_t)status.st_size;
    }
    return count_fds();
}

uint64_t process__fds_max(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? (uint64_t)limit.rlim_cur : 0;
}

/* When the machine was started, in seconds since 1970-01-01 UTC. */
static unsigned long long boot_time(void)
{
    unsigned long long seconds = 0;
    char line[256]; /* a longer line comes in parts; none of them looks like what we want */
    FILE *file = fopen("/proc/stat", "re");
    if (file == NULL) {
        return 0;
    }
    while (fgets(line, sizeof(line), file) != NULL && sscanf(line, "btime %llu", &seconds) != 1) {
    }
    fclose(file);
    return seconds;
}

/* Clock ticks from the start of the machine to that of the process: field 22 of /proc/self/stat. */
static unsigned long long start_ticks(void)
{
    char line[1024];
    FILE *file = fopen("/proc/self/stat", "re");
    if (file == NULL) {
        return 0;
    }
    size_t len = fread(line, 1, sizeof(line) - 1, file);
    fclose(file);
    line[len] = '\0';

    /* The name of the program, field 2, may contain blanks and brackets: count from its end. */
    char *at = strrchr(line, ')');
    for (int field = 2; at != NULL && field < 22; field++) {
        at = strchr(at + 1, ' ');
    }
    unsigned long long ticks = 0;
    return at != NULL && sscanf(at, "%llu", &ticks) == 1 ? ticks : 0;
}

double process__start_time(void)
{
    return (double)boot_time() + (double)start_ticks() / (double)sysconf(_SC_CLK_TCK);
}
