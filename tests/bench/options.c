#include "tests/bench/options.h"
#include "tests/bench/probe.h"
#include "tests/bench/scenario.h"
#include "tests/bench/stamp.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum option_kind { OPTION_TEXT, OPTION_NUMBER, OPTION_BYTES, OPTION_SECONDS, OPTION_FLAG };

/* `low` and `high` bound numbers (milliseconds for seconds), and `high` the length of texts. */
struct option_rule {
    const char *name;
    const char *value; /* how --help names it */
    size_t offset;
    uint64_t low;
    uint64_t high;
    enum option_kind kind;
    char letter; /* 0: none */
    const char *help;
};

#define AT(field) offsetof(struct options, field)
/* clang-format off */
static const struct option_rule rules[] = {
    {"host", "NAME", AT(host), 1, 255, OPTION_TEXT, 'H',
     "broker's address (127.0.0.1)"},
    {"port", "PORT", AT(port), 1, 31, OPTION_TEXT, 'p',
     "broker's port (1883)"},
    {"username", "TEXT", AT(username), 0, WIRE_STRING_BYTES_MAX, OPTION_TEXT, 'u',
     "user name to log in with; %u in it is the number of the connection"},
    {"password", "TEXT", AT(password), 0, WIRE_STRING_BYTES_MAX, OPTION_TEXT, 'P',
     "password to log in with"},
    {"mqtt-version", "4|5", AT(version), 4, 5, OPTION_NUMBER, 'V',
     "protocol level: 4 is 3.1.1 (4)"},
    {"prefix", "TOPIC", AT(prefix), 1, SCENARIO_PREFIX_BYTES_MAX, OPTION_TEXT, 0,
     "first level of all topics (bench)"},
    {"publishers", "N", AT(publishers), 1, 10000, OPTION_NUMBER, 'm',
     "publishing connections"},
    {"subscribers", "N", AT(subscribers), 1, 10000, OPTION_NUMBER, 'n',
     "subscribing connections"},
    {"payload", "BYTES", AT(payload), STAMP_BYTES, SCENARIO_PAYLOAD_BYTES_MAX, OPTION_BYTES, 's',
     "payload size, also 4k or 1m"},
    {"qos", "0|1|2", AT(qos), 0, 2, OPTION_NUMBER, 'q',
     "of publishers and subscriptions"},
    {"window", "N", AT(window), 0, 60000, OPTION_NUMBER, 'w',
     "messages in flight per publisher; QoS 0: delivered, else acknowledged; 0: no limit"},
    {"rate", "N", AT(rate), 0, 10000000, OPTION_NUMBER, 'r',
     "messages per second of all publishers together; 0: as fast as the window allows"},
    {"read-rate", "N", AT(read_rate), 0, 10000000, OPTION_NUMBER, 0,
     "messages per second that each subscriber reads; 0: as they come"},
    {"count", "N", AT(count), 0, 1000000000, OPTION_NUMBER, 'c',
     "end after N messages per publisher, or after --duration if that is given and sooner"},
    {"connections", "N", AT(connections), 1, 1000000, OPTION_NUMBER, 'i',
     "idle connections; crowd: those that connect at once"},
    {"topics", "N", AT(topics), 1, 1000000, OPTION_NUMBER, 't',
     "retained messages"},
    {"parallel", "N", AT(parallel), 1, 10000, OPTION_NUMBER, 0,
     "connections under way at a time"},
    {"warmup", "S", AT(warmup_ms), 0, 600000, OPTION_SECONDS, 0,
     "seconds before measuring"},
    {"duration", "S", AT(duration_ms), 50, 86400000, OPTION_SECONDS, 'd',
     "seconds measured"},
    {"stall", "S", AT(stall_ms), 100, 600000, OPTION_SECONDS, 0,
     "seconds without progress that mean failure (10)"},
    {"broker-pid", "PID", AT(broker_pid), 1, INT32_MAX, OPTION_NUMBER, 'b',
     "process whose CPU time and memory are measured"},
    {"run-id", "N", AT(run_id), 1, UINT32_MAX, OPTION_NUMBER, 0,
     "in client ids and topics, so that a drain finds what a store left (process id)"},
    {"file", "PATH", AT(file), 1, 4000, OPTION_TEXT, 0,
     "file of 16 MiB for scenario disk: made if need be, overwritten, and left"},
    {"transport", "WORD", AT(transport), 2, 3, OPTION_TEXT, 'T',
     "tcp, tls, ws or wss (tcp); the broker's certificate is not checked"},
    {"path", "PATH", AT(path), 1, 255, OPTION_TEXT, 0,
     "path that a WebSocket request asks for (/mqtt)"},
    {"tls-1.2", NULL, AT(tls_1_2), 0, 0, OPTION_FLAG, 0,
     "TLS 1.2 instead of 1.3"},
    {"resume", NULL, AT(resume), 0, 0, OPTION_FLAG, 0,
     "connections resume the TLS session of an earlier one"},
    {"certificate", "FILE", AT(certificate), 1, 4000, OPTION_TEXT, 0,
     "PEM file, for scenario handshake"},
    {"private-key", "FILE", AT(private_key), 1, 4000, OPTION_TEXT, 0,
     "PEM file, for scenario handshake"},
    {"persistent", NULL, AT(persistent), 0, 0, OPTION_FLAG, 0,
     "subscribers have sessions that outlive their connections"},
    {"spin", NULL, AT(spin), 0, 0, OPTION_FLAG, 0,
     "poll without sleeping (when a --rate is given)"},
    {"no-spin", NULL, AT(no_spin), 0, 0, OPTION_FLAG, 0,
     "sleep between events (else)"},
    {"json", NULL, AT(json), 0, 0, OPTION_FLAG, 'j',
     "print one JSON object instead of a line"},
    {"help", NULL, 0, 0, 0, OPTION_FLAG, 'h',
     "print this"},
};
/* clang-format on */

enum {
    RULES = sizeof(rules) / sizeof(rules[0]),
    VALUE_BASE = 256,
    COUNT_DURATION_MS = 86400000, /* a stall ends it sooner */
    ACKNOWLEDGED_WINDOW = 20,     /* QoS 1 and 2; some brokers close a connection that has more */
};

static void *field_of(struct options *options, const struct option_rule *rule)
{
    return (char *)options + rule->offset;
}

static void print_help(void)
{
    printf(
        "usage: pulse-bench SCENARIO [options]\n\n"
        "Loads an MQTT broker, checks that every message arrives once and in order, and says what\n"
        "it cost. Exit: 0 all well, 1 something lost, doubled or broken, 2 wrong usage.\n\n"
        "scenarios:\n");
    for (unsigned i = 0; i < scenario_count; i++) {
        printf("  %-10s %s\n", scenarios[i].name, scenarios[i].summary);
    }
    printf("\noptions (defaults depend on the scenario where none is named):\n");
    for (unsigned i = 0; i < RULES; i++) {
        const struct option_rule *rule = &rules[i];
        char left[64];
        snprintf(left, sizeof(left), "--%s %s", rule->name, rule->value != NULL ? rule->value : "");
        char letter[4] = {rule->letter != 0 ? '-' : ' ', rule->letter != 0 ? rule->letter : ' ',
                          rule->letter != 0 ? ',' : ' ', 0};
        printf("  %s %-20s %s\n", letter, left, rule->help);
    }
}

static void __attribute__((noreturn)) refuse(const struct option_rule *rule, const char *text)
{
    fprintf(stderr, "pulse-bench: --%s: \"%s\" is not ", rule->name, text);
    if (rule->kind == OPTION_TEXT) {
        fprintf(stderr, "a text of %llu to %llu bytes\n", (unsigned long long)rule->low,
                (unsigned long long)rule->high);
    } else if (rule->kind == OPTION_SECONDS) {
        fprintf(stderr, "a number of seconds from %.3f to %.0f\n", (double)rule->low / 1000,
                (double)rule->high / 1000);
    } else {
        fprintf(stderr, "a number from %llu to %llu\n", (unsigned long long)rule->low,
                (unsigned long long)rule->high);
    }
    exit(2);
}

static uint64_t parse_number(const struct option_rule *rule, const char *text)
{
    char *end = NULL;
    errno = 0;
    double scale = rule->kind == OPTION_SECONDS ? 1000 : 1;
    double number = strtod(text, &end);
    if (rule->kind == OPTION_BYTES && (*end == 'k' || *end == 'm')) {
        scale = *end == 'k' ? 1024 : 1024 * 1024;
        end++;
    }
    number *= scale;
    bool is_number = end != text && *end == 0 && errno == 0 && isfinite(number);
    if (!is_number || number < (double)rule->low || number > (double)rule->high ||
        (rule->kind == OPTION_NUMBER && number != floor(number))) {
        refuse(rule, text);
    }
    return (uint64_t)number;
}

static void apply(struct options *options, const struct option_rule *rule, const char *text)
{
    switch (rule->kind) {
    case OPTION_TEXT:
        if (strlen(text) < rule->low || strlen(text) > rule->high) {
            refuse(rule, text);
        }
        *(const char **)field_of(options, rule) = text;
        break;
    case OPTION_NUMBER:
    case OPTION_BYTES:
    case OPTION_SECONDS:
        *(uint64_t *)field_of(options, rule) = parse_number(rule, text);
        break;
    case OPTION_FLAG:
        if (strcmp(rule->name, "help") == 0) {
            print_help();
            exit(0);
        }
        *(bool *)field_of(options, rule) = true;
        break;
    }
}

static void parse_words(struct options *options, int argc, char **argv)
{
    struct option longs[RULES + 1] = {0};
    char letters[2 * RULES + 1] = "";
    for (unsigned i = 0; i < RULES; i++) {
        int has_value = rules[i].kind == OPTION_FLAG ? no_argument : required_argument;
        longs[i] = (struct option){rules[i].name, has_value, NULL, VALUE_BASE + (int)i};
        if (rules[i].letter != 0) {
            size_t len = strlen(letters);
            letters[len] = rules[i].letter;
            letters[len + 1] = has_value == required_argument ? ':' : 0;
        }
    }
    for (;;) {
        int got = getopt_long(argc, argv, letters, longs, NULL);
        if (got == -1) {
            return;
        }
        if (got == '?') {
            fprintf(stderr, "pulse-bench: see --help\n");
            exit(2);
        }
        for (unsigned i = 0; i < RULES; i++) {
            if (got == VALUE_BASE + (int)i || got == rules[i].letter) {
                apply(options, &rules[i], optarg);
            }
        }
    }
}

/* Defaults that follow from what was given. */
static void fill_from_options(struct options *options)
{
    bool has_window = options->scenario->defaults.window != OPTION_UNSET;
    if (options->count != OPTION_UNSET && options->count > 0) {
        /* A count measures from the first message to the last, however long that takes. */
        const struct options *defaults = &options->scenario->defaults;
        bool has_times = defaults->duration_ms != OPTION_UNSET;
        if (has_times && options->warmup_ms == OPTION_UNSET) {
            options->warmup_ms = 0;
        }
        if (has_times && options->duration_ms == OPTION_UNSET) {
            options->duration_ms = COUNT_DURATION_MS;
        }
    }
    if (has_window && options->window == OPTION_UNSET && options->qos > 0 &&
        options->qos != OPTION_UNSET) {
        options->window = ACKNOWLEDGED_WINDOW;
    }
}

/* What was not given comes from the scenario; what the scenario has no use for may not be given. */
static void fill_from_scenario(struct options *options)
{
    for (unsigned i = 0; i < RULES; i++) {
        const struct option_rule *rule = &rules[i];
        if (rule->kind == OPTION_TEXT || rule->kind == OPTION_FLAG) {
            continue;
        }
        struct options defaults = options->scenario->defaults;
        uint64_t *value = field_of(options, rule);
        uint64_t fallback = *(uint64_t *)field_of(&defaults, rule);
        if (*value == OPTION_UNSET) {
            *value = fallback;
        } else if (fallback == OPTION_UNSET) {
            fprintf(stderr, "pulse-bench: --%s means nothing to scenario %s\n", rule->name,
                    options->scenario->name);
            exit(2);
        }
    }
}

/* What no rule of a single option can say. Returns what is wrong, or NULL. */
static const char *check_together(const struct options *options)
{
    if (strpbrk(options->prefix, "+#") != NULL) {
        return "--prefix may not contain a wildcard";
    }
    if (options->password != NULL && options->username == NULL) {
        return "--password needs --username";
    }
    bool is_pairs = options->scenario->run == traffic_run_pairs;
    if (is_pairs && options->publishers != options->subscribers) {
        return "this scenario needs as many --publishers as --subscribers";
    }
    if (options->window == 0 && options->qos > 0) {
        return "--window 0 is for QoS 0 only: acknowledgements are a window";
    }
    if (options->broker_pid != 0 && !probe_can_watch((pid_t)options->broker_pid)) {
        return "--broker-pid: no such process";
    }
    bool is_disk = options->scenario->run == disk_run;
    if (is_disk != (options->file != NULL)) {
        return is_disk ? "this scenario needs --file" : "--file is for scenario disk";
    }
    if (options->persistent && options->scenario->defaults.read_rate == OPTION_UNSET) {
        return "--persistent is for publishers and subscribers side by side";
    }
    bool is_store = options->scenario->run == offline_run_store;
    bool is_visit = options->scenario->run == offline_run_drain ||
                    options->scenario->run == offline_run_revisit;
    if ((is_store || is_visit) && (options->qos == 0 || options->count == 0)) {
        return "this scenario needs --qos 1 or 2, and a --count";
    }
    if (is_visit && options->run_id == 0) {
        return "this scenario needs --run-id: that of the store before";
    }
    bool has_files = options->certificate != NULL && options->private_key != NULL;
    if (options->scenario->run == handshake_run && !has_files) {
        return "this scenario needs --certificate and --private-key";
    }
    if (!transport_is_known(options->transport)) {
        return "--transport is tcp, tls, ws or wss";
    }
    if (options->broker_pid == 0 && options->scenario->run == idle_run_node) {
        return "this scenario needs --broker-pid";
    }
    return NULL;
}

void options_parse(struct options *options, int argc, char **argv)
{
    *options = (struct options){.host = "127.0.0.1",
                                .port = "1883",
                                .prefix = "bench",
                                .transport = "tcp",
                                .path = "/mqtt"};
    for (unsigned i = 0; i < RULES; i++) {
        if (rules[i].kind != OPTION_TEXT && rules[i].kind != OPTION_FLAG) {
            *(uint64_t *)field_of(options, &rules[i]) = OPTION_UNSET;
        }
    }
    options->version = 4;
    options->broker_pid = 0;
    options->run_id = 0;
    options->stall_ms = 10000;

    parse_words(options, argc, argv);
    if (optind + 1 != argc) {
        fprintf(stderr, "pulse-bench: name one scenario; see --help\n");
        exit(2);
    }
    options->scenario = scenario_find(argv[optind]);
    if (options->scenario == NULL) {
        fprintf(stderr, "pulse-bench: no scenario \"%s\"; see --help\n", argv[optind]);
        exit(2);
    }
    fill_from_options(options);
    fill_from_scenario(options);
    const char *wrong = check_together(options);
    if (wrong != NULL) {
        fprintf(stderr, "pulse-bench: %s\n", wrong);
        exit(2);
    }
}
