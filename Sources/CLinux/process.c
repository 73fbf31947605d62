#define _GNU_SOURCE
#include "CLinuxProcess.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// MARK: Launching

struct failure {
    int stage;
    int error;
};

static int write_file(const char *path, const char *text, size_t length) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    ssize_t written = write(fd, text, length);
    int error = written == (ssize_t)length ? 0 : written < 0 ? errno : EIO;
    close(fd);
    return error;
}

/// Decimal digits of `value` at `text`; the position after them. (No stdio between fork and exec.)
static char *digits(char *text, unsigned long value) {
    char reversed[24];
    int count = 0;
    do {
        reversed[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    while (count) *text++ = reversed[--count];
    return text;
}

static int write_identity_map(const char *path, unsigned long id) {
    char text[64];
    char *end = digits(text, id);
    *end++ = ' ';
    end = digits(end, id);
    memcpy(end, " 1\n", 3);
    return write_file(path, text, (size_t)(end + 3 - text));
}

static int enter_user_namespace(void) {
    unsigned long uid = geteuid(), gid = getegid();
    if (unshare(CLONE_NEWUSER) != 0) return errno;
    int error = write_file("/proc/self/setgroups", "deny", 4);
    if (error && error != ENOENT) return error;
    error = write_identity_map("/proc/self/uid_map", uid);
    if (error) return error;
    return write_identity_map("/proc/self/gid_map", gid);
}

static struct failure enter_root(int mode, const char *root) {
    if (mode == clinux_root_namespace) {
        int error = enter_user_namespace();
        if (error) return (struct failure){clinux_stage_namespace, error};
    }
    if (mode != clinux_root_host && (chroot(root) != 0 || chdir("/") != 0))
        return (struct failure){clinux_stage_root, errno};
    return (struct failure){0, 0};
}

static void reset_signals(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    for (int number = 1; number < NSIG; number++) sigaction(number, &action, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static struct failure become(const struct clinux_launch_request *launch, pid_t parent) {
    reset_signals();
    if (launch->cpu >= 0) {
        int error = clinux_pin_to_cpu(launch->cpu);
        if (error) return (struct failure){clinux_stage_affinity, error};
    }
    // Out of the way first: one of them may itself be 0, 1 or 2, and dup2 onto itself would keep it closing at exec.
    int streams[3] = {launch->input, launch->output, launch->error};
    for (int stream = 0; stream < 3; stream++) {
        streams[stream] = fcntl(streams[stream], F_DUPFD_CLOEXEC, 3);
        if (streams[stream] < 0) return (struct failure){clinux_stage_descriptors, errno};
    }
    for (int stream = 0; stream < 3; stream++)
        if (dup2(streams[stream], stream) < 0) return (struct failure){clinux_stage_descriptors, errno};
    // Everything else the caller has open closes at exec, whoever opened it without O_CLOEXEC.
    syscall(SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */);
    struct failure failure = enter_root(launch->root_mode, launch->root);
    if (failure.stage) return failure;
    // After the namespace: a change of credentials clears the parent-death signal.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
    if (chdir(launch->working_directory) != 0) return (struct failure){clinux_stage_directory, errno};
    if (launch->stop_at_entry) ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    execve(launch->program, launch->arguments, launch->environment);
    return (struct failure){clinux_stage_exec, errno};
}

struct clinux_launch_result clinux_launch(const struct clinux_launch_request *launch) {
    struct clinux_launch_result result = {.pid = -1};
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0) {
        result.stage = clinux_stage_descriptors;
        result.error = errno;
        return result;
    }
    // All signals wait until the child has its own handlers: a handler of ours must not run in it.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        struct failure failure = become(launch, parent);
        ssize_t ignored = write(report[1], &failure, sizeof failure);
        (void)ignored;
        _exit(127);
    }
    int fork_error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(report[1]);
    if (pid < 0) {
        close(report[0]);
        result.stage = clinux_stage_fork;
        result.error = fork_error;
        return result;
    }
    // End of file means that exec has happened: the write end closed with it.
    struct failure failure;
    ssize_t got;
    do got = read(report[0], &failure, sizeof failure);
    while (got < 0 && errno == EINTR);
    close(report[0]);
    if (got == (ssize_t)sizeof failure) {
        waitpid(pid, NULL, __WALL);
        result.stage = failure.stage;
        result.error = failure.error;
        return result;
    }
    result.pid = pid;
    if (launch->stop_at_entry) {
        // A traced exec stops with SIGTRAP before the first instruction. If tracing is forbidden here there is no stop;
        // WNOWAIT leaves an exit status for the caller.
        siginfo_t info;
        memset(&info, 0, sizeof info);
        char path[64], state[512];
        snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t length = fd < 0 ? -1 : read(fd, state, sizeof state - 1);
        if (fd >= 0) close(fd);
        if (length > 0) {
            state[length] = 0;
            char *tracer = strstr(state, "TracerPid:");
            if (tracer && atoi(tracer + 10) != 0 &&
                waitid(P_PID, (id_t)pid, &info, WSTOPPED | WEXITED | WNOWAIT | __WALL) == 0 &&
                (info.si_code == CLD_TRAPPED || info.si_code == CLD_STOPPED))
                result.stopped = true;
        }
    }
    return result;
}

int clinux_release(pid_t pid) {
    int status;
    if (waitpid(pid, &status, __WALL | WUNTRACED) < 0) return errno;
    return ptrace(PTRACE_DETACH, pid, NULL, NULL) == 0 ? 0 : errno;
}

int clinux_try_root(int root_mode, const char *root) {
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0) return errno;
    pid_t pid = fork();
    if (pid == 0) {
        struct failure failure = enter_root(root_mode, root);
        ssize_t ignored = write(report[1], &failure, sizeof failure);
        (void)ignored;
        _exit(0);
    }
    int fork_error = errno;
    close(report[1]);
    if (pid < 0) {
        close(report[0]);
        return fork_error;
    }
    struct failure failure = {0, EIO};
    ssize_t got = read(report[0], &failure, sizeof failure);
    close(report[0]);
    waitpid(pid, NULL, 0);
    return got == (ssize_t)sizeof failure ? failure.error : EIO;
}

// MARK: The calling process

int clinux_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

int clinux_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int clinux_die_with_parent(int signal) { return prctl(PR_SET_PDEATHSIG, signal) == 0 ? 0 : errno; }

int clinux_close_from(int first) { return syscall(SYS_close_range, (unsigned)first, ~0U, 0U) == 0 ? 0 : errno; }

int clinux_adopt_orphans(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1) == 0 ? 0 : errno; }

// Room for 8192 CPUs, more than any kernel is built for; glibc's cpu_set_t ends at 1024.
enum { mask_words = 8192 / 64 };

int clinux_run_on_cpus(const int *cpus, int count) {
    uint64_t mask[mask_words] = {0};
    for (int i = 0; i < count; i++) {
        if (cpus[i] < 0 || cpus[i] >= mask_words * 64) return EINVAL;
        mask[cpus[i] / 64] |= 1ULL << (cpus[i] % 64);
    }
    return syscall(SYS_sched_setaffinity, 0, sizeof mask, mask) == 0 ? 0 : errno;
}

int clinux_pin_to_cpu(int cpu) { return clinux_run_on_cpus(&cpu, 1); }

int clinux_allowed_cpus(int *cpus, int capacity) {
    uint64_t mask[mask_words] = {0};
    if (syscall(SYS_sched_getaffinity, 0, sizeof mask, mask) < 0) return -1;
    int count = 0;
    for (int cpu = 0; cpu < mask_words * 64 && count < capacity; cpu++)
        if (mask[cpu / 64] >> (cpu % 64) & 1) cpus[count++] = cpu;
    return count;
}

int clinux_bind_memory_to_node(int node) {
    unsigned long mask[16] = {0};
    if (node < 0 || node >= (int)(sizeof mask * 8)) return EINVAL;
    mask[node / 64] = 1UL << (node % 64);
    // MPOL_BIND = 2; the kernel takes one bit less than `maxnode` says.
    return syscall(SYS_set_mempolicy, 2, mask, sizeof mask * 8 + 1) == 0 ? 0 : errno;
}

// MARK: Interrupts

static volatile sig_atomic_t interrupted;
static volatile sig_atomic_t interrupt_descriptor = -1;
static volatile sig_atomic_t holding;
static volatile sig_atomic_t held;
static volatile pid_t doomed[4];

static void end_at_once(int number) {
    for (int slot = 0; slot < 4; slot++)
        if (doomed[slot] > 0) kill(-doomed[slot], SIGKILL);
    _exit(128 + number);
}

static void on_interrupt(int number) {
    int saved = errno;
    if (interrupted && holding) {
        held = number;
        return;
    }
    if (interrupted) end_at_once(number);
    interrupted = number;
    unsigned char byte = (unsigned char)number;
    ssize_t ignored = write(interrupt_descriptor, &byte, 1);
    (void)ignored;
    errno = saved;
}

void clinux_catch_interrupts(int descriptor) {
    interrupt_descriptor = descriptor;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGINT);
    sigaddset(&action.sa_mask, SIGTERM);
    sigaddset(&action.sa_mask, SIGHUP);
    // A parent may have left them blocked, or SIGINT ignored (a shell's background job): whoever sends one means it.
    // An ignored SIGHUP is nohup(1) and stays.
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    struct sigaction before;
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, NULL);
    pthread_sigmask(SIG_UNBLOCK, &action.sa_mask, NULL);
}

void clinux_hold_interrupts(bool hold) {
    holding = hold;
    if (!hold && held) end_at_once(held);
}

int clinux_interrupted(void) { return interrupted; }

void clinux_set_doomed_group(int slot, pid_t group) {
    if (slot >= 0 && slot < 4) doomed[slot] = group;
}

int clinux_terminal_columns(int descriptor) {
    if (!isatty(descriptor)) return 0;
    struct winsize size;
    if (ioctl(descriptor, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
    return size.ws_col;
}

int clinux_terminal_rows(int descriptor) {
    if (!isatty(descriptor)) return 0;
    struct winsize size;
    if (ioctl(descriptor, TIOCGWINSZ, &size) != 0 || size.ws_row == 0) return 24;
    return size.ws_row;
}

int clinux_signal_descriptor(const int *signals, int count, sigset_t *old) {
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < count; i++) sigaddset(&set, signals[i]);
    int error = pthread_sigmask(SIG_BLOCK, &set, old);
    if (error) {
        errno = error;
        return -1;
    }
    return signalfd(-1, &set, SFD_CLOEXEC);
}

int clinux_next_signal(int descriptor) {
    struct signalfd_siginfo info;
    return read(descriptor, &info, sizeof info) == sizeof info ? (int)info.ssi_signo : -1;
}
