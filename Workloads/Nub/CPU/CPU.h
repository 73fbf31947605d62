// What Swift cannot say: single instructions, the layouts shared with assembly, and the assembly routines.
//
// Every inline function is one instruction (plus register moves). Names are the mnemonics.
#pragma once
#include <stdint.h>
#include "../../Shared/nanobenchmarks.h"

#define CPU_INLINE static inline __attribute__((always_inline))
// A C global that Swift may use without an actor: Nub is uniprocessor and never preempted in ring 0.
#define CPU_GLOBAL extern __attribute__((swift_attr("nonisolated(unsafe)")))

// Registers as entry.S lays them out on the kernel stack, lowest address first. Page faults, timer ticks and system
// calls save from `r9` up; the callee-saved six are pushed only where someone needs them (fork, exec, panic).
struct TrapFrame {
    uint64_t r15, r14, r13, r12, rbp, rbx;
    uint64_t r9, r8, r10, rdx, rsi, rdi;
    uint64_t r11, rcx, rax;
    uint64_t vector, errorCode;
    uint64_t rip, cs, rflags, rsp, ss;
};

// Task-state segment, SDM vol. 3A 8.7. `rsp0` is also the stack that system calls use.
struct __attribute__((packed)) TaskStateSegment {
    uint32_t reserved0;
    uint64_t rsp0, rsp1, rsp2;
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t ioMapBase;
};

// Per-CPU state that the entry paths use (Nub has one CPU, so it is reached RIP-relative and gs stays the user's).
struct CPUBlock {
    uint64_t userStackPointer;
    uint64_t systemCalls;
    // Kernel stack to go back to when a ring-3 stub reports (see FPUState.swift); 0 when none runs.
    uint64_t stubStackPointer;
    // Not 0: the current process has signals to look at before it goes on in ring 3.
    uint64_t returnWork;
};

CPU_GLOBAL struct CPUBlock cpu_block;
CPU_GLOBAL struct TaskStateSegment cpu_tss;

struct CPUIDResult {
    uint32_t eax, ebx, ecx, edx;
};

CPU_INLINE void cpu_out8(uint16_t port, uint8_t value) {
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
CPU_INLINE void cpu_out32(uint16_t port, uint32_t value) {
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
CPU_INLINE uint8_t cpu_in8(uint16_t port) {
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}
CPU_INLINE uint64_t cpu_rdmsr(uint32_t index) {
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index) : "memory");
    return (uint64_t)high << 32 | low;
}
CPU_INLINE void cpu_wrmsr(uint32_t index, uint64_t value) {
    __asm__ volatile("wrmsr" : : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}
CPU_INLINE uint64_t cpu_rdtsc(void) {
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}
CPU_INLINE struct CPUIDResult cpu_cpuid(uint32_t leaf, uint32_t subleaf) {
    struct CPUIDResult r;
    __asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
    return r;
}
CPU_INLINE uint64_t cpu_read_cr2(void) {
    uint64_t value;
    __asm__ volatile("mov %%cr2, %0" : "=r"(value));
    return value;
}
CPU_INLINE uint64_t cpu_read_cr3(void) {
    uint64_t value;
    __asm__ volatile("mov %%cr3, %0" : "=r"(value));
    return value;
}
CPU_INLINE void cpu_write_cr3(uint64_t value) { __asm__ volatile("mov %0, %%cr3" : : "r"(value) : "memory"); }
CPU_INLINE uint64_t cpu_read_cr4(void) {
    uint64_t value;
    __asm__ volatile("mov %%cr4, %0" : "=r"(value));
    return value;
}
CPU_INLINE void cpu_write_cr4(uint64_t value) { __asm__ volatile("mov %0, %%cr4" : : "r"(value) : "memory"); }
CPU_INLINE void cpu_invlpg(uint64_t address) { __asm__ volatile("invlpg (%0)" : : "r"(address) : "memory"); }
CPU_INLINE void cpu_xsetbv(uint32_t index, uint64_t value) {
    __asm__ volatile("xsetbv" : : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}
// Takes the interrupts that wait: one is recognized behind the instruction after STI.
CPU_INLINE void cpu_take_interrupts(void) { __asm__ volatile("sti\n\tnop\n\tnop\n\tcli" : : : "memory"); }
CPU_INLINE uint64_t cpu_read_cr8(void) {
    uint64_t value;
    __asm__ volatile("mov %%cr8, %0" : "=r"(value));
    return value;
}
CPU_INLINE void cpu_write_cr8(uint64_t value) { __asm__ volatile("mov %0, %%cr8" : : "r"(value) : "memory"); }
CPU_INLINE void cpu_fxsave(void *area) { __asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory"); }
CPU_INLINE void cpu_fxrstor(const void *area) { __asm__ volatile("fxrstor64 (%0)" : : "r"(area) : "memory"); }
CPU_INLINE void cpu_xsave(void *area, uint64_t mask) {
    __asm__ volatile("xsave64 (%0)" : : "r"(area), "a"((uint32_t)mask), "d"((uint32_t)(mask >> 32)) : "memory");
}
CPU_INLINE void cpu_xrstor(const void *area, uint64_t mask) {
    __asm__ volatile("xrstor64 (%0)" : : "r"(area), "a"((uint32_t)mask), "d"((uint32_t)(mask >> 32)) : "memory");
}
// Stores that a host (mailbox) or a device (APIC registers) sees: one access each, in program order.
CPU_INLINE void cpu_store32(void *address, uint32_t value) { *(volatile uint32_t *)address = value; }
CPU_INLINE uint32_t cpu_load32(const void *address) { return *(const volatile uint32_t *)address; }

// boot.S
CPU_INLINE void *kernel_boot_pml4(void) {
    extern char boot_pml4[];
    return boot_pml4;
}
CPU_INLINE void *kernel_physical_map_pdpt(void) {
    extern char boot_pdpt_physical[];
    return boot_pdpt_physical;
}
CPU_INLINE void *kernel_image_pd(void) {
    extern char boot_pd_kernel[];
    return boot_pd_kernel;
}
CPU_INLINE void *kernel_image_pt(void) {
    extern char boot_pt_kernel[];
    return boot_pt_kernel;
}
void cpu_load_descriptor_tables(void);
CPU_INLINE uint64_t kernel_text_start_address(void) {
    extern char kernel_text_start[];
    return (uint64_t)kernel_text_start;
}
CPU_INLINE uint64_t kernel_text_end_address(void) {
    extern char kernel_text_end[];
    return (uint64_t)kernel_text_end;
}
CPU_INLINE uint64_t kernel_data_start_address(void) {
    extern char kernel_data_start[];
    return (uint64_t)kernel_data_start;
}
CPU_INLINE uint64_t kernel_end_address(void) {
    extern char kernel_end[];
    return (uint64_t)kernel_end;
}
CPU_INLINE uint64_t kernel_exception_stack_top(void) {
    extern char exception_stack_top[];
    return (uint64_t)exception_stack_top;
}
CPU_INLINE uint64_t kernel_nmi_stack_top(void) {
    extern char nmi_stack_top[];
    return (uint64_t)nmi_stack_top;
}
CPU_INLINE uint64_t kernel_boot_stack_top(void) {
    extern char boot_stack_top[];
    return (uint64_t)boot_stack_top;
}
CPU_INLINE void *kernel_gdt(void) {
    extern char boot_gdt[];
    return boot_gdt;
}
CPU_INLINE void *kernel_idt(void) {
    extern char cpu_idt[];
    return cpu_idt;
}
// Scratch that is too large for a kernel stack. Users never hold it across a block.
#define KERNEL_PATH_BYTES 4096
CPU_INLINE uint8_t *kernel_path_buffer(void) {
    extern uint8_t path_buffer[];
    return path_buffer;
}
CPU_INLINE uint8_t *kernel_second_path_buffer(void) {
    extern uint8_t second_path_buffer[];
    return second_path_buffer;
}
CPU_INLINE uint8_t *kernel_link_buffer(void) {
    extern uint8_t link_buffer[];
    return link_buffer;
}
#define KERNEL_LINE_BYTES 2048
CPU_INLINE uint8_t *kernel_line_buffer(void) {
    extern uint8_t line_buffer[];
    return line_buffer;
}
CPU_INLINE uint8_t *kernel_command_line_buffer(void) {
    extern uint8_t command_line_buffer[];
    return command_line_buffer;
}
#define KERNEL_SYSTEM_CALLS 512
CPU_INLINE uint32_t *kernel_unknown_counts(void) {
    extern uint32_t unknown_counts[];
    return unknown_counts;
}

// entry.S
CPU_INLINE uint64_t kernel_trap_entry(uint32_t vector) {
    extern uint64_t trap_entries[];
    return trap_entries[vector];
}
#define KERNEL_TRAP_ENTRIES 34
CPU_INLINE uint64_t kernel_page_fault_or_system_call_entry(void) {
    extern char trap_14_or_system_call[];
    return (uint64_t)trap_14_or_system_call;
}
CPU_INLINE uint64_t kernel_spurious_entry(void) {
    extern char spurious_interrupt[];
    return (uint64_t)spurious_interrupt;
}
CPU_INLINE uint64_t kernel_system_call_entry(int useSysret) {
    extern char system_call_entry_sysret[], system_call_entry_iret[];
    return useSysret ? (uint64_t)system_call_entry_sysret : (uint64_t)system_call_entry_iret;
}
CPU_INLINE uint64_t kernel_new_process_entry(void) {
    extern char new_process_entry[];
    return (uint64_t)new_process_entry;
}
void cpu_switch_context(uint64_t *saveStackPointer, uint64_t newStackPointer);
_Noreturn void cpu_enter_user(const struct TrapFrame *frame);
_Noreturn void cpu_stop(void);
void cpu_idle_until_interrupt(void);
// Runs the ring-3 stub at `rip` with RAX:RDX = mask and RDI = area; returns when it makes its system call.
void cpu_run_user_stub(uint64_t rip, uint64_t area, uint64_t mask);
CPU_INLINE void *kernel_user_stub_page(void) {
    extern char user_stub_page[];
    return user_stub_page;
}
CPU_INLINE uint64_t kernel_user_stub_restore_offset(void) {
    extern char user_stub_page[], user_stub_restore[];
    return (uint64_t)(user_stub_restore - user_stub_page);
}

// memory.S: the user routines return non-zero (or -1) when the user address faults and cannot be made present.
uint64_t user_copy(uint64_t destination, uint64_t source, uint64_t bytes);
uint64_t user_zero(uint64_t destination, uint64_t bytes);
int64_t user_string_length(uint64_t string, uint64_t limit);
uint64_t user_load64(uint64_t address, uint64_t *value);
CPU_INLINE uint64_t kernel_user_access_start(void) {
    extern char user_access_start[];
    return (uint64_t)user_access_start;
}
CPU_INLINE uint64_t kernel_user_access_end(void) {
    extern char user_access_end[];
    return (uint64_t)user_access_end;
}
CPU_INLINE uint64_t kernel_user_access_failed(void) {
    extern char user_access_failed[];
    return (uint64_t)user_access_failed;
}
void memory_zero_page(void *page);
void memory_copy_page(void *destination, const void *source);
// Index of the first non-zero word at or after `from`, or `end`.
uint64_t memory_scan_nonzero(const uint64_t *words, uint64_t from, uint64_t end);
void *memcpy(void *destination, const void *source, unsigned long bytes);
void *memmove(void *destination, const void *source, unsigned long bytes);
void *memset(void *destination, int value, unsigned long bytes);
int memcmp(const void *a, const void *b, unsigned long bytes);

#include "Nanobenchmarks.h"
