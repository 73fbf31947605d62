// The software VMM's vCPU state, shared by translated code (through GS), the entry trampoline and Swift.
//
//   Swift run loop ── vb_sw_enter ──▶ guest (translated ring 0, or ring 3 run directly)
//        ▲                               │  vb_sw_exit     (translated code asks for service)
//        └── returns the exit kind ◀─────┤  signal handler (trap, or a kick)
//
// Swift never runs in a signal handler: the handlers copy the guest's state here and leave the alternate stack for the
// stack that vb_sw_enter was called on, so that vb_sw_enter returns.
#pragma once

// Offsets for assembly; each is asserted against the structure in software_signals.c.
#define VB_SW_GPR 0
#define VB_SW_RFLAGS 128
#define VB_SW_RIP 136
#define VB_SW_TARGET 144
#define VB_SW_SPILL 152
#define VB_SW_EXIT_KIND 280
#define VB_SW_EXIT_ID 288
#define VB_SW_EXIT_STUB 296
#define VB_SW_MISS_STUB 304
#define VB_SW_SELF 312
#define VB_SW_HOST_RSP 320
#define VB_SW_HOST_FS 328
#define VB_SW_ENTER_FS 336
#define VB_SW_ENTER_GS 344
#define VB_SW_GUEST_FS 352
#define VB_SW_GUEST_GS 360
#define VB_SW_VIF 368
#define VB_SW_RESUME 376
#define VB_SW_XSAVE 384
#define VB_SW_XCR0 392
#define VB_SW_KICK 400
#define VB_SW_FRESH 456
#define VB_SW_CPL 496
#define VB_SW_DIRECT 504
#define VB_SW_TRANSLATE_USER 512
#define VB_SW_ATTENTION 520
#define VB_SW_LSTAR 528
#define VB_SW_FMASK 536
#define VB_SW_SYSCALL_CS 544
#define VB_SW_SYSCALL_SS 552
#define VB_SW_SYSRET_CS 560
#define VB_SW_SYSRET_SS 568
#define VB_SW_CS 576
#define VB_SW_SS 584
#define VB_SW_KEPT_FLAGS 592
#define VB_SW_USER_END 600
#define VB_SW_WINDOW 608
#define VB_SW_GDT_BASE 616
#define VB_SW_GDT_LIMIT 624
#define VB_SW_FRAME 632
#define VB_SW_SYSCALL_STUB 680
#define VB_SW_SYSRET_STUB 688
#define VB_SW_IRET_STUB 696
#define VB_SW_IN_STUB 704
#define VB_SW_INLINE_SYSCALLS 712
#define VB_SW_INLINE_RETURNS 720
#define VB_SW_USER_MISS_STUB 728
#define VB_SW_CR2 736
#define VB_SW_PORT_READS 744
#define VB_SW_PORT_LOG 752
#define VB_SW_STEADY_PORTS 1264
#define VB_SW_TABLE 4096
#define VB_SW_USER_TABLE 528384
#define VB_SW_SECOND_TABLE 1052672
#define VB_SW_USER_SECOND_TABLE 1576960

// The second tables are indexed by bits 63:49 of the guest address times VB_SW_HASH.
#define VB_SW_SECOND_SHIFT 49
#define VB_SW_HASH 0x9E3779B97F4A7C15

// Entries of the log of port reads that trampolines have carried out.
#define VB_SW_PORT_LOG_ENTRIES 128
// Ports below this may have a steady value.
#define VB_SW_STEADY_PORT_COUNT 1024
#define VB_SW_PORT_UNSTEADY 0xFFFF

// RFLAGS.TF, for the assembly: entering with it runs one instruction of the guest, which ends in SIGTRAP.
#define VB_SW_RFLAGS_TF 0x100

// Exit kinds, the result of vb_sw_enter.
#define VB_SW_EXIT_CHAIN 1     // a direct branch to a block that is not linked yet; exit_id names the branch
#define VB_SW_EXIT_INDIRECT 2  // an indirect branch missed the table; target holds the guest address
#define VB_SW_EXIT_EMULATE 3   // the instruction at rip is the VMM's to carry out
#define VB_SW_EXIT_TRAP 4      // a synchronous signal; trap_* describe it, resume is the interrupted host address
#define VB_SW_EXIT_TO_USER 6  // ring 3 was entered and something is to be done first (attention); target is its RIP
#define VB_SW_EXIT_KICK 5      // the vCPU thread was kicked; resume is the interrupted host address

#ifndef __ASSEMBLER__
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

// Entries of the indirect-branch table: indexed by the low 16 bits of a guest address.
#define VB_SW_TABLE_ENTRIES 65536
#define VB_SW_SECOND_ENTRIES 32768

typedef struct vb_sw_vcpu {
    uint64_t gpr[16];           // encoding order: RAX RCX RDX RBX RSP RBP RSI RDI R8…R15
    uint64_t rflags;            // as the CPU held them; the virtual IF is in vif
    uint64_t rip;               // guest RIP of an EMULATE exit
    uint64_t target;            // guest RIP an indirect branch goes to
    uint64_t spill[16];         // one slot a register, for translated sequences
    uint64_t exit_kind;
    uint64_t exit_id;
    uint64_t exit_stub;         // address of vb_sw_exit
    uint64_t miss_stub;         // address of vb_sw_indirect_miss
    uint64_t self;              // address of this structure
    uint64_t host_rsp;
    uint64_t host_fs;
    uint64_t enter_fs;          // FS base while in the guest
    uint64_t enter_gs;          // GS base while in the guest
    uint64_t guest_fs_base;     // the guest's own FS base, read by translated code
    uint64_t guest_gs_base;     // the guest's own (active) GS base
    uint64_t vif;               // virtual RFLAGS.IF: 0 or 1
    uint64_t resume;            // host address at which the guest goes on
    uint64_t xsave;             // address of the guest's XSAVE area, 64-byte aligned
    uint64_t xcr0;              // components saved and restored
    uint64_t kick;              // a kick came while the VMM ran; entry is refused until it is cleared
    uint64_t trap_signal;
    uint64_t trap_number;       // hardware vector of the trap, from the signal frame
    uint64_t trap_error;
    uint64_t trap_address;      // CR2
    uint64_t trap_fs_base;      // FS and GS base of the interrupted guest
    uint64_t trap_gs_base;
    uint64_t trap_fresh;        // whether this exit interrupted the guest (a kick may refuse the entry instead)
    uint64_t code_begin;        // host address range of the code cache
    uint64_t code_end;
    uint64_t vmm_begin;         // host addresses from here up are the VMM's own
    uint64_t xsave_capacity;    // bytes at xsave
    uint64_t cpl;               // current privilege level: 0 or 3
    uint64_t direct;            // ring 3 is what runs, and it runs directly
    uint64_t translate_user;    // ring 3 of the current address space is to be translated
    uint64_t attention;         // nonzero: the VMM wants to know when ring 3 is entered
    uint64_t long_star;         // IA32_LSTAR
    uint64_t syscall_mask;      // IA32_FMASK
    uint64_t syscall_cs;        // selectors that SYSCALL and SYSRET load, from IA32_STAR
    uint64_t syscall_ss;
    uint64_t sysret_cs;
    uint64_t sysret_ss;
    uint64_t code_selector;     // CS and SS as they are
    uint64_t stack_selector;
    uint64_t kept_flags;        // what the guest set of TF, AC and NT while they are not live
    uint64_t user_end;          // guest user addresses end here
    uint64_t window;            // host address of guest address 0 as ring 0 sees it
    uint64_t gdt_base;
    uint64_t gdt_limit;
    uint64_t frame[6];          // IRETQ: RIP CS RFLAGS RSP SS from the stack, descriptor of CS
    uint64_t syscall_stub;      // addresses of the trampolines, or of the one that leaves it to the VMM
    uint64_t sysret_stub;
    uint64_t iret_stub;
    uint64_t in_stub;
    uint64_t inline_syscalls;   // system calls of translated ring 3, which are no exits
    uint64_t inline_returns;    // returns to ring 3 without an exit
    uint64_t user_miss_stub;    // address of vb_sw_user_indirect_miss
    uint64_t cr2;
    uint64_t port_reads;        // entries in port_log
    uint32_t port_log[VB_SW_PORT_LOG_ENTRIES];  // cycles each
    uint16_t steady_ports[VB_SW_STEADY_PORT_COUNT];  // what a byte read gives as long as the VMM has not run, or VB_SW_PORT_UNSTEADY
    uint8_t pad[VB_SW_TABLE - VB_SW_STEADY_PORTS - 2 * VB_SW_STEADY_PORT_COUNT];
    uint64_t table[VB_SW_TABLE_ENTRIES];       // ring 0
    uint64_t user_table[VB_SW_TABLE_ENTRIES];  // ring 3
    // Behind the tables, for addresses with the same low 16 bits: guest address and host address of its block's entry, by hash.
    struct { uint64_t guest, host; } second_table[VB_SW_SECOND_ENTRIES], user_second_table[VB_SW_SECOND_ENTRIES];
} vb_sw_vcpu;

// Runs the guest until the next exit; returns a VB_SW_EXIT_* value.
uint64_t vb_sw_enter(vb_sw_vcpu *vcpu);
// Where translated code jumps to; none is a C function.
void vb_sw_exit(void);
void vb_sw_user_indirect_miss(void);
void vb_sw_syscall(void);
void vb_sw_sysret(void);
void vb_sw_syscall_refused(void);
void vb_sw_sysret_refused(void);
void vb_sw_iret(void);
void vb_sw_in(void);
void vb_sw_indirect_miss(void);

// Fills in what the structure says of itself and of the trampolines.
void vb_sw_prepare(vb_sw_vcpu *vcpu);
// EFER.SCE: whether SYSCALL and SYSRET are defined.
void vb_sw_allow_system_calls(vb_sw_vcpu *vcpu, int allowed);
// Makes `vcpu` the one of this process, installs the handlers and the alternate stack of the calling thread, and
// creates the kick timer. Returns 0 or an errno value.
int vb_sw_install(vb_sw_vcpu *vcpu, void *alternate_stack, size_t bytes);
// Undoes it on the same thread: the handlers of before, no alternate stack (the caller frees it), no timer.
void vb_sw_uninstall(void);
// Syscall User Dispatch for the calling thread: system calls from outside [begin, begin + bytes) become SIGSYS.
int vb_sw_dispatch_user_calls(uint64_t begin, uint64_t bytes);
// The end of that.
int vb_sw_release_user_calls(void);
// CPUID faulting for the calling thread; returns 0 or an errno value (ENODEV: the CPU cannot).
int vb_sw_fault_cpuid(int on);
// Arms the kick timer to fire once at `deadline` (CLOCK_MONOTONIC, ns); 0 disarms.
void vb_sw_arm_kick(uint64_t deadline_ns);

static inline uint64_t vb_sw_xgetbv0(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return ((uint64_t)high << 32) | low;
}
#endif
