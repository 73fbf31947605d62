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
#define VB_SW_TABLE 4096

// RFLAGS.TF, for the assembly: entering with it runs one instruction of the guest, which ends in SIGTRAP.
#define VB_SW_RFLAGS_TF 0x100

// Exit kinds, the result of vb_sw_enter.
#define VB_SW_EXIT_CHAIN 1     // a direct branch to a block that is not linked yet; exit_id names the branch
#define VB_SW_EXIT_INDIRECT 2  // an indirect branch missed the table; target holds the guest address
#define VB_SW_EXIT_EMULATE 3   // the instruction at rip is the VMM's to carry out
#define VB_SW_EXIT_TRAP 4      // a synchronous signal; trap_* describe it, resume is the interrupted host address
#define VB_SW_EXIT_KICK 5      // the vCPU thread was kicked; resume is the interrupted host address

#ifndef __ASSEMBLER__
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

// Entries of the indirect-branch table: indexed by the low 16 bits of a guest address.
#define VB_SW_TABLE_ENTRIES 65536

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
    uint8_t pad[VB_SW_TABLE - 496];
    uint64_t table[VB_SW_TABLE_ENTRIES];
} vb_sw_vcpu;

// Runs the guest until the next exit; returns a VB_SW_EXIT_* value.
uint64_t vb_sw_enter(vb_sw_vcpu *vcpu);
void vb_sw_exit(void);
void vb_sw_indirect_miss(void);

// Fills in what the structure says of itself and of the trampolines.
void vb_sw_prepare(vb_sw_vcpu *vcpu);
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
