#include "tests/crash/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOT_RUN = 127 };

static void run(const char *const *argv, const char *log)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execvp(argv[0], (char *const *)argv); /* execvp changes nothing that it points to */
    fprintf(stderr, "cannot run \"%s\": %s\n", argv[0], strerror(errno));
    _exit(NOT_RUN);
}

void process_start(struct process *process, const char *const *argv, const char *log)
{
    fflush(stdout);
    *process = (struct process){.pid = fork()};
    if (process->pid == 0) {
        run(argv, log);
    }
    if (process->pid < 0) {
        perror("pulse-crash: fork");
        process->pid = 0;
        process->status = NOT_RUN << 8;
    }
}

static void wait_for(struct process *process, int flags)
{
    if (process->pid != 0 && waitpid(process->pid, &process->status, flags) == process->pid) {
        process->pid = 0;
    }
}

bool process_has_ended(struct process *process)
{
    wait_for(process, WNOHANG);
    return process->pid == 0;
}

void process_signal(const struct process *process, int signal_number)
{
    if (process->pid != 0) {
        kill(process->pid, signal_number);
    }
}

void process_end(struct process *process, int signal_number)
{
    process_signal(process, signal_number);
    wait_for(process, 0);
}

void process_explain(const struct process *process, char *text, size_t size)
{
    if (WIFSIGNALED(process->status)) {
        snprintf(text, size, "ended by signal %d", WTERMSIG(process->status));
    } else {
        snprintf(text, size, "ended with status %d", WEXITSTATUS(process->status));
    }
}
