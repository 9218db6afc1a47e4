#include "tests/integration/auth_support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATH_SIZE = 256, TEXT_SIZE = 32768, TEXTS_KEPT = 16, RETRY_MS = 10 };

static char folder[64];

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void remove_folder(void)
{
    nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

const char *auth_path(const char *name)
{
    static char paths[TEXTS_KEPT][PATH_SIZE];
    static unsigned next;
    if (folder[0] == '\0') {
        snprintf(folder, sizeof(folder), "/tmp/pulse-auth-XXXXXX");
        if (mkdtemp(folder) == NULL) {
            test_fail("no folder for files: %s", strerror(errno));
        }
        atexit(remove_folder);
    }
    char *path = paths[next++ % TEXTS_KEPT];
    snprintf(path, PATH_SIZE, "%s/%s", folder, name);
    return path;
}

const char *auth_write(const char *name, const char *format, ...)
{
    const char *path = auth_path(name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (file == NULL) {
        test_fail("%s: %s", path, strerror(errno));
    }
    va_list arguments;
    va_start(arguments, format);
    vfprintf(file, format, arguments);
    va_end(arguments);
    fclose(file);
    return path;
}

const char *auth_yaml(const char *format, ...)
{
    static char texts[2][TEXT_SIZE];
    static unsigned next;
    char *text = texts[next++ % 2];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text, TEXT_SIZE, format, arguments);
    va_end(arguments);
    if (len >= TEXT_SIZE) {
        test_fail("a configuration of %d bytes is too long for a test", len);
    }
    return text;
}

/* ---- programs -------------------------------------------------------------------------------- */

static void become(const char *const *arguments, int input, int output)
{
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    execvp(arguments[0], (char *const *)arguments);
    _exit(127);
}

int auth_run(const char *const *arguments, const char *input, char *output, size_t size)
{
    int to[2];
    int from[2];
    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0) {
        test_fail("no pipe: %s", strerror(errno));
    }
    pid_t pid = fork();
    if (pid == 0) {
        become(arguments, to[0], from[1]);
    }
    close(to[0]);
    close(from[1]);
    if (write(to[1], input, strlen(input)) < 0 && errno != EPIPE) {
        test_fail("%s does not read", arguments[0]);
    }
    close(to[1]);
    char rest[4096];
    size_t len = 0;
    ssize_t got = 1;
    while (got > 0) {
        bool has_room = output != NULL && len + 1 < size;
        got = has_room ? read(from[0], output + len, size - 1 - len)
                       : read(from[0], rest, sizeof(rest));
        len += has_room && got > 0 ? (size_t)got : 0;
    }
    close(from[0]);
    if (output != NULL) {
        output[len] = '\0';
    }
    int status = -1;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- logins ---------------------------------------------------------------------------------- */

struct client *auth_login_at(const struct connect_packet *packet, struct here here)
{
    struct client *c = client_open_at(packet->version, here);
    send_connect_at(c, packet, here);
    return c;
}

long auth_login_ms_at(unsigned code, const struct connect_packet *packet, struct here here)
{
    long start = clock_ms();
    struct client *c = auth_login_at(packet, here);
    if (code == 0) {
        const struct packet *connack = expect_packet_at(c, PKT_CONNACK, here);
        if (connack->reason != 0) {
            fail_at(here, "CONNECT was refused with 0x%02x", connack->reason);
        }
    } else {
        expect_refused_at(c, (const uint8_t[]){(uint8_t)code}, 1, here);
    }
    long took = clock_ms() - start;
    client_close(c);
    return took;
}

void auth_expect_no_login_at(unsigned code, const struct connect_packet *packet, struct here here)
{
    auth_login_ms_at(code, packet, here);
}

void auth_expect_publish_answer_at(struct client *c, const char *topic, unsigned code,
                                   struct here here)
{
    uint16_t id = client_next_id(c);
    send_publish_at(c, &(struct publish_packet){.topic = topic, .payload = "x", .qos = 1, .id = id},
                    here);
    const struct packet *ack = expect_packet_at(c, PKT_PUBACK, here);
    bool is_same = ack->reason == code || (code == RC_SUCCESS && ack->reason < 0x80);
    if (ack->id != id || !is_same) {
        fail_at(here, "publish to %s: answered with 0x%02x, not 0x%02x", topic, ack->reason, code);
    }
}

void auth_expect_subscribe_answer_at(struct client *c, const char *filter, unsigned code,
                                     struct here here)
{
    uint16_t id = client_next_id(c);
    const struct subscribe_packet packet = {.id = id, .filters = FILTERS({filter, 1})};
    send_subscribe_at(c, &packet, here);
    const struct packet *ack = expect_packet_at(c, PKT_SUBACK, here);
    bool is_same = ack->reason == code || (code == RC_SUCCESS && ack->reason < 0x80);
    if (ack->id != id || !is_same) {
        fail_at(here, "subscription to %s: answered with 0x%02x, not 0x%02x", filter, ack->reason,
                code);
    }
}

/* ---- the broker ------------------------------------------------------------------------------ */

static size_t read_file(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, out, size - 1) : -1;
    if (fd >= 0) {
        close(fd);
    }
    out[len > 0 ? len : 0] = '\0';
    return len > 0 ? (size_t)len : 0;
}

/* The configuration of process `pid` when it is a broker that serves `port`; else NULL. */
static const char *config_of(long pid, uint16_t port)
{
    static char config[PATH_SIZE];
    char path[64];
    char words[1024];
    char text[TEXT_SIZE];
    char bind[64];
    snprintf(path, sizeof(path), "/proc/%ld/cmdline", pid);
    size_t len = read_file(path, words, sizeof(words));
    const char *flag = memmem(words, len, "--config", sizeof("--config"));
    if (flag == NULL) {
        return NULL;
    }
    snprintf(config, sizeof(config), "%s", flag + sizeof("--config"));
    read_file(config, text, sizeof(text));
    snprintf(bind, sizeof(bind), "bind: 127.0.0.1:%u\n", port);
    return strstr(text, bind) != NULL ? config : NULL;
}

static pid_t find(const struct broker *broker, const char **config)
{
    DIR *all = opendir("/proc");
    const struct dirent *entry;
    pid_t found = 0;
    while (all != NULL && found == 0 && (entry = readdir(all)) != NULL) {
        long pid = strtol(entry->d_name, NULL, 10);
        *config = pid > 0 ? config_of(pid, broker_port(broker)) : NULL;
        found = *config != NULL ? (pid_t)pid : 0;
    }
    closedir(all);
    if (found == 0) {
        test_fail("the broker's process was not found");
    }
    return found;
}

pid_t auth_broker_pid(const struct broker *broker)
{
    const char *config;
    return find(broker, &config);
}

const char *auth_broker_config(const struct broker *broker)
{
    const char *config;
    find(broker, &config);
    return config;
}

void auth_broker_edit(const struct broker *broker, const char *from, const char *to)
{
    const char *path = auth_broker_config(broker);
    char text[TEXT_SIZE];
    size_t len = read_file(path, text, sizeof(text));
    const char *at = strstr(text, from);
    FILE *file = at != NULL ? fopen(path, "w") : NULL;
    if (file == NULL) {
        test_fail("\"%s\" is not in the broker's configuration", from);
    }
    size_t before = (size_t)(at - text);
    size_t behind = before + strlen(from);
    fwrite(text, 1, before, file);
    fputs(to, file);
    fwrite(text + behind, 1, len - behind, file);
    fclose(file);
}

void auth_reload_at(struct broker *broker, bool taken, struct here here)
{
    const char *said = taken ? " reloaded" : "reload refused";
    unsigned before = broker_log_lines(broker, said);
    broker_reload(broker);
    long deadline = clock_ms() + WAIT_MS;
    while (broker_log_lines(broker, said) == before) {
        if (clock_ms() > deadline) {
            fail_at(here, "a reload that should be %s was not", taken ? "taken" : "refused");
        }
        poll(NULL, 0, RETRY_MS);
    }
}

void auth_expect_log_at(const struct broker *broker, const char *text, struct here here)
{
    long deadline = clock_ms() + WAIT_MS;
    while (broker_log_lines(broker, text) == 0) {
        if (clock_ms() > deadline) {
            fail_at(here, "the log has no line with \"%s\"", text);
        }
        poll(NULL, 0, RETRY_MS);
    }
}
