#define _GNU_SOURCE
#include "CTesting.h"
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

int ctesting_in_child(int (*body)(void *), void *context) {
    pid_t pid = fork();
    if (pid < 0) return -1;
    if (pid == 0) _exit(body(context));
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return -1;
    return status;
}

long ctesting_system_call(long number, long a, long b, long c) {
    long result = syscall(number, a, b, c, 0, 0, 0);
    return result == -1 ? -errno : result;
}
