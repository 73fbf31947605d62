// Nanobenchmarks as ring 3 of a host can do them: faults that a signal handler steps over, and switches between processes.
#ifndef VBENCH_NANOBENCHMARKS_NATIVE_H
#define VBENCH_NANOBENCHMARKS_NATIVE_H

#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "../../Shared/nanobenchmarks.h"

// Faults handled so far.
static inline volatile uint64_t *vb_handled_faults(void) {
    static volatile uint64_t count;
    return &count;
}

// Steps over the instruction that faulted: two bytes (`vb_nano_fault`, `vb_nano_divide`).
static inline void vb_step_over_fault(int signal, siginfo_t *information, void *context) {
    (void)signal;
    (void)information;
    ((ucontext_t *)context)->uc_mcontext.gregs[16] += 2;  // REG_RIP (sys/ucontext.h)
    ++*vb_handled_faults();
}

static inline struct vb_nano_result vb_nano_with_handler(int signal, uint64_t iterations, uint64_t address) {
    struct sigaction action = {0}, usual;
    action.sa_sigaction = vb_step_over_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(signal, &action, &usual);
    struct vb_nano_result result;
    uint64_t before = *vb_handled_faults();
    result.cycles = signal == SIGFPE ? vb_nano_divide(iterations) : vb_nano_fault(iterations, address);
    result.check = *vb_handled_faults() - before;
    sigaction(signal, &usual, 0);
    return result;
}

// Another process on this CPU that sends every byte back. It ends when its pipe is closed, or with this process.
struct vb_partner {
    int process;
    int to, from;
};

// Keeps the calling process, and so the partner, on the CPU it runs on.
static inline int vb_stay_on_this_cpu(void) {
    unsigned long mask[128] = {0};
    unsigned cpu = 0, node = 0;
    if (vb_syscall3(SYS_getcpu, (int64_t)&cpu, (int64_t)&node, 0) != 0 || cpu >= 8 * sizeof mask) return -1;
    mask[cpu / 64] = 1ul << cpu % 64;
    return vb_syscall3(SYS_sched_setaffinity, 0, sizeof mask, (int64_t)mask) < 0 ? -1 : 0;
}

// Returns 0, or -1 with errno set.
static inline int vb_partner_start(struct vb_partner *partner) {
    int there[2], back[2];
    if (pipe(there) != 0) return -1;
    if (pipe(back) != 0) return -1;
    int parent = getpid();
    partner->process = fork();
    if (partner->process < 0) return -1;
    if (partner->process == 0) {
        char byte;
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        if (getppid() != parent) _exit(0);
        close(there[1]);
        while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1) {}
        _exit(0);
    }
    close(there[0]);
    close(back[1]);
    partner->to = there[1];
    partner->from = back[0];
    return 0;
}

static inline void vb_partner_end(const struct vb_partner *partner) {
    close(partner->to);
    close(partner->from);
    waitpid(partner->process, 0, 0);
}

// Eight round trips an iteration: sixteen switches. Check: the switches.
static inline struct vb_nano_result vb_nano_switch(uint64_t iterations, const struct vb_partner *partner) {
    struct vb_nano_result result = {0, 0};
    char byte = 0;
    __asm__ volatile(VB_NANO_TIME("%0") : "=r"(result.cycles) : : "rax", "rdx", "memory");
    for (uint64_t left = 8 * iterations; left > 0; left--) {
        if (write(partner->to, &byte, 1) != 1 || read(partner->from, &byte, 1) != 1) break;
        result.check += 2;
    }
    uint64_t end;
    __asm__ volatile(VB_NANO_TIME("%0") : "=r"(end) : : "rax", "rdx", "memory");
    result.cycles = end - result.cycles;
    return result;
}

#endif
