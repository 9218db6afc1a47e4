#include "tests/unit/storage/mariadb_support.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <mysql.h>

#include "base/clock.h"
#include "base/mem.h"

#define START_TIMEOUT_MS 30000
#define ARGUMENTS_MAX 48

struct mariadb {
    pid_t pid; /* 0: it doesn't run */
    uint16_t port;
    unsigned databases;
    const char *const *options;
    char directory[64];
    char socket[96];
    char database[64];
};

static const char *const daemon_paths[] = {"/usr/sbin/mariadbd", "/usr/local/sbin/mariadbd",
                                           "/usr/bin/mariadbd", "/usr/local/bin/mariadbd"};
static const char *const install_paths[] = {"/usr/bin/mariadb-install-db",
                                            "/usr/local/bin/mariadb-install-db"};

static const char *first_executable(const char *const *paths, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (access(paths[i], X_OK) == 0) {
            return paths[i];
        }
    }
    return NULL;
}

static const char *daemon_path(void)
{
    return first_executable(daemon_paths, sizeof daemon_paths / sizeof daemon_paths[0]);
}

static const char *install_path(void)
{
    return first_executable(install_paths, sizeof install_paths / sizeof install_paths[0]);
}

bool mariadb_installed(void)
{
    return daemon_path() != NULL && install_path() != NULL;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/* Starts a program whose output goes to a file in the server's directory. */
static pid_t spawn(const struct mariadb *server, char *const *arguments)
{
    char path[96];
    snprintf(path, sizeof path, "%s/output", server->directory);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (fd >= 0) {
            dup2(fd, STDOUT_FILENO);
            dup2(fd, STDERR_FILENO);
        }
        /* a server removes what others have in the folder that they share */
        setenv("TMPDIR", server->directory, 1);
        execv(arguments[0], arguments);
        _exit(127);
    }
    return pid;
}

static void show_log(const struct mariadb *server)
{
    char path[96], line[512];
    snprintf(path, sizeof path, "%s/output", server->directory);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return;
    }
    if (fseek(file, -4096, SEEK_END) != 0) {
        rewind(file);
    }
    while (fgets(line, sizeof line, file) != NULL) {
        fputs(line, stderr);
    }
    fclose(file);
}

static uint16_t free_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void install(struct mariadb *server)
{
    char data[96];
    char *path = mem_copy_text(install_path(), strlen(install_path()));
    snprintf(data, sizeof data, "--datadir=%s/data", server->directory);
    char *arguments[] = {path,
                         "--no-defaults",
                         data,
                         "--auth-root-authentication-method=normal",
                         "--skip-test-db",
                         "--force", /* where the host name has no address */
                         getuid() == 0 ? "--user=root" : NULL,
                         NULL};
    pid_t pid = spawn(server, arguments);
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status != 0) {
        show_log(server);
    }
    assert_int_equal(status, 0);
    mem_free(path);
}

/* A connection as root over the socket, or NULL. */
static MYSQL *connect_root(const struct mariadb *server)
{
    MYSQL *client = mysql_init(NULL);
    assert_non_null(client);
    unsigned timeout = 20;
    mysql_optionsv(client, MYSQL_OPT_READ_TIMEOUT, &timeout);
    if (mysql_real_connect(client, NULL, "root", "", NULL, 0, server->socket,
                           CLIENT_MULTI_STATEMENTS) == NULL) {
        mysql_close(client);
        return NULL;
    }
    return client;
}

static void wait_until_it_answers(struct mariadb *server)
{
    uint64_t deadline = clock_mono_ms() + START_TIMEOUT_MS;
    for (;;) {
        MYSQL *client = connect_root(server);
        if (client != NULL) {
            mysql_close(client);
            return;
        }
        if (clock_mono_ms() > deadline || waitpid(server->pid, NULL, WNOHANG) != 0) {
            show_log(server);
            fail_msg("mariadbd does not start");
        }
        pause_ms(20);
    }
}

void mariadb_start(struct mariadb *server)
{
    assert_int_equal(server->pid, 0);
    char text[6][128];
    char *path = mem_copy_text(daemon_path(), strlen(daemon_path()));
    snprintf(text[0], sizeof text[0], "--datadir=%s/data", server->directory);
    snprintf(text[1], sizeof text[1], "--socket=%s", server->socket);
    snprintf(text[2], sizeof text[2], "--pid-file=%s/pid", server->directory);
    snprintf(text[3], sizeof text[3], "--port=%u", server->port);
    snprintf(text[4], sizeof text[4], "--tmpdir=%s", server->directory);
    char *arguments[ARGUMENTS_MAX + 1] = {path,
                                          "--no-defaults",
                                          text[0],
                                          text[1],
                                          text[2],
                                          text[3],
                                          text[4],
                                          "--bind-address=127.0.0.1",
                                          "--skip-name-resolve",
                                          "--innodb-buffer-pool-size=256M",
                                          "--innodb-log-file-size=128M",
                                          "--innodb-flush-log-at-trx-commit=1",
                                          "--max-allowed-packet=64M"};
    size_t count = 13;
    if (getuid() == 0) {
        arguments[count++] = "--user=root";
    }
    for (const char *const *option = server->options; option != NULL && *option != NULL; option++) {
        assert_true(count < ARGUMENTS_MAX);
        arguments[count++] = (char *)(uintptr_t)*option;
    }
    server->pid = spawn(server, arguments);
    wait_until_it_answers(server);
    mem_free(path);
}

static void end(struct mariadb *server, int signal_number)
{
    assert_true(server->pid > 0);
    assert_int_equal(kill(server->pid, signal_number), 0);
    assert_int_equal(waitpid(server->pid, NULL, 0), server->pid);
    server->pid = 0;
}

void mariadb_stop(struct mariadb *server)
{
    end(server, SIGTERM);
}

void mariadb_kill(struct mariadb *server)
{
    end(server, SIGKILL);
}

void mariadb_pause(struct mariadb *server)
{
    int status = 0;
    assert_int_equal(kill(server->pid, SIGSTOP), 0);
    assert_int_equal(waitpid(server->pid, &status, WUNTRACED), server->pid); /* all threads are */
    assert_true(WIFSTOPPED(status));
}

void mariadb_resume(struct mariadb *server)
{
    assert_int_equal(kill(server->pid, SIGCONT), 0);
}

struct mariadb *mariadb_create(const char *const *options)
{
    struct mariadb *server = mem_alloc(sizeof *server);
    snprintf(server->directory, sizeof server->directory, "/tmp/pulse-mariadb-XXXXXX");
    assert_non_null(mkdtemp(server->directory));
    snprintf(server->socket, sizeof server->socket, "%s/socket", server->directory);
    server->options = options;
    server->port = free_port();
    install(server);
    mariadb_start(server);
    mariadb_run(server,
                "CREATE USER '" MARIADB_USER "'@'127.0.0.1' IDENTIFIED BY '" MARIADB_PASSWORD
                "'; CREATE USER '" MARIADB_USER "'@'localhost' IDENTIFIED BY '" MARIADB_PASSWORD
                "'; GRANT ALL ON `pulse\\_%`.* TO '" MARIADB_USER
                "'@'127.0.0.1'; GRANT ALL ON `pulse\\_%`.* TO '" MARIADB_USER "'@'localhost'");
    return server;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

void mariadb_destroy(struct mariadb *server)
{
    if (server == NULL) {
        return;
    }
    if (server->pid != 0) {
        mariadb_kill(server);
    }
    nftw(server->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    mem_free(server);
}

uint16_t mariadb_port(const struct mariadb *server)
{
    return server->port;
}

const char *mariadb_socket(const struct mariadb *server)
{
    return server->socket;
}

const char *mariadb_directory(const struct mariadb *server)
{
    return server->directory;
}

int mariadb_pid(const struct mariadb *server)
{
    return server->pid;
}

/* Runs `sql` and gives the first column of the first row of the last answer, or 0. */
static uint64_t run(struct mariadb *server, const char *sql)
{
    MYSQL *client = connect_root(server);
    assert_non_null(client);
    uint64_t number = 0;
    int err = mysql_real_query(client, sql, strlen(sql));
    while (err == 0) {
        MYSQL_RES *result = mysql_store_result(client);
        MYSQL_ROW row = result != NULL ? mysql_fetch_row(result) : NULL;
        if (row != NULL && row[0] != NULL) {
            number = strtoull(row[0], NULL, 10);
        }
        mysql_free_result(result);
        err = mysql_next_result(client);
    }
    if (err > 0) {
        fail_msg("%s: %s", sql, mysql_error(client));
    }
    mysql_close(client);
    return number;
}

void mariadb_run(struct mariadb *server, const char *sql)
{
    (void)run(server, sql); /* the number is of no interest */
}

uint64_t mariadb_number(struct mariadb *server, const char *sql)
{
    return run(server, sql);
}

uint64_t mariadb_number_in_database(struct mariadb *server, const char *query)
{
    char sql[600];
    (void)snprintf(sql, sizeof sql, "USE `%s`; %s", mariadb_database(server), query);
    return run(server, sql);
}

void mariadb_read_only(struct mariadb *server, bool read_only)
{
    mariadb_run(server, read_only ? "SET GLOBAL read_only = 1" : "SET GLOBAL read_only = 0");
}

void mariadb_fresh_url(struct mariadb *server, char *url, size_t size)
{
    char sql[128];
    snprintf(server->database, sizeof server->database, "pulse_%u", ++server->databases);
    snprintf(sql, sizeof sql, "CREATE DATABASE `%s`", server->database);
    mariadb_run(server, sql);
    int len = snprintf(url, size, "mysql://%s:%s@127.0.0.1:%u/%s", MARIADB_USER,
                       MARIADB_PASSWORD_ENCODED, server->port, server->database);
    assert_true(len > 0 && (size_t)len < size);
}

const char *mariadb_database(const struct mariadb *server)
{
    return server->database;
}
