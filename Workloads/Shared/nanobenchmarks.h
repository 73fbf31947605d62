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

// `before` once and `body` 16 times an iteration. RAX and RDX are free for both; iterations are in [left], the time goes to [cycles].
#define VB_NANO_REPEAT(before, body)                                                                                   \
    VB_NANO_TIME("%%r8")                                                                                               \
    before "\n\t.p2align 5\n1:\n\t.rept 16\n\t" body "\n\t.endr\n\tdec %[left]\n\tjnz 1b\n\t" VB_NANO_TIME("%[cycles]") \
        "sub %%r8, %[cycles]"
#define VB_NANO_OUTPUTS [left] "+r"(iterations), [cycles] "=&r"(cycles)
#define VB_NANO_CLOBBERS "rax", "rdx", "r8", "cc", "memory"

// Nothing but the loop.
static inline uint64_t vb_nano_loop(uint64_t iterations) {
    uint64_t cycles;
    __asm__ volatile(VB_NANO_TIME("%%r8") ".p2align 5\n1:\n\tdec %[left]\n\tjnz 1b\n\t" VB_NANO_TIME("%[cycles]")
                     "sub %%r8, %[cycles]"
                     : VB_NANO_OUTPUTS
                     :
                     : VB_NANO_CLOBBERS);
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

// Time stamps: cycles are the least between two of `pairs` neighbours, check is the greatest common divisor of all those times.
static inline struct vb_nano_result vb_nano_time_stamp(uint64_t pairs) {
    struct vb_nano_result result = {UINT64_MAX, 0};
    while (pairs-- > 0) {
        uint64_t first, second;
        __asm__ volatile(VB_NANO_TIME("%[first]") VB_NANO_TIME("%[second]")
                         : [first] "=&r"(first), [second] "=&r"(second)
                         :
                         : "rax", "rdx", "memory");
        uint64_t time = second - first;
        if (time < result.cycles) result.cycles = time;
        while (time != 0) {
            uint64_t rest = result.check % time;
            result.check = time;
            time = rest;
        }
    }
    return result;
}

// ---- any ring -----------------------------------------------------------------------------------------------------

static inline uint64_t vb_nano_cpuid(uint64_t iterations) {
    uint64_t cycles;
    __asm__ volatile(VB_NANO_REPEAT("", "xor %%eax, %%eax\n\txor %%ecx, %%ecx\n\tcpuid")
                     : VB_NANO_OUTPUTS
                     :
                     : "rbx", "rcx", VB_NANO_CLOBBERS);
    return cycles;
}

static inline uint64_t vb_nano_rdtsc(uint64_t iterations) {
    uint64_t cycles;
    __asm__ volatile(VB_NANO_REPEAT("", "rdtsc") : VB_NANO_OUTPUTS : : VB_NANO_CLOBBERS);
    return cycles;
}

static inline uint64_t vb_nano_rdtscp(uint64_t iterations) {
    uint64_t cycles;
    __asm__ volatile(VB_NANO_REPEAT("", "rdtscp") : VB_NANO_OUTPUTS : : "rcx", VB_NANO_CLOBBERS);
    return cycles;
}

// Divisions by zero: two bytes each, which the handler steps over.
static inline uint64_t vb_nano_divide(uint64_t iterations) {
    uint64_t cycles;
    __asm__ volatile(VB_NANO_REPEAT("xor %%edx, %%edx\n\tmov $1, %%eax\n\txor %%ecx, %%ecx", "div %%ecx")
                     : VB_NANO_OUTPUTS
                     :
                     : "rcx", VB_NANO_CLOBBERS);
    return cycles;
}

// Loads from where nothing is mapped: two bytes each, which the handler steps over.
static inline uint64_t vb_nano_fault(uint64_t iterations, uint64_t address) {
    uint64_t cycles;
    __asm__ volatile(VB_NANO_REPEAT("", "mov (%%rsi), %%al") : VB_NANO_OUTPUTS : "S"(address) : VB_NANO_CLOBBERS);
    return cycles;
}

// A store to each of 16 pages an iteration, from `address` up.
static inline uint64_t vb_nano_touch(uint64_t iterations, uint64_t address) {
    uint64_t cycles;
    __asm__ volatile(VB_NANO_REPEAT("mov $1, %%eax", "mov %%al, (%[address])\n\tadd $4096, %[address]")
                     : VB_NANO_OUTPUTS, [address] "+r"(address)
                     :
                     : VB_NANO_CLOBBERS);
    return cycles;
}

// System calls without arguments.
static inline uint64_t vb_nano_system_call(uint64_t iterations, uint64_t number) {
    uint64_t cycles;
    __asm__ volatile(VB_NANO_REPEAT("", "mov %k[number], %%eax\n\tsyscall")
                     : VB_NANO_OUTPUTS
                     : [number] "r"(number)
                     : "rcx", "r11", VB_NANO_CLOBBERS);
    return cycles;
}

// ---- ring 0 -------------------------------------------------------------------------------------------------------

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

static inline uint64_t vb_nano_port_write8(uint64_t iterations, uint16_t port) {
    uint64_t cycles;
    __asm__ volatile(VB_NANO_REPEAT("mov %[port], %%edx\n\txor %%eax, %%eax", "out %%al, %%dx")
                     : VB_NANO_OUTPUTS
                     : [port] "r"((uint32_t)port)
                     : VB_NANO_CLOBBERS);
    return cycles;
}

static inline uint64_t vb_nano_port_write32(uint64_t iterations, uint16_t port) {
    uint64_t cycles;
    __asm__ volatile(VB_NANO_REPEAT("mov %[port], %%edx\n\txor %%eax, %%eax", "out %%eax, %%dx")
                     : VB_NANO_OUTPUTS
                     : [port] "r"((uint32_t)port)
                     : VB_NANO_CLOBBERS);
    return cycles;
}

static inline uint64_t vb_nano_cr8_write(uint64_t iterations, uint64_t value) {
    uint64_t cycles;
    __asm__ volatile(VB_NANO_REPEAT("", "mov %[value], %%cr8")
                     : VB_NANO_OUTPUTS
                     : [value] "r"(value)
                     : VB_NANO_CLOBBERS);
    return cycles;
}

static inline uint64_t vb_nano_cr3_write(uint64_t iterations, uint64_t value) {
    uint64_t cycles;
    __asm__ volatile(VB_NANO_REPEAT("", "mov %[value], %%cr3")
                     : VB_NANO_OUTPUTS
                     : [value] "r"(value)
                     : VB_NANO_CLOBBERS);
    return cycles;
}

static inline uint64_t vb_nano_invlpg(uint64_t iterations, uint64_t address) {
    uint64_t cycles;
    __asm__ volatile(VB_NANO_REPEAT("", "invlpg (%[address])")
                     : VB_NANO_OUTPUTS
                     : [address] "r"(address)
                     : VB_NANO_CLOBBERS);
    return cycles;
}

// Stores of two values in turn to a 64-bit word; the second is there in the end.
static inline uint64_t vb_nano_store_turns(uint64_t iterations, uint64_t *word, uint64_t first, uint64_t second) {
    uint64_t cycles;
    __asm__ volatile(VB_NANO_TIME("%%r8")
                     ".p2align 5\n1:\n\t.rept 8\n\tmov %[first], (%[word])\n\tmov %[second], (%[word])\n\t.endr\n\t"
                     "dec %[left]\n\tjnz 1b\n\t" VB_NANO_TIME("%[cycles]") "sub %%r8, %[cycles]"
                     : VB_NANO_OUTPUTS
                     : [word] "r"(word), [first] "r"(first), [second] "r"(second)
                     : VB_NANO_CLOBBERS);
    return cycles;
}

// Loads and stores of 32 bits of device memory.
static inline uint64_t vb_nano_load32(uint64_t iterations, uint64_t address) {
    uint64_t cycles;
    __asm__ volatile(VB_NANO_REPEAT("", "mov (%[address]), %%eax")
                     : VB_NANO_OUTPUTS
                     : [address] "r"(address)
                     : VB_NANO_CLOBBERS);
    return cycles;
}

static inline uint64_t vb_nano_store32(uint64_t iterations, uint64_t address, uint32_t value) {
    uint64_t cycles;
    __asm__ volatile(VB_NANO_REPEAT("mov %[value], %%eax", "mov %%eax, (%[address])")
                     : VB_NANO_OUTPUTS
                     : [address] "r"(address), [value] "r"(value)
                     : VB_NANO_CLOBBERS);
    return cycles;
}

static inline uint64_t vb_nano_msr_read(uint64_t iterations, uint32_t msr) {
    uint64_t cycles;
    __asm__ volatile(VB_NANO_REPEAT("", "rdmsr") : VB_NANO_OUTPUTS : "c"(msr) : VB_NANO_CLOBBERS);
    return cycles;
}

static inline uint64_t vb_nano_msr_write(uint64_t iterations, uint32_t msr, uint64_t value) {
    uint64_t cycles;
    __asm__ volatile(VB_NANO_REPEAT("mov %k[low], %%eax\n\tmov %k[high], %%edx", "wrmsr")
                     : VB_NANO_OUTPUTS
                     : "c"(msr), [low] "r"(value), [high] "r"(value >> 32)
                     : VB_NANO_CLOBBERS);
    return cycles;
}

// Hypercalls, by the instruction of Intel's CPUs or of AMD's, with a number that none has. RBX, RCX and RSI are arguments.
static inline uint64_t vb_nano_vmcall(uint64_t iterations) {
    uint64_t cycles;
    __asm__ volatile(VB_NANO_REPEAT("", "mov $0x7FFFFFFF, %%eax\n\tvmcall")
                     : VB_NANO_OUTPUTS
                     :
                     : "rbx", "rcx", "rsi", "rdi", VB_NANO_CLOBBERS);
    return cycles;
}

static inline uint64_t vb_nano_vmmcall(uint64_t iterations) {
    uint64_t cycles;
    __asm__ volatile(VB_NANO_REPEAT("", "mov $0x7FFFFFFF, %%eax\n\tvmmcall")
                     : VB_NANO_OUTPUTS
                     :
                     : "rbx", "rcx", "rsi", "rdi", VB_NANO_CLOBBERS);
    return cycles;
}

#endif
