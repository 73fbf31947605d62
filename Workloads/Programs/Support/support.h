// What user programs need from C: libc declarations, and the few instructions that Swift cannot express.
#ifndef VBENCH_PROGRAM_SUPPORT_H
#define VBENCH_PROGRAM_SUPPORT_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// Time stamp before a timed region: earlier loads are done, later instructions have not begun
// (Intel SDM vol. 2B, RDTSC: "LFENCE immediately before RDTSC").
static inline uint64_t vb_tsc_begin(void) {
    uint32_t low, high;
    __asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

// Time stamp after a timed region: RDTSCP waits for earlier instructions, LFENCE holds back later ones (same place).
static inline uint64_t vb_tsc_end(void) {
    uint32_t low, high, aux;
    __asm__ volatile("rdtscp\n\tlfence" : "=a"(low), "=d"(high), "=c"(aux) : : "memory");
    return (uint64_t)high << 32 | low;
}

// System calls by instruction: no libc caching, no wrappers, no errno (the result is -errno on failure).
static inline int64_t vb_syscall0(int64_t number) {
    int64_t result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number) : "rcx", "r11", "memory");
    return result;
}

static inline int64_t vb_syscall1(int64_t number, int64_t a) {
    int64_t result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a) : "rcx", "r11", "memory");
    return result;
}

static inline int64_t vb_syscall3(int64_t number, int64_t a, int64_t b, int64_t c) {
    int64_t result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}

static inline int64_t vb_syscall4(int64_t number, int64_t a, int64_t b, int64_t c, int64_t d) {
    int64_t result;
    register int64_t r10 __asm__("r10") = d;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
                     : "rcx", "r11", "memory");
    return result;
}

static inline int64_t vb_syscall6(int64_t number, int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f) {
    int64_t result;
    register int64_t r10 __asm__("r10") = d;
    register int64_t r8 __asm__("r8") = e;
    register int64_t r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

// fork or vfork by `number`; the child executes `path`, and exits with 127 if it cannot. The parent gets the child's
// identifier or -errno. One piece of assembly: a vfork child runs on its parent's stack and must leave it as it is.
static inline int64_t vb_fork_exec(int64_t number, const char *path, const char *const *arguments,
                                   const char *const *environment) {
    int64_t result;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "mov %[execve], %%eax\n\t"
                     "syscall\n\t"
                     "mov $127, %%edi\n\t"
                     "mov %[exit], %%eax\n\t"
                     "syscall\n\t"
                     "ud2\n"
                     "1:"
                     : "=a"(result)
                     : "a"(number), "D"(path), "S"(arguments), "d"(environment), [execve] "i"(SYS_execve),
                       [exit] "i"(SYS_exit_group)
                     : "rcx", "r11", "cc", "memory");
    return result;
}

// A load that may fault; two bytes long (8A 07), so that a handler can step over it.
static inline void vb_faulting_load(const void *address) {
    __asm__ volatile(".byte 0x8A, 0x07" : : "D"(address) : "rax", "memory");
}

// Page faults of this process that needed no disk, as the kernel counts them.
static inline uint64_t vb_minor_faults(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_minflt : 0;
}

// One CPUID leaf; registers as in the manual.
struct vb_cpuid {
    uint32_t eax, ebx, ecx, edx;
};

static inline struct vb_cpuid vb_cpuid(uint32_t leaf, uint32_t subleaf) {
    struct vb_cpuid r;
    __asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
    return r;
}

// XCR0. Only where CPUID.1:ECX.OSXSAVE is set.
static inline uint64_t vb_xcr0(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

// Keeps the compiler from removing work whose result it believes unused, or from moving it out of a timed region.
static inline void vb_keep(uint64_t value) {
    __asm__ volatile("" : : "r"(value) : "memory");
}

// Of a number that is not negative. The compiler's own square root may call libm for the others.
static inline double vb_square_root(double value) {
    __asm__("sqrtsd %0, %0" : "+x"(value));
    return value;
}

// glibc declares open() variadic, which Swift does not import.
static inline int vb_open(const char *path, int flags, int mode) {
    return open(path, flags, mode);
}

static inline int vb_errno(void) {
    return errno;
}

#include "nanobenchmarks-native.h"

#endif
