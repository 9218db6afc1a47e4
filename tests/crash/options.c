#include "tests/crash/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char usage[] =
    "usage: pulse-crash --broker PROGRAM --dir DIR [OPTION]...\n"
    "\n"
    "Runs a broker under load, kills it again and again, and says what it lost.\n"
    "tests/crash/run prepares all this; tests/crash/README.md explains it.\n"
    "\n"
    "  --engine NAME       memory, wal, sqlite, mysql (wal)\n"
    "  --policy NAME       strict, balanced, fast (balanced)\n"
    "  --mode NAME         kills, calm (no kills), database (its server fails), disk (it is full)\n"
    "  --store DIR         for what the broker stores (--dir)\n"
    "  --database DIR      data folder of a MariaDB server of our own, for mysql\n"
    "  --server PROGRAM    that server (mariadbd)\n"
    "  --workers N         server.worker_threads (4)\n"
    "  --seconds N         how long (20)\n"
    "  --kills N           end after so many kills\n"
    "  --publishers N      (4)\n"
    "  --sessions N        subscribers (10)\n"
    "  --mortals N         clients with wills (4)\n"
    "  --rate N            messages a second of each publisher (150)\n"
    "  --seed N            repeat the choices of another run\n";

static const struct option names[] = {
    {"broker", required_argument, NULL, 'b'},   {"dir", required_argument, NULL, 'd'},
    {"engine", required_argument, NULL, 'e'},   {"policy", required_argument, NULL, 'p'},
    {"mode", required_argument, NULL, 'm'},     {"store", required_argument, NULL, 'o'},
    {"database", required_argument, NULL, 'D'}, {"server", required_argument, NULL, 'S'},
    {"workers", required_argument, NULL, 'w'},  {"seconds", required_argument, NULL, 's'},
    {"kills", required_argument, NULL, 'k'},    {"publishers", required_argument, NULL, 'P'},
    {"sessions", required_argument, NULL, 'n'}, {"mortals", required_argument, NULL, 'M'},
    {"rate", required_argument, NULL, 'r'},     {"seed", required_argument, NULL, 'x'},
    {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0},
};

static void fail(const char *what, const char *value)
{
    fprintf(stderr, "pulse-crash: %s%s\n", what, value);
    exit(2);
}

static uint64_t number(const char *text, uint64_t max)
{
    char *end = NULL;
    unsigned long long value = strtoull(text, &end, 10);
    if (end == text || *end != '\0' || value > max) {
        fail("not a number here: ", text);
    }
    return value;
}

static enum mode mode_of(const char *word)
{
    static const char *const words[] = {
#define X(constant, text) [constant] = text,
        MODES(X)
#undef X
    };
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(word, words[i]) == 0) {
            return (enum mode)i;
        }
    }
    fail("no such mode: ", word);
    return MODE_KILLS;
}

static bool read_text(struct options *options, int name, const char *value)
{
    switch (name) {
    case 'b':
        options->broker = value;
        return true;
    case 'd':
        options->dir = value;
        return true;
    case 'e':
        options->engine = value;
        return true;
    case 'p':
        options->policy = value;
        return true;
    case 'm':
        options->mode = mode_of(value);
        return true;
    case 'o':
        options->store = value;
        return true;
    case 'D':
        options->database = value;
        return true;
    case 'S':
        options->server = value;
        return true;
    default:
        return false;
    }
}

static void read_number(struct options *options, int name, const char *value)
{
    switch (name) {
    case 'w':
        options->workers = (uint32_t)number(value, 64);
        break;
    case 's':
        options->seconds = (uint32_t)number(value, 1000000);
        break;
    case 'k':
        options->kills = (uint32_t)number(value, UINT32_MAX);
        break;
    case 'P':
        options->publishers = (uint32_t)number(value, 16);
        break;
    case 'n':
        options->sessions = (uint32_t)number(value, 40);
        break;
    case 'M':
        options->mortals = (uint32_t)number(value, 16);
        break;
    case 'r':
        options->rate = (uint32_t)number(value, 100000);
        break;
    case 'x':
        options->seed = number(value, UINT64_MAX);
        break;
    default:
        fputs(usage, stderr);
        exit(2);
    }
}

static uint64_t fresh_seed(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return ((uint64_t)now.tv_sec << 20 ^ (uint64_t)now.tv_nsec) & 0xffffffffffff;
}

void options_read(struct options *options, int argc, char **argv)
{
    *options = (struct options){.engine = "wal",
                                .policy = "balanced",
                                .server = "mariadbd",
                                .workers = 4,
                                .seconds = 20,
                                .kills = UINT32_MAX,
                                .publishers = 4,
                                .sessions = 10,
                                .mortals = 4,
                                .rate = 150,
                                .seed = fresh_seed()};
    int name;
    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (name == 'h') {
            fputs(usage, stdout);
            exit(0);
        }
        if (!read_text(options, name, optarg)) {
            read_number(options, name, optarg);
        }
    }
    if (options->broker == NULL || options->dir == NULL || optind < argc) {
        fputs(usage, stderr);
        exit(2);
    }
    if (options->store == NULL) {
        options->store = options->dir;
    }
}
