#include "tests/crash/broker.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/crash/client.h"

enum {
    START_TIMEOUT_MS = 60000,
    STOP_TIMEOUT_MS = 30000,
    LOG_BYTES_MAX = 8 * 1024 * 1024,
    LOG_LINES_SHOWN = 40,
    RESTART_MS = 200
};

/* Nothing may be dropped for a limit: what is lost must be the store's doing. */
static const char limits[] = "limits:\n"
                             "  max_offline_queue_len: 1000000\n"
                             "  max_offline_queue_bytes: 1073741824\n"
                             "  max_retained_messages: 100000\n"
                             "  max_retained_payload_bytes: 1073741824\n"
                             "  write_stall_timeout: 0\n";

static bool is_free(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return is;
}

uint16_t broker_free_port(void)
{
    /* Below those that the kernel gives to clients, above those that other tests choose: while the
     * broker is down nobody holds its port. Each program begins elsewhere. */
    enum { FIRST = 30000, COUNT = 2700 };
    static unsigned next;
    for (unsigned i = 0; i < COUNT; i++) {
        uint16_t port = (uint16_t)(FIRST + ((unsigned)getpid() * 101 + next++) % COUNT);
        if (is_free(port)) {
            return port;
        }
    }
    fprintf(stderr, "pulse-crash: no free port\n");
    exit(2);
}

static void write_storage(FILE *file, const struct options *options, uint16_t database_port)
{
    fprintf(file, "storage:\n  engine: %s\n", options->engine);
    if (strcmp(options->engine, "memory") == 0) {
        return;
    }
    fprintf(file, "  commit_policy: %s\n", options->policy);
    if (strcmp(options->engine, "wal") == 0) {
        /* Small ones: recycling and compaction happen all the time. */
        fprintf(file,
                "  wal_dir: %s/wal\n  wal_segment_bytes: 1048576\n"
                "  wal_compact_max_bytes: 4194304\n  wal_compact_interval_ms: 5000\n",
                options->store);
    } else if (strcmp(options->engine, "sqlite") == 0) {
        fprintf(file, "  sqlite: %s/broker.db\n", options->store);
    } else {
        fprintf(file,
                "  mysql: mysql://mq:mqpw@127.0.0.1:%u/mq\n  mysql_timeout_ms: 2000\n"
                "cluster:\n  node_id: crash\n",
                database_port);
    }
}

static void write_config(const struct broker *broker, uint16_t database_port)
{
    const struct options *options = broker->world->options;
    FILE *file = fopen(broker->config, "w");
    if (file == NULL) {
        perror(broker->config);
        exit(2);
    }
    fprintf(file, "server:\n  bind: 127.0.0.1:%u\n  worker_threads: %u\n", broker->world->port,
            options->workers);
    write_storage(file, options, database_port);
    fputs(limits, file);
    fprintf(file, "observability:\n  metrics_bind: 127.0.0.1:%u\n  log: notice\n",
            broker->http_port);
    fclose(file);
}

void broker_init(struct broker *broker, struct world *world, uint16_t database_port)
{
    *broker = (struct broker){.world = world, .http_port = broker_free_port()};
    world->port = broker_free_port();
    snprintf(broker->config, sizeof(broker->config), "%s/pulse.yaml", world->options->dir);
    snprintf(broker->log, sizeof(broker->log), "%s/pulse.log", world->options->dir);
    write_config(broker, database_port);
}

void broker_fini(struct broker *broker)
{
    process_end(&broker->process, SIGKILL);
    free(broker->recoveries_ms);
}

/* One old log is kept. */
static void turn_log(const struct broker *broker)
{
    char old[sizeof(broker->log) + 8];
    struct stat status;
    if (stat(broker->log, &status) == 0 && status.st_size > LOG_BYTES_MAX) {
        snprintf(old, sizeof(old), "%s.1", broker->log);
        rename(broker->log, old);
    }
}

void broker_start(struct broker *broker)
{
    const char *const argv[] = {broker->world->options->broker, "--config", broker->config, NULL};
    turn_log(broker);
    process_start(&broker->process, argv, broker->log);
    broker->is_ready = broker->world->stopping = false;
    broker->started_ms = world_now_ms(broker->world);
    record_note(&broker->world->record, EVENT_STARTED, ACTOR_BROKER, 0, 0);
}

void broker_kill(struct broker *broker)
{
    process_end(&broker->process, SIGKILL);
    broker->is_ready = broker->world->stopping = false;
    record_kill(&broker->world->record);
    world_lose_all(broker->world);
}

void broker_stop(struct broker *broker)
{
    process_signal(&broker->process, SIGTERM);
    broker->world->stopping = true;
    broker->stopped_ms = world_now_ms(broker->world);
    broker->stops++;
    record_note(&broker->world->record, EVENT_STOPPED, ACTOR_BROKER, 0, broker->stops);
}

bool broker_is_running(const struct broker *broker)
{
    return broker->process.pid != 0;
}

static bool answers_somebody(const struct world *world)
{
    for (unsigned i = 0; i < world->client_count; i++) {
        if (world->clients[i]->state == CLIENT_ONLINE) {
            return true;
        }
    }
    return false;
}

static void note_ready(struct broker *broker)
{
    if (broker->recovery_count == broker->recovery_cap) {
        broker->recovery_cap = broker->recovery_cap * 2 + 64;
        broker->recoveries_ms =
            reallocarray(broker->recoveries_ms, broker->recovery_cap, sizeof(uint32_t));
        if (broker->recoveries_ms == NULL) {
            fprintf(stderr, "pulse-crash: out of memory\n");
            abort();
        }
    }
    uint32_t now_ms = world_now_ms(broker->world);
    broker->recoveries_ms[broker->recovery_count++] = now_ms - broker->started_ms;
    broker->is_ready = true;
    broker->world->ready_ms = now_ms;
    record_note(&broker->world->record, EVENT_READY, ACTOR_BROKER, 0, now_ms - broker->started_ms);
}

static bool take_end(struct broker *broker)
{
    char text[64];
    world_lose_all(broker->world);
    if (broker->world->stopping && broker->process.status == 0) {
        broker->is_ready = broker->world->stopping = false;
        return true;
    }
    process_explain(&broker->process, text, sizeof(text));
    if (broker->may_end && !broker->is_ready) {
        broker->started_ms += RESTART_MS; /* as a supervisor would, after a short while */
        while (world_now_ms(broker->world) < broker->started_ms) {
            world_turn(broker->world);
        }
        broker_start(broker);
        return true;
    }
    violation_report(&broker->world->record, VIOLATION_ENDED, 0, ACTOR_BROKER, "%s", text);
    broker_print_log(broker);
    return false;
}

static bool watch_stopping(struct broker *broker)
{
    if (world_now_ms(broker->world) < broker->stopped_ms + STOP_TIMEOUT_MS) {
        return true;
    }
    violation_report(&broker->world->record, VIOLATION_ENDED, 0, ACTOR_BROKER,
                     "not by SIGTERM within %d ms", STOP_TIMEOUT_MS);
    broker_print_log(broker);
    return false;
}

bool broker_watch(struct broker *broker)
{
    if (!broker_is_running(broker)) {
        return true;
    }
    if (process_has_ended(&broker->process)) {
        return take_end(broker);
    }
    if (broker->world->stopping) {
        return watch_stopping(broker);
    }
    if (broker->is_ready) {
        return true;
    }
    if (answers_somebody(broker->world)) {
        note_ready(broker);
    } else if (world_now_ms(broker->world) > broker->started_ms + START_TIMEOUT_MS &&
               !broker->may_end) {
        violation_report(&broker->world->record, VIOLATION_NOT_STARTED, 0, ACTOR_BROKER,
                         "after %d ms", START_TIMEOUT_MS);
        broker_print_log(broker);
        return false;
    }
    return true;
}

void broker_print_log(const struct broker *broker)
{
    char line[1024];
    long count = 0;
    FILE *file = fopen(broker->log, "r");
    if (file == NULL) {
        return;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        count++;
    }
    rewind(file);
    printf("--- the broker's last log lines ---\n");
    for (long i = 0; fgets(line, sizeof(line), file) != NULL; i++) {
        if (i >= count - LOG_LINES_SHOWN) {
            fputs(line, stdout);
        }
    }
    printf("--- end of log ---\n");
    fclose(file);
}
