#include "tests/integration/broker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { START_TIMEOUT_MS = 20000, STOP_TIMEOUT_MS = 20000, RETRY_MS = 5, LOG_LINES_SHOWN = 100 };

struct broker {
    pid_t pid;
    int pidfd;
    pid_t logger;     /* copies the broker's pipe to `log`, until that ends; 0: there is none */
    bool told_to_end; /* a second signal would mean: at once */
    bool ended;
    int wait_status;
    bool any_status_is_fine; /* broker_wait_end() saw the end */
    uint16_t port;
    uint16_t http_port;
    char folder[64];
    char config[96];
    char log[96];
};

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static bool is_free(uint16_t port)
{
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return is;
}

/*
 * A port that was free a moment ago, and never the same twice. Below those that the kernel gives to
 * clients, and each test program begins elsewhere: several run at a time.
 */
uint16_t broker_free_port(void)
{
    enum { FIRST = 10000, COUNT = 20000 };
    static unsigned next;
    for (unsigned i = 0; i < COUNT; i++) {
        uint16_t port = (uint16_t)(FIRST + ((unsigned)getpid() * 97 + next++) % COUNT);
        if (is_free(port)) {
            return port;
        }
    }
    return 0;
}

static long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void print_log(const struct broker *broker)
{
    FILE *file = fopen(broker->log, "r");
    if (file == NULL) {
        return;
    }
    char line[512];
    long count = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        count++;
    }
    rewind(file);
    fprintf(stderr, "--- the broker's last log lines ---\n");
    for (long i = 0; fgets(line, sizeof(line), file) != NULL; i++) {
        if (i >= count - LOG_LINES_SHOWN) {
            fputs(line, stderr);
        }
    }
    fprintf(stderr, "--- end of log ---\n");
    fclose(file);
}

/* Writes one section: `own` lines first, then the settings that belong to it; nothing if none do.
 */
static void write_section(FILE *file, const char *section, const char *own,
                          const char *const *settings)
{
    size_t len = strlen(section);
    bool headed = own[0] != '\0';
    if (headed) {
        fprintf(file, "%s:\n%s", section, own);
    }
    for (; *settings != NULL; settings++) {
        if (strncmp(*settings, section, len) == 0 && (*settings)[len] == '.') {
            fprintf(file, "%s%s  %s\n", headed ? "" : section, headed ? "" : ":\n",
                    *settings + len + 1);
            headed = true;
        }
    }
}

/* PULSE_STORAGE: the engine that the broker keeps sessions in; memory when it is not set. */
static void describe_storage(const struct broker *broker, char *out, size_t size)
{
    const char *engine = getenv("PULSE_STORAGE");
    if (engine == NULL || strcmp(engine, "memory") == 0) {
        out[0] = '\0';
    } else if (strcmp(engine, "wal") == 0) {
        snprintf(out, size, "  engine: wal\n  wal_dir: %s/wal\n  wal_segment_bytes: 1MiB\n",
                 broker->folder);
    } else {
        snprintf(out, size, "  engine: sqlite\n  sqlite: %s/state.db\n", broker->folder);
    }
}

static bool write_config(const struct broker *broker, const char *const *settings, const char *yaml)
{
    FILE *file = fopen(broker->config, "w");
    if (file == NULL) {
        return false;
    }
    const char *workers = getenv("PULSE_WORKERS");
    char server[128];
    snprintf(server, sizeof(server), "  bind: 127.0.0.1:%u\n  worker_threads: %s\n", broker->port,
             workers != NULL ? workers : "1");
    char observability[128];
    snprintf(observability, sizeof(observability), "  metrics_bind: 127.0.0.1:%u\n",
             broker->http_port);
    write_section(file, "server", server, settings);
    write_section(file, "observability", observability, settings);
    write_section(file, "limits", "", settings);
    char storage[256];
    describe_storage(broker, storage, sizeof(storage));
    write_section(file, "storage", storage, settings);
    write_section(file, "websocket", "", settings);
    write_section(file, "auth", "", settings);
    write_section(file, "admin", "", settings);
    if (yaml != NULL) {
        fputs(yaml, file);
    }
    return fclose(file) == 0;
}

/* The child: becomes the broker, and dies with the test whatever happens to that. */
static void run_binary(const struct broker *broker, const char *binary, int log)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGXFSZ, SIG_IGN); /* see broker_fail_writes() */
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execl(binary, binary, "--config", broker->config, (char *)NULL);
    fprintf(stderr, "cannot run \"%s\": %s\n", binary, strerror(errno));
    _exit(127);
}

/* The other child: the log goes through a pipe, which no limit on files stops. */
static void run_logger(const struct broker *broker, int from)
{
    int log = open(broker->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    dup2(from, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    execlp("cat", "cat", (char *)NULL);
    _exit(127);
}

/* Waits up to `timeout_ms` for the process to end, and remembers how it did. */
static bool has_ended(struct broker *broker, int timeout_ms)
{
    struct pollfd ended = {.fd = broker->pidfd, .events = POLLIN};
    if (!broker->ended && poll(&ended, 1, timeout_ms) == 1) {
        broker->ended = waitpid(broker->pid, &broker->wait_status, 0) == broker->pid;
        (void)waitpid(broker->logger, NULL, 0); /* the pipe's end is its end */
    }
    return broker->ended;
}

static bool accepts_connections(uint16_t port)
{
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return connected;
}

static bool wait_until_it_accepts(struct broker *broker)
{
    long deadline = now_ms() + START_TIMEOUT_MS;
    while (!accepts_connections(broker->port)) {
        if (has_ended(broker, RETRY_MS) || now_ms() > deadline) {
            return false;
        }
    }
    return true;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void clean_up(struct broker *broker)
{
    close(broker->pidfd);
    nftw(broker->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(broker);
}

static struct broker *create(void)
{
    struct broker *broker = calloc(1, sizeof(*broker));
    if (broker == NULL) {
        return NULL;
    }
    snprintf(broker->folder, sizeof(broker->folder), "/tmp/pulse-test-XXXXXX");
    if (mkdtemp(broker->folder) == NULL) {
        free(broker);
        return NULL;
    }
    snprintf(broker->config, sizeof(broker->config), "%s/pulse.yaml", broker->folder);
    snprintf(broker->log, sizeof(broker->log), "%s/log", broker->folder);
    broker->port = broker_free_port();
    broker->http_port = broker_free_port();
    broker->pidfd = -1;
    broker->ended = true;
    return broker;
}

/* Starts the process, and waits until it accepts connections. */
static bool run(struct broker *broker)
{
    int log[2];
    if (pipe2(log, O_CLOEXEC) != 0) {
        return false;
    }
    broker->told_to_end = false;
    broker->logger = fork();
    if (broker->logger == 0) {
        run_logger(broker, log[0]);
    }
    broker->pid = fork();
    if (broker->pid == 0) {
        run_binary(broker, getenv("PULSE_BIN"), log[1]);
    }
    close(log[0]);
    close(log[1]);
    broker->ended = false;
    broker->pidfd = (int)syscall(SYS_pidfd_open, broker->pid, 0);
    return wait_until_it_accepts(broker);
}

struct broker *broker_start(const char *const *settings)
{
    return broker_start_yaml(settings, NULL);
}

/* Gives a broker that is not started yet, or NULL after printing why not. */
static struct broker *prepare(const char *const *settings, const char *yaml)
{
    static const char *const none[] = {NULL};
    struct broker *broker = create();
    if (getenv("PULSE_BIN") == NULL || broker == NULL ||
        !write_config(broker, settings ? settings : none, yaml)) {
        fprintf(stderr, "cannot start a broker: is PULSE_BIN set, and /tmp writable?\n");
        free(broker);
        return NULL;
    }
    return broker;
}

struct broker *broker_start_yaml(const char *const *settings, const char *yaml)
{
    struct broker *broker = prepare(settings, yaml);
    if (broker == NULL) {
        return NULL;
    }
    if (!run(broker)) {
        fprintf(stderr, "the broker does not accept connections\n");
        broker_stop(broker);
        return NULL;
    }
    return broker;
}

bool broker_refuses(const char *const *settings, const char *yaml, const char *text)
{
    struct broker *broker = prepare(settings, yaml);
    if (broker == NULL) {
        return false;
    }
    bool runs = run(broker);
    bool refused = !runs && has_ended(broker, START_TIMEOUT_MS) && WIFEXITED(broker->wait_status) &&
                   WEXITSTATUS(broker->wait_status) != 0 && broker_log_lines(broker, text) > 0;
    if (!refused) {
        fprintf(stderr, "a broker that should have refused to start with \"%s\" %s\n", text,
                runs ? "runs" : "said something else, or ended otherwise");
        print_log(broker);
    }
    (void)(runs ? broker_stop(broker) : (clean_up(broker), true));
    return refused;
}

void broker_reload(struct broker *broker)
{
    kill(broker->pid, SIGHUP);
}

void broker_signal(struct broker *broker, int signal_number)
{
    if (!broker->ended) {
        kill(broker->pid, signal_number);
        broker->told_to_end = true;
    }
}

bool broker_wait_exit(struct broker *broker, int timeout_ms)
{
    return has_ended(broker, timeout_ms) && WIFEXITED(broker->wait_status) &&
           (WEXITSTATUS(broker->wait_status) == 0 || broker->any_status_is_fine);
}

bool broker_wait_end(struct broker *broker, int timeout_ms)
{
    broker->any_status_is_fine = has_ended(broker, timeout_ms) && WIFEXITED(broker->wait_status);
    return broker->any_status_is_fine;
}

static void explain_end(const struct broker *broker)
{
    if (!broker->ended) {
        fprintf(stderr, "the broker did not stop within %d ms\n", STOP_TIMEOUT_MS);
    } else if (WIFSIGNALED(broker->wait_status)) {
        fprintf(stderr, "the broker was ended by signal %d\n", WTERMSIG(broker->wait_status));
    } else {
        fprintf(stderr, "the broker ended with status %d\n", WEXITSTATUS(broker->wait_status));
    }
    print_log(broker);
}

bool broker_stop(struct broker *broker)
{
    if (!broker->told_to_end) {
        broker_signal(broker, SIGTERM);
    }
    bool ended_well = broker_wait_exit(broker, STOP_TIMEOUT_MS);
    if (!ended_well) {
        explain_end(broker);
    }
    if (!broker->ended) {
        kill(broker->pid, SIGKILL);
        has_ended(broker, STOP_TIMEOUT_MS);
    }
    clean_up(broker);
    return ended_well;
}

bool broker_end(struct broker *broker, int signal_number)
{
    broker_signal(broker, signal_number);
    bool ended = has_ended(broker, STOP_TIMEOUT_MS);
    if (ended && signal_number == SIGKILL) {
        ended = WIFSIGNALED(broker->wait_status) && WTERMSIG(broker->wait_status) == SIGKILL;
    } else {
        ended = broker_wait_exit(broker, 0);
    }
    if (!ended) {
        explain_end(broker);
    }
    close(broker->pidfd);
    broker->pidfd = -1;
    return ended;
}

bool broker_start_again(struct broker *broker)
{
    bool runs = run(broker);
    if (!runs) {
        fprintf(stderr, "the broker does not come back\n");
        print_log(broker);
    }
    return runs;
}

bool broker_fail_writes(struct broker *broker, bool fail)
{
    struct rlimit limit;
    if (prlimit(broker->pid, RLIMIT_FSIZE, NULL, &limit) != 0) {
        return false;
    }
    limit.rlim_cur = fail ? 0 : limit.rlim_max;
    return prlimit(broker->pid, RLIMIT_FSIZE, &limit, NULL) == 0;
}

unsigned broker_log_lines(const struct broker *broker, const char *text)
{
    FILE *file = fopen(broker->log, "r");
    char line[1024];
    unsigned count = 0;
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        count += strstr(line, text) != NULL;
    }
    if (file != NULL) {
        fclose(file);
    }
    return count;
}

bool broker_alive(struct broker *broker)
{
    return !has_ended(broker, 0);
}

uint16_t broker_port(const struct broker *broker)
{
    return broker->port;
}

uint16_t broker_http_port(const struct broker *broker)
{
    return broker->http_port;
}

long broker_rss_bytes(const struct broker *broker)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%ld/statm", (long)broker->pid);
    FILE *file = fopen(path, "r");
    long total = 0, resident = 0;
    if (file == NULL || fscanf(file, "%ld %ld", &total, &resident) != 2) {
        resident = 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    /* A sanitizer reserves terabytes for its shadow, and keeps freed memory: no figure to judge by.
     */
    bool sanitized = total > (1L << 40) / sysconf(_SC_PAGESIZE);
    return sanitized ? 0 : resident * sysconf(_SC_PAGESIZE);
}
