// Checks what Nub promises of the Linux ABI, from the inside. Prints "linux-abi: all right", or a line for each check
// that failed. Runs natively as well: what fails there is wrong here.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static int failures;
static const char *self;

#define CHECK(condition)                                                                       \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            printf("failed at line %d: %s (errno %d)\n", __LINE__, #condition, errno);          \
            failures++;                                                                        \
        }                                                                                      \
    } while (0)

static volatile int caught;
static void *volatile faultAddress;
static sigjmp_buf afterFault;

static void catch(int signal) { caught = signal; }

static void catchFault(int signal, siginfo_t *information, void *context) {
    (void)signal, (void)context;
    faultAddress = information->si_addr;
    siglongjmp(afterFault, 1);
}

#define FAULTS(statement) (sigsetjmp(afterFault, 1) ? 1 : ((void)(statement), 0))

static int statusOf(pid_t child) {
    int status = -1;
    return waitpid(child, &status, 0) == child ? status : -1;
}

static double iterate(double x) {
    for (int i = 0; i < 1000; i++) x = x * 1.0000001 + 0.5;
    return x;
}

static void memory(void) {
    const size_t page = 4096, bytes = 64 << 20;
    struct sigaction action = {.sa_sigaction = catchFault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, 0);

    volatile char *p = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    for (size_t i = 0; i < 1024; i++) {
        CHECK(p[i * page] == 0);
        p[i * page] = (char)i;
    }
    CHECK(mprotect((void *)p, 2 * page, PROT_READ) == 0);
    CHECK(p[page] == 1 && FAULTS(p[page] = 9) && faultAddress == p + page);
    CHECK(mprotect((void *)p, 2 * page, PROT_READ | PROT_WRITE) == 0);
    p[page] = 9;
    CHECK(mprotect((void *)p, 4 * page, PROT_NONE) == 0);
    CHECK(FAULTS(p[page]) && faultAddress == p + page);
    CHECK(mprotect((void *)p, 4 * page, PROT_READ | PROT_WRITE) == 0);
    CHECK(p[page] == 9 && p[2 * page] == 2);
    CHECK(munmap((void *)(p + page), page) == 0);
    CHECK(FAULTS(p[page] = 1) && p[0] == 0 && p[2 * page] == 2);
    volatile char *q = mremap((void *)(p + 4 * page), 4 * page, 4096 * page, MREMAP_MAYMOVE);
    CHECK(q != MAP_FAILED && q[page] == 5 && q[100 * page] == 0);
    CHECK(madvise((void *)q, 4 * page, MADV_DONTNEED) == 0 && q[page] == 0);
    CHECK(munmap((void *)q, 4096 * page) == 0);
    CHECK(munmap((void *)p, bytes) == 0);
    CHECK(mmap((void *)0xFFFF800000000000, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED);

    volatile char deep[4 << 20];
    for (size_t i = 0; i < sizeof deep; i += page) deep[i] = 1;
    for (int i = 0; i < 100; i++) {
        char *block = malloc(1 << 20);
        memset(block, i, 1 << 20);
        free(block);
    }
    signal(SIGSEGV, SIG_DFL);
}

static void badPointers(void) {
    char byte;
    void *kernel = (void *)0xFFFFF80000001000;
    CHECK(write(1, (void *)16, 1) == -1 && errno == EFAULT);
    CHECK(write(1, kernel, 1) == -1 && errno == EFAULT);
    int random = open("/dev/urandom", O_RDONLY);
    CHECK(read(random, &byte, 1) == 1);
    CHECK(read(random, kernel, 8) == -1 && errno == EFAULT);
    CHECK(read(random, (void *)&memory, 8) == -1 && errno == EFAULT);
    close(random);
    CHECK(open((char *)0x123456, O_RDONLY) == -1 && errno == EFAULT);
    CHECK(syscall(SYS_rt_sigaction, SIGUSR1, kernel, 0, 8) == -1 && errno == EFAULT);
    CHECK(syscall(SYS_execve, self, kernel, kernel) == -1 && errno == EFAULT);
}

// The upper halves of the vector registers are state of their own (XSAVE component 2).
__attribute__((target("avx"))) static int keepsUpperHalves(long seed) {
    long in[4] = {seed, seed + 1, seed + 2, seed + 3}, out[4];
    for (int i = 0; i < 100; i++) {
        __asm__ volatile(
            "vmovdqu (%0), %%ymm0; vmovdqu (%0), %%ymm15; mov $200000, %%ecx; 1: dec %%ecx; jnz 1b; "
            "mov $24, %%eax; syscall; vpor %%xmm15, %%xmm15, %%xmm1; vmovdqu %%ymm0, (%1)"
            :
            : "r"(in), "r"(out)
            : "rax", "rcx", "r11", "xmm0", "xmm1", "xmm15", "memory");
        if (memcmp(in, out, sizeof in) != 0) return 0;
    }
    __asm__ volatile("vzeroupper");
    return 1;
}

static void processes(void) {
    int local = 5;
    double number = iterate(1);
    int *shared = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    *shared = 1;
    pid_t child = fork();
    if (child == 0) {
        local = 6;
        *shared = iterate(1) == number ? 77 : 78;
        _exit(local + 1);
    }
    int status = statusOf(child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7 && local == 5 && *shared == 77);
    CHECK(waitpid(-1, &status, 0) == -1 && errno == ECHILD);

    for (int i = 0; i < 50; i++)
        if (fork() == 0) {
            usleep(1000 * (i % 7));
            _exit(3);
        }
    int count = 0;
    while (wait(&status) > 0) {
        count++;
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    }
    CHECK(count == 50);

    // Ignored children leave no zombies, and wait ends when the last is gone.
    signal(SIGCHLD, SIG_IGN);
    for (int i = 0; i < 20; i++)
        if (fork() == 0) _exit(i);
    CHECK(wait(&status) == -1 && errno == ECHILD);
    signal(SIGCHLD, SIG_DFL);

    if ((child = fork()) == 0) *(volatile int *)8 = 1;
    status = statusOf(child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    if ((child = fork()) == 0) __asm__ volatile("ud2");
    status = statusOf(child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGILL);
    if ((child = fork()) == 0) __asm__ volatile("xor %%edx, %%edx; mov $1, %%eax; div %%edx" : : : "eax", "edx");
    status = statusOf(child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGFPE);
    if ((child = fork()) == 0) __asm__ volatile("hlt");
    status = statusOf(child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    if ((child = fork()) == 0) abort();
    status = statusOf(child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    if ((child = fork()) == 0)
        for (;;) {}
    usleep(30000);
    CHECK(waitpid(child, &status, WNOHANG) == 0);
    kill(child, SIGTERM);
    status = statusOf(child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);

    if ((child = vfork()) == 0) {
        execl(self, self, "child", (char *)0);
        _exit(1);
    }
    status = statusOf(child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    char *arguments[] = {(char *)self, "child", 0};
    CHECK(posix_spawn(&child, self, 0, 0, arguments, environ) == 0);
    status = statusOf(child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    CHECK(posix_spawn(&child, "/nonexistent", 0, 0, arguments, environ) == ENOENT);

    // Two processes with different floating-point state, preempted.
    child = fork();
    double start = child ? 1 : 2, expected = iterate(start);
    int wrong = 0;
    for (int i = 0; i < 20000; i++) wrong |= iterate(start) != expected;
    if (child == 0) _exit(wrong);
    CHECK(!wrong && statusOf(child) == 0);
    if (__builtin_cpu_supports("avx")) {
        child = fork();
        int kept = keepsUpperHalves(child ? 1000 : 2000);
        if (child == 0) _exit(!kept);
        CHECK(kept && statusOf(child) == 0);
    }
}

static void pipes(void) {
    int down[2], up[2], status;
    char byte, buffer[7777];
    CHECK(pipe(down) == 0 && pipe(up) == 0);
    pid_t child = fork();
    if (child == 0) {
        close(down[1]);
        close(up[0]);
        while (read(down[0], &byte, 1) == 1) {
            byte++;
            if (write(up[1], &byte, 1) != 1) _exit(1);
        }
        _exit(0);
    }
    close(down[0]);
    close(up[1]);
    for (int i = 0; i < 500; i++) {
        byte = (char)i;
        CHECK(write(down[1], &byte, 1) == 1 && read(up[0], &byte, 1) == 1 && byte == (char)(i + 1));
    }
    close(down[1]);
    CHECK(read(up[0], &byte, 1) == 0 && statusOf(child) == 0);
    close(up[0]);

    CHECK(pipe(down) == 0);
    if ((child = fork()) == 0) {
        close(down[0]);
        char *block = malloc(1 << 20);
        memset(block, 'x', 1 << 20);
        _exit(write(down[1], block, 1 << 20) != 1 << 20);
    }
    close(down[1]);
    ssize_t total = 0, got;
    int wrong = 0;
    while ((got = read(down[0], buffer, sizeof buffer)) > 0) {
        for (ssize_t i = 0; i < got; i++) wrong |= buffer[i] != 'x';
        total += got;
    }
    close(down[0]);
    CHECK(total == 1 << 20 && !wrong && statusOf(child) == 0);

    CHECK(pipe(down) == 0);
    close(down[0]);
    if ((child = fork()) == 0) {
        status = (int)write(down[1], "a", 1);
        _exit(0);
    }
    status = statusOf(child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
    signal(SIGPIPE, SIG_IGN);
    CHECK(write(down[1], "a", 1) == -1 && errno == EPIPE);
    signal(SIGPIPE, SIG_DFL);
    close(down[1]);
}

static void signals(void) {
    signal(SIGUSR1, catch);
    caught = 0;
    kill(getpid(), SIGUSR1);
    CHECK(caught == SIGUSR1);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    caught = 0;
    sigprocmask(SIG_BLOCK, &set, 0);
    raise(SIGUSR1);
    CHECK(caught == 0);
    sigprocmask(SIG_UNBLOCK, &set, 0);
    CHECK(caught == SIGUSR1);

    struct sigaction action = {.sa_handler = catch};
    sigaction(SIGALRM, &action, 0);
    struct itimerval timer = {.it_value = {.tv_usec = 50000}};
    caught = 0;
    setitimer(ITIMER_REAL, &timer, 0);
    struct timespec span = {.tv_sec = 5};
    CHECK(nanosleep(&span, &span) == -1 && errno == EINTR && caught == SIGALRM && span.tv_sec >= 1 && span.tv_sec <= 4);

    // A handler in the midst of floating-point work.
    double expected = iterate(1);
    int wrong = 0;
    caught = 0;
    setitimer(ITIMER_REAL, &timer, 0);
    while (!caught) wrong |= iterate(1) != expected;
    CHECK(!wrong);

    // A restarted read.
    int ends[2];
    char byte = 0;
    CHECK(pipe(ends) == 0);
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, 0);
    pid_t child = fork();
    if (child == 0) {
        usleep(150000);
        _exit(write(ends[1], "r", 1) != 1);
    }
    setitimer(ITIMER_REAL, &timer, 0);
    CHECK(read(ends[0], &byte, 1) == 1 && byte == 'r' && statusOf(child) == 0);
    close(ends[0]);
    close(ends[1]);
}

static void timeAndFiles(void) {
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    usleep(50000);
    clock_gettime(CLOCK_MONOTONIC, &after);
    double seconds = (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) * 1e-9;
    CHECK(seconds >= 0.05 && seconds < 5);

    char buffer[4096], folder[] = "/tmp/linux-abi-XXXXXX";
    struct stat information;
    CHECK(mkdtemp(folder) != 0 && chdir(folder) == 0);
    int file = open("a", O_CREAT | O_RDWR | O_TRUNC, 0644);
    CHECK(file >= 0 && write(file, "hello", 5) == 5 && lseek(file, 10000, SEEK_SET) == 10000);
    CHECK(write(file, "end", 3) == 3 && pread(file, buffer, 5, 0) == 5 && memcmp(buffer, "hello", 5) == 0);
    CHECK(pread(file, buffer, 3, 9999) == 3 && buffer[0] == 0 && buffer[1] == 'e');
    CHECK(fstat(file, &information) == 0 && information.st_size == 10003);
    char *mapped = mmap(0, 10003, PROT_READ, MAP_PRIVATE, file, 0);
    CHECK(mapped != MAP_FAILED && memcmp(mapped, "hello", 5) == 0 && mapped[10000] == 'e');
    CHECK(munmap(mapped, 10003) == 0 && ftruncate(file, 3) == 0);
    CHECK(fstat(file, &information) == 0 && information.st_size == 3);
    CHECK(ftruncate(file, 6) == 0 && pread(file, buffer, 6, 0) == 6 && memcmp(buffer, "hel\0\0\0", 6) == 0);
    close(file);
    CHECK(open("a", O_CREAT | O_EXCL | O_WRONLY, 0644) == -1 && errno == EEXIST);
    CHECK(rename("a", "b") == 0 && access("a", F_OK) == -1 && symlink("b", "link") == 0);
    file = open("link", O_RDONLY);
    CHECK(file >= 0 && read(file, buffer, 10) == 6);
    close(file);
    CHECK(mkdir("d", 0755) == 0 && rename("d", "d/e") == -1 && errno == EINVAL);
    CHECK(rename("b", "d/b") == 0 && rmdir("d") == -1 && errno == ENOTEMPTY);
    CHECK(unlink("d/b") == 0 && rmdir("d") == 0 && unlink("link") == 0 && open("d/b", O_RDONLY) == -1);
    CHECK(getcwd(buffer, sizeof buffer) != 0 && strcmp(buffer, folder) == 0);
    CHECK(chdir("/") == 0 && rmdir(folder) == 0);
    ssize_t length = readlink("/proc/self/exe", buffer, sizeof buffer);
    CHECK(length > 0 && (size_t)length == strlen(self) && memcmp(buffer, self, (size_t)length) == 0);
}

/// What programs ask of the file system and of descriptors in general.
static void fileSystem(void) {
    struct statfs information;
    char buffer[16];
    CHECK(statfs("/tmp", &information) == 0 && information.f_bsize > 0 && information.f_blocks > 0);
    CHECK(statfs("/no/such", &information) == -1 && errno == ENOENT);
    int file = open("/tmp/vectors", O_CREAT | O_RDWR | O_TRUNC, 0600);
    CHECK(file >= 0 && fstatfs(file, &information) == 0 && information.f_namelen == 255);
    struct iovec vectors[2] = {{"abc", 3}, {"defg", 4}};
    CHECK(pwritev(file, vectors, 2, 5) == 7 && lseek(file, 0, SEEK_CUR) == 0);
    struct iovec parts[2] = {{buffer, 2}, {buffer + 2, 5}};
    CHECK(preadv(file, parts, 2, 5) == 7 && memcmp(buffer, "abcdefg", 7) == 0);
    CHECK(preadv(file, parts, 2, -1) == -1 && errno == EINVAL);
    CHECK(posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL) == 0);
    struct stat status;
    CHECK(fallocate(file, 0, 0, 5000) == 0 && fstat(file, &status) == 0 && status.st_size == 5000);
    CHECK(pread(file, buffer, 7, 5) == 7 && memcmp(buffer, "abcdefg", 7) == 0);
    CHECK(getpeername(file, 0, 0) == -1 && errno == ENOTSOCK && getpeername(77, 0, 0) == -1 && errno == EBADF);
    int second = dup2(file, 40), third = dup2(file, 42);
    CHECK(syscall(436, 40, 41, 0) == 0 && fcntl(second, F_GETFD) == -1 && fcntl(third, F_GETFD) == 0);
    CHECK(syscall(436, 42, ~0u, 4) == 0 && fcntl(third, F_GETFD) == FD_CLOEXEC);
    CHECK(syscall(436, 2, 1, 0) == -1 && errno == EINVAL);
    CHECK(close(third) == 0 && close(file) == 0 && unlink("/tmp/vectors") == 0);
    int ends[2];
    CHECK(pipe(ends) == 0 && write(ends[1], "x", 1) == 1);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(ends[0], &set);
    struct timespec wait = {0, 1000};
    CHECK(pselect(ends[0] + 1, &set, 0, 0, &wait, 0) == 1 && FD_ISSET(ends[0], &set));
    CHECK(read(ends[0], buffer, 1) == 1 && pselect(ends[0] + 1, &set, 0, 0, &wait, 0) == 0);
    CHECK(posix_fadvise(ends[0], 0, 0, 0) == ESPIPE && close(ends[0]) == 0 && close(ends[1]) == 0);
}

/// Random system calls with random arguments: the kernel must survive them, whatever becomes of the callers.
static void hostileCalls(int rounds) {
    static const int excluded[] = {SYS_kill,  SYS_tgkill, SYS_tkill,  SYS_pause,   SYS_rt_sigsuspend, SYS_nanosleep,
                                   SYS_clock_nanosleep,   SYS_wait4,  SYS_poll,    SYS_ppoll,         SYS_select,
                                   SYS_futex, SYS_fork,   SYS_vfork,  SYS_clone,   435,               SYS_alarm,
                                   SYS_setitimer,         SYS_exit,   SYS_exit_group, SYS_write,      SYS_writev,
                                   SYS_pselect6,          SYS_pwritev};
    static char buffer[65536];
    for (int round = 0; round < rounds; round++) {
        pid_t child = fork();
        if (child != 0) {
            statusOf(child);
            continue;
        }
        unsigned long state = 88172645463325252ul + (unsigned long)round * 7919;
        alarm(2);
        strcpy(buffer, "/tmp/x");
        for (int i = 0; i < 100; i++) {
            unsigned long value[7];
            for (int k = 0; k < 7; k++) {
                state ^= state << 13, state ^= state >> 7, state ^= state << 17;
                unsigned long some[] = {0,
                                        state % 8,
                                        (unsigned long)buffer + state % 4096,
                                        (unsigned long)buffer & ~4095ul,
                                        ~0ul,
                                        state,
                                        0xFFFF800000000000ul + state % 100,
                                        0x07FFFFFF0000ul - state % 9000,
                                        4096 * (state % 64),
                                        0xFFFFF80000000000ul + (state & 0xFFFFFF),
                                        ~0ul >> 1,
                                        1ul << state % 64,
                                        state % 300};
                value[k] = some[(state >> 32) % (sizeof some / sizeof *some)];
            }
            long number = (long)(state % 440);
            int skip = 0;
            for (size_t k = 0; k < sizeof excluded / sizeof *excluded; k++) skip |= number == excluded[k];
            if (!skip) syscall(number, value[0], value[1], value[2], value[3], value[4], value[5]);
            if (i % 20 == 19) (void)*(volatile char *)value[6];
        }
        _exit(0);
    }
    puts("hostile calls survived");
}

/// Takes all memory, several times; each time the taker must die and its memory come back.
static void exhaustion(void) {
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        if (child == 0) {
            char *all = mmap(0, 4ul << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            for (size_t at = 0; all != MAP_FAILED && at < 4ul << 30; at += 4096) all[at] = 1;
            _exit(1);
        }
        int status = statusOf(child);
        printf("memory hog ended by signal %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    }
    int forks = 0;
    for (int i = 0; i < 500; i++) {
        pid_t child = fork();
        if (child == 0) _exit(0);
        if (child > 0 && statusOf(child) == 0) forks++;
    }
    printf("%d forks\n", forks);
}

int main(int count, char **arguments) {
    setvbuf(stdout, 0, _IONBF, 0);
    self = arguments[0];
    const char *what = count > 1 ? arguments[1] : "";
    if (strcmp(what, "child") == 0) return 42;
    if (strcmp(what, "crash") == 0) *(volatile int *)8 = 1;
    if (strcmp(what, "unknown") == 0) {
        for (int i = 0; i < 3; i++) CHECK(syscall(400) == -1 && errno == ENOSYS);
        CHECK(syscall(99999) == -1 && errno == ENOSYS);
        return failures;
    }
    if (strcmp(what, "echo") == 0) {
        for (int i = 2; i < count; i++) printf("[%s]", arguments[i]);
        puts("");
        return count;
    }
    if (strcmp(what, "hostile") == 0) {
        hostileCalls(atoi(arguments[2]));
        return 0;
    }
    if (strcmp(what, "exhaust") == 0) {
        exhaustion();
        return 0;
    }
    memory();
    badPointers();
    processes();
    pipes();
    signals();
    timeAndFiles();
    fileSystem();
    if (failures == 0) puts("linux-abi: all right");
    return failures != 0;
}
