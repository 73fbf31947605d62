// Signal handlers of the software VMM. They save the guest's state and leave for vb_sw_enter's caller; nothing else.
//
// The guest's FS base is live when they start, so nothing here may touch thread-local storage or a stack protector before
// the host's FS base is back (the functions below are compiled without either).
#define _GNU_SOURCE
#include "CLinuxSoftwareVCPU.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif
#define ARCH_CPUID_CODE 0x1012

#define SAME(field, offset) _Static_assert(offsetof(vb_sw_vcpu, field) == (offset), #field)
SAME(gpr, VB_SW_GPR);
SAME(rflags, VB_SW_RFLAGS);
SAME(rip, VB_SW_RIP);
SAME(target, VB_SW_TARGET);
SAME(spill, VB_SW_SPILL);
SAME(exit_kind, VB_SW_EXIT_KIND);
SAME(exit_id, VB_SW_EXIT_ID);
SAME(exit_stub, VB_SW_EXIT_STUB);
SAME(miss_stub, VB_SW_MISS_STUB);
SAME(self, VB_SW_SELF);
SAME(host_rsp, VB_SW_HOST_RSP);
SAME(host_fs, VB_SW_HOST_FS);
SAME(enter_fs, VB_SW_ENTER_FS);
SAME(enter_gs, VB_SW_ENTER_GS);
SAME(guest_fs_base, VB_SW_GUEST_FS);
SAME(guest_gs_base, VB_SW_GUEST_GS);
SAME(vif, VB_SW_VIF);
SAME(resume, VB_SW_RESUME);
SAME(xsave, VB_SW_XSAVE);
SAME(xcr0, VB_SW_XCR0);
SAME(kick, VB_SW_KICK);
SAME(trap_fresh, VB_SW_FRESH);
SAME(cpl, VB_SW_CPL);
SAME(direct, VB_SW_DIRECT);
SAME(translate_user, VB_SW_TRANSLATE_USER);
SAME(attention, VB_SW_ATTENTION);
SAME(long_star, VB_SW_LSTAR);
SAME(syscall_mask, VB_SW_FMASK);
SAME(syscall_cs, VB_SW_SYSCALL_CS);
SAME(syscall_ss, VB_SW_SYSCALL_SS);
SAME(sysret_cs, VB_SW_SYSRET_CS);
SAME(sysret_ss, VB_SW_SYSRET_SS);
SAME(code_selector, VB_SW_CS);
SAME(stack_selector, VB_SW_SS);
SAME(kept_flags, VB_SW_KEPT_FLAGS);
SAME(user_end, VB_SW_USER_END);
SAME(window, VB_SW_WINDOW);
SAME(gdt_base, VB_SW_GDT_BASE);
SAME(gdt_limit, VB_SW_GDT_LIMIT);
SAME(frame, VB_SW_FRAME);
SAME(syscall_stub, VB_SW_SYSCALL_STUB);
SAME(sysret_stub, VB_SW_SYSRET_STUB);
SAME(iret_stub, VB_SW_IRET_STUB);
SAME(in_stub, VB_SW_IN_STUB);
SAME(inline_syscalls, VB_SW_INLINE_SYSCALLS);
SAME(inline_returns, VB_SW_INLINE_RETURNS);
SAME(user_miss_stub, VB_SW_USER_MISS_STUB);
SAME(cr2, VB_SW_CR2);
SAME(port_reads, VB_SW_PORT_READS);
SAME(port_log, VB_SW_PORT_LOG);
SAME(steady_ports, VB_SW_STEADY_PORTS);
SAME(table, VB_SW_TABLE);
SAME(user_table, VB_SW_USER_TABLE);
SAME(second_table, VB_SW_SECOND_TABLE);
SAME(user_second_table, VB_SW_USER_SECOND_TABLE);

extern vb_sw_vcpu *vb_sw_current;
extern char vb_sw_enter_begin[], vb_sw_enter_end[], vb_sw_stubs_begin[], vb_sw_stubs_end[];
void vb_sw_refuse(void);
_Noreturn void vb_sw_leave_handler(vb_sw_vcpu *vcpu);

#define BARE __attribute__((no_stack_protector, noinline))

// The kernel's own identifier (timer_create(2)), so that a handler needs no C library for it.
static int kick_timer;

// Signals that the VMM takes, and who had them before. The kick's handler stays, since one may still be on its way.
#define TRAPS 6
static const int trap_signals[TRAPS] = {SIGSYS, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
static struct sigaction previous[TRAPS];

// Encoding order (RAX RCX RDX RBX RSP RBP RSI RDI R8…) in the numbering of the signal frame.
static const int frame_register[16] = {
    REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

// Copies the guest's registers and FPU state from the frame and returns from vb_sw_enter with `kind`.
static BARE _Noreturn void leave(vb_sw_vcpu *vcpu, const ucontext_t *context, uint64_t kind) {
    const greg_t *registers = context->uc_mcontext.gregs;
    for (int i = 0; i < 16; i++) vcpu->gpr[i] = (uint64_t)registers[frame_register[i]];
    vcpu->rflags = (uint64_t)registers[REG_EFL];
    vcpu->resume = (uint64_t)registers[REG_RIP];
    vcpu->exit_kind = kind;
    vcpu->trap_fresh = 1;
    // The frame holds a standard-format XSAVE image followed by a 4-byte end mark (struct _fpx_sw_bytes: magic1 at byte
    // 464, xstate_size at 464 + 16); without the magic it is a plain 512-byte FXSAVE image, whose header is made here.
    const uint8_t *source = (const uint8_t *)context->uc_mcontext.fpregs;
    uint32_t magic, size;
    __builtin_memcpy(&magic, source + 464, 4);
    __builtin_memcpy(&size, source + 464 + 16, 4);
    uint8_t *destination = (uint8_t *)vcpu->xsave;
    if (magic == 0x46505853u && size <= vcpu->xsave_capacity) {
        uint64_t count = size;
        __asm__ volatile("rep movsb" : "+S"(source), "+D"(destination), "+c"(count) : : "memory");
    } else {
        uint64_t count = 512;
        __asm__ volatile("rep movsb" : "+S"(source), "+D"(destination), "+c"(count) : : "memory");
        uint64_t *header = (uint64_t *)(vcpu->xsave + 512);
        for (int i = 0; i < 8; i++) header[i] = 0;
        header[0] = 3;
    }
    vb_sw_leave_handler(vcpu);
}

// Says which signal struck the VMM itself and ends the process: its parent reports the trial as lost.
static BARE _Noreturn void die(int signal, const ucontext_t *context) {
    char text[] = "vbench software VMM: signal 00 in the VMM itself at 0x0000000000000000, address 0x0000000000000000\n";
    const char digits[] = "0123456789abcdef";
    text[28] = (char)('0' + signal / 10 % 10);
    text[29] = (char)('0' + signal % 10);
    uint64_t rip = (uint64_t)context->uc_mcontext.gregs[REG_RIP], address = (uint64_t)context->uc_mcontext.gregs[REG_CR2];
    for (int i = 0; i < 16; i++) {
        text[54 + i] = digits[rip >> (60 - 4 * i) & 15];
        text[82 + i] = digits[address >> (60 - 4 * i) & 15];
    }
    long ignored = syscall(SYS_write, 2, text, sizeof text - 1);
    (void)ignored;
    syscall(SYS_exit_group, 70);
    __builtin_unreachable();
}

static inline int in_guest(const vb_sw_vcpu *vcpu, uint64_t rip) {
    return rip < vcpu->vmm_begin || (rip >= vcpu->code_begin && rip < vcpu->code_end) || rip >> 47;
}

// The guest's FS and GS base are live: keep them, and put the host's FS base back.
static inline void take_thread_state(vb_sw_vcpu *vcpu) {
    uint64_t fs, gs;
    __asm__ volatile("rdfsbase %0" : "=r"(fs));
    __asm__ volatile("rdgsbase %0" : "=r"(gs));
    __asm__ volatile("wrfsbase %0" : : "r"(vcpu->host_fs));
    vcpu->trap_fs_base = fs;
    vcpu->trap_gs_base = gs;
}

// CPUID in the VMM or its libraries while CPUID faulting is on for the guest's sake: carry it out and go on behind it.
static BARE int emulate_own_cpuid(greg_t *registers) {
    const uint8_t *code = (const uint8_t *)registers[REG_RIP];
    if (registers[REG_TRAPNO] != 13 || code[0] != 0x0F || code[1] != 0xA2) return 0;
    if (syscall(SYS_arch_prctl, ARCH_CPUID_CODE, 1) != 0) return 0;
    uint32_t a = (uint32_t)registers[REG_RAX], c = (uint32_t)registers[REG_RCX], b, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    syscall(SYS_arch_prctl, ARCH_CPUID_CODE, 0);
    registers[REG_RAX] = a;
    registers[REG_RBX] = b;
    registers[REG_RCX] = c;
    registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
    return 1;
}

static BARE void on_trap(int signal, siginfo_t *info, void *opaque) {
    vb_sw_vcpu *vcpu = vb_sw_current;
    ucontext_t *context = opaque;
    take_thread_state(vcpu);
    greg_t *registers = context->uc_mcontext.gregs;
    // A fetch that faults where the VMM has no code is a jump of ring 3 into the VMM's range: the guest's fault.
    const int wild_jump = registers[REG_TRAPNO] == 14 && registers[REG_CR2] == registers[REG_RIP];
    // The VMM never runs with RFLAGS.TF: a trace trap is that of a step of the guest's, wherever it has jumped.
    const int guest_step = signal == SIGTRAP && info->si_code == TRAP_TRACE;
    if (!wild_jump && !guest_step && !in_guest(vcpu, (uint64_t)registers[REG_RIP])) {
        if (emulate_own_cpuid(registers)) return;
        die(signal, context);
    }
    vcpu->trap_signal = (uint64_t)signal;
    vcpu->trap_number = (uint64_t)registers[REG_TRAPNO];
    vcpu->trap_error = (uint64_t)registers[REG_ERR];
    vcpu->trap_address = (uint64_t)registers[REG_CR2];
    leave(vcpu, context, VB_SW_EXIT_TRAP);
}

static inline long bare_syscall4(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
    register uint64_t r10 __asm__("r10") = d;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return result;
}

static BARE void on_kick(int signal, siginfo_t *info, void *opaque) {
    vb_sw_vcpu *vcpu = vb_sw_current;
    ucontext_t *context = opaque;
    (void)signal;
    (void)info;
    if (!vcpu) return;
    uint64_t rip = (uint64_t)context->uc_mcontext.gregs[REG_RIP];
    vcpu->kick = 1;
    if (in_guest(vcpu, rip)) {
        take_thread_state(vcpu);
        leave(vcpu, context, VB_SW_EXIT_KICK);
    }
    if (rip >= (uint64_t)vb_sw_enter_begin && rip < (uint64_t)vb_sw_enter_end) {
        context->uc_mcontext.gregs[REG_RIP] = (greg_t)vb_sw_refuse;
    } else if (rip >= (uint64_t)vb_sw_stubs_begin && rip < (uint64_t)vb_sw_stubs_end) {
        // On its way from guest to guest by a trampoline of some ten instructions, with state in many places: let it
        // arrive and come again. No C library here: the host's FS base is not in place.
        static const struct itimerspec soon = {.it_value = {.tv_sec = 0, .tv_nsec = 3000}};
        bare_syscall4(SYS_timer_settime, (uint64_t)kick_timer, 0, (uint64_t)&soon, 0);
    }
}

void vb_sw_prepare(vb_sw_vcpu *vcpu) {
    vcpu->self = (uint64_t)vcpu;
    vcpu->exit_stub = (uint64_t)vb_sw_exit;
    vcpu->miss_stub = (uint64_t)vb_sw_indirect_miss;
    vcpu->user_miss_stub = (uint64_t)vb_sw_user_indirect_miss;
    vb_sw_allow_system_calls(vcpu, 0);
    vcpu->iret_stub = (uint64_t)vb_sw_iret;
    vcpu->in_stub = (uint64_t)vb_sw_in;
    for (int i = 0; i < VB_SW_STEADY_PORT_COUNT; i++) vcpu->steady_ports[i] = VB_SW_PORT_UNSTEADY;
}

void vb_sw_allow_system_calls(vb_sw_vcpu *vcpu, int allowed) {
    vcpu->syscall_stub = (uint64_t)(allowed ? vb_sw_syscall : vb_sw_syscall_refused);
    vcpu->sysret_stub = (uint64_t)(allowed ? vb_sw_sysret : vb_sw_sysret_refused);
}

int vb_sw_install(vb_sw_vcpu *vcpu, void *alternate_stack, size_t bytes) {
    uint64_t fs;
    __asm__ volatile("rdfsbase %0" : "=r"(fs));
    vcpu->host_fs = fs;
    vb_sw_current = vcpu;

    stack_t stack = {.ss_sp = alternate_stack, .ss_size = bytes};
    if (sigaltstack(&stack, NULL) != 0) return errno;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    action.sa_sigaction = on_trap;
    sigset_t used;
    sigemptyset(&used);
    for (int i = 0; i < TRAPS; i++) {
        // No signal is masked in a handler, since it never returns: a kick that interrupts it only leaves its mark.
        if (sigaction(trap_signals[i], &action, &previous[i]) != 0) return errno;
        sigaddset(&used, trap_signals[i]);
    }
    action.sa_sigaction = on_kick;
    // Interrupted system calls of the VMM go on, so that a kick never looks like an I/O error.
    action.sa_flags |= SA_RESTART;
    if (sigaction(SIGRTMIN, &action, NULL) != 0) return errno;
    // The thread may have been started with signals blocked (worker threads are); a blocked kick would never come.
    sigaddset(&used, SIGRTMIN);
    int blocked = pthread_sigmask(SIG_UNBLOCK, &used, NULL);
    if (blocked != 0) return blocked;

    // A halted guest sleeps as long as its timer says, not up to 50 µs longer. The thread keeps it: the jail allows no change.
    prctl(PR_SET_TIMERSLACK, 1);

    struct sigevent event;
    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGRTMIN;
    event._sigev_un._tid = (int)syscall(SYS_gettid);
    return syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &kick_timer) == 0 ? 0 : errno;
}

void vb_sw_uninstall(void) {
    syscall(SYS_timer_delete, kick_timer);
    for (int i = 0; i < TRAPS; i++) sigaction(trap_signals[i], &previous[i], NULL);
    stack_t none = {.ss_flags = SS_DISABLE};
    sigaltstack(&none, NULL);
    vb_sw_current = NULL;
}

int vb_sw_dispatch_user_calls(uint64_t begin, uint64_t bytes) {
    // SYSCALL_DISPATCH_FILTER_BLOCK for good: the allowed range alone decides.
    static char selector = 1;
    return prctl(PR_SET_SYSCALL_USER_DISPATCH, 1, begin, bytes, &selector) == 0 ? 0 : errno;
}

int vb_sw_release_user_calls(void) { return prctl(PR_SET_SYSCALL_USER_DISPATCH, 0, 0, 0, 0) == 0 ? 0 : errno; }

int vb_sw_fault_cpuid(int on) { return syscall(SYS_arch_prctl, ARCH_CPUID_CODE, on ? 0 : 1) == 0 ? 0 : errno; }

void vb_sw_arm_kick(uint64_t deadline_ns) {
    struct itimerspec when;
    memset(&when, 0, sizeof when);
    when.it_value.tv_sec = (time_t)(deadline_ns / 1000000000u);
    when.it_value.tv_nsec = (long)(deadline_ns % 1000000000u);
    syscall(SYS_timer_settime, kick_timer, TIMER_ABSTIME, &when, NULL);
}
