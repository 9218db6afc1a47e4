#include "tests/crash/database.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "tests/crash/broker.h"

enum { START_TIMEOUT_MS = 60000, STEP_MS = 50, ARGUMENT_MAX = 4200 };

void database_start(struct database *database)
{
    const char *dir = database->options->database;
    char data[ARGUMENT_MAX], socket_name[ARGUMENT_MAX], pid[ARGUMENT_MAX], init[ARGUMENT_MAX];
    char port[32], log[ARGUMENT_MAX];
    snprintf(data, sizeof(data), "--datadir=%s/data", dir);
    snprintf(socket_name, sizeof(socket_name), "--socket=%s/s.sock", dir);
    snprintf(pid, sizeof(pid), "--pid-file=%s/pid", dir);
    snprintf(init, sizeof(init), "--init-file=%s/init.sql", dir);
    snprintf(port, sizeof(port), "--port=%u", database->port);
    snprintf(log, sizeof(log), "%s/server.log", dir);
    const char *const argv[] = {database->options->server,
                                "--no-defaults",
                                data,
                                socket_name,
                                pid,
                                init,
                                port,
                                "--bind-address=127.0.0.1",
                                "--skip-name-resolve",
                                "--innodb-buffer-pool-size=128M",
                                "--innodb-log-file-size=64M",
                                "--max-allowed-packet=64M",
                                geteuid() == 0 ? "--user=root" : NULL, /* it asks to be told so */
                                NULL};
    process_start(&database->process, argv, log);
}

bool database_is_up(const struct database *database)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(database->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return is;
}

void database_init(struct database *database, const struct options *options)
{
    *database = (struct database){.options = options};
    if (options->database == NULL) {
        return;
    }
    database->port = broker_free_port();
    database_start(database);
    for (int waited_ms = 0; !database_is_up(database); waited_ms += STEP_MS) {
        if (process_has_ended(&database->process) || waited_ms > START_TIMEOUT_MS) {
            fprintf(stderr, "pulse-crash: the database server does not start; see %s/server.log\n",
                    options->database);
            exit(2);
        }
        usleep(STEP_MS * 1000);
    }
}

void database_fini(struct database *database)
{
    process_end(&database->process, SIGKILL); /* its folder is thrown away */
}
