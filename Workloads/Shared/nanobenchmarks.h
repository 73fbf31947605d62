// Timed loops around single instructions, the same code in ring 0 (Nub) and in a program: what a comparison of the two needs.
//
// Each loop runs its operation 16 times an iteration and gives TSC cycles for all of them, the loop's own included; take off what
// `vb_nano_loop` gives for as many iterations. The time stamps are RDTSC between LFENCEs (Intel SDM vol. 2B, RDTSC): RDTSCP does
// not work in ring 0 everywhere.
#ifndef VBENCH_NANOBENCHMARKS_H
#define VBENCH_NANOBENCHMARKS_H

#include <stdint.h>

#define VB_NANO_UNROLLED 16

struct vb_nano_result {
    uint64_t cycles;
    // Shows that the operations were done; see each loop.
    uint64_t check;
};

#define VB_NANO_TIME(target) "lfence\n\trdtsc\n\tlfence\n\tshl $32, %%rdx\n\tor %%rdx, %%rax\n\tmov %%rax, " target "\n\t"

// Nothing but the loop.
static inline uint64_t vb_nano_loop(uint64_t iterations) {
    uint64_t cycles;
    __asm__ volatile(VB_NANO_TIME("%%r8") ".p2align 5\n1:\n\tdec %[left]\n\tjnz 1b\n\t" VB_NANO_TIME("%[cycles]")
                     "sub %%r8, %[cycles]"
                     : [left] "+r"(iterations), [cycles] "=&r"(cycles)
                     :
                     : "rax", "rdx", "r8", "cc", "memory");
    return cycles;
}

// Calls of a function that counts them, and returns. Check: the calls. RSP moves over the red zone first, which they would
// overwrite.
static inline struct vb_nano_result vb_nano_call_return(uint64_t iterations) {
    struct vb_nano_result result = {0, 0};
    __asm__ volatile("lea -128(%%rsp), %%rsp\n\t" VB_NANO_TIME("%%r8")
                     ".p2align 5\n1:\n\t.rept 16\n\tcall 2f\n\t.endr\n\tdec %[left]\n\tjnz 1b\n\t"
                     VB_NANO_TIME("%[cycles]") "sub %%r8, %[cycles]\n\tjmp 3f\n\t"
                     ".p2align 4\n2:\n\tlea 1(%[check]), %[check]\n\tret\n"
                     "3:\n\tlea 128(%%rsp), %%rsp"
                     : [left] "+r"(iterations), [cycles] "=&r"(result.cycles), [check] "+r"(result.check)
                     :
                     : "rax", "rdx", "r8", "cc", "memory");
    return result;
}

// Reads of one byte from an I/O port. Check: the last byte read.
static inline struct vb_nano_result vb_nano_port_read(uint64_t iterations, uint16_t port) {
    struct vb_nano_result result;
    uint64_t value = 0;
    __asm__ volatile(VB_NANO_TIME("%%r8") "mov %[port], %%edx\n\t"
                     ".p2align 5\n1:\n\t.rept 16\n\tin %%dx, %%al\n\t.endr\n\tdec %[left]\n\tjnz 1b\n\t"
                     "movzbl %%al, %k[value]\n\t" VB_NANO_TIME("%[cycles]") "sub %%r8, %[cycles]"
                     : [left] "+r"(iterations), [cycles] "=&r"(result.cycles), [value] "+r"(value)
                     : [port] "r"((uint32_t)port)
                     : "rax", "rdx", "r8", "cc", "memory");
    result.check = value;
    return result;
}

#endif
