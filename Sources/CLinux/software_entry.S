// Entry to and exit from the guest of the software VMM. See CLinuxSoftwareVCPU.h.
#include "CLinuxSoftwareVCPU.h"

    .text

// All but RSP and RDI, which holds the vCPU.
.macro LOAD_REGISTERS
    mov VB_SW_GPR+0(%rdi), %rax
    mov VB_SW_GPR+8(%rdi), %rcx
    mov VB_SW_GPR+16(%rdi), %rdx
    mov VB_SW_GPR+24(%rdi), %rbx
    mov VB_SW_GPR+40(%rdi), %rbp
    mov VB_SW_GPR+48(%rdi), %rsi
    mov VB_SW_GPR+64(%rdi), %r8
    mov VB_SW_GPR+72(%rdi), %r9
    mov VB_SW_GPR+80(%rdi), %r10
    mov VB_SW_GPR+88(%rdi), %r11
    mov VB_SW_GPR+96(%rdi), %r12
    mov VB_SW_GPR+104(%rdi), %r13
    mov VB_SW_GPR+112(%rdi), %r14
    mov VB_SW_GPR+120(%rdi), %r15
.endm

// uint64_t vb_sw_enter(vb_sw_vcpu *vcpu)
    .globl vb_sw_enter
    .type vb_sw_enter, @function
vb_sw_enter:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, VB_SW_HOST_RSP(%rdi)
// From this check to the jump, a kick abandons the entry (the handler sends us to vb_sw_refuse): the vCPU structure is
// only read here, so nothing is lost, and no kick can slip in between check and guest.
    .globl vb_sw_enter_begin
vb_sw_enter_begin:
    cmpq $0, VB_SW_KICK(%rdi)
    jne vb_sw_refuse_known
    mov VB_SW_RESUME(%rdi), %rax
    mov %rax, vb_sw_resume_address(%rip)
    mov VB_SW_XSAVE(%rdi), %rcx
    mov VB_SW_XCR0(%rdi), %eax
    mov VB_SW_XCR0+4(%rdi), %edx
    xrstor64 (%rcx)
    mov VB_SW_ENTER_FS(%rdi), %rax
    wrfsbase %rax
    mov VB_SW_ENTER_GS(%rdi), %rax
    wrgsbase %rax
    testl $VB_SW_RFLAGS_TF, VB_SW_RFLAGS(%rdi)
    jnz enter_stepping
    pushq VB_SW_RFLAGS(%rdi)
    popfq
    LOAD_REGISTERS
    mov VB_SW_GPR+32(%rdi), %rsp
    mov VB_SW_GPR+56(%rdi), %rdi
    jmp *vb_sw_resume_address(%rip)

// With RFLAGS.TF the guest must be entered by the very instruction that loads the flags, or the trap comes here: IRET.
enter_stepping:
    mov %ss, %eax
    push %rax
    pushq VB_SW_GPR+32(%rdi)
    pushq VB_SW_RFLAGS(%rdi)
    mov %cs, %eax
    push %rax
    pushq VB_SW_RESUME(%rdi)
    LOAD_REGISTERS
    mov VB_SW_GPR+56(%rdi), %rdi
    iretq
    .globl vb_sw_enter_end
vb_sw_enter_end:

// A kick came before the guest ran: return as a kick. What the structure holds is still the guest's state.
    .globl vb_sw_refuse
vb_sw_refuse:
    mov vb_sw_current(%rip), %rdi
vb_sw_refuse_known:
    movq $0, VB_SW_FRESH(%rdi)
    movq $VB_SW_EXIT_KICK, VB_SW_EXIT_KIND(%rdi)
    jmp vb_sw_return

// ---- trampolines ----------------------------------------------------------------------------------------------------
//
// From translated code to translated code (or ring 3 run directly) without the VMM. They use the VMM's stack for flags only and
// touch vCPU state alone, so none can fault. What they do not handle they leave to the VMM with the guest's state as it was.
// A kick that strikes in here comes again a little later (on_kick).

#define SPILL(register) VB_SW_SPILL + 8 * register
#define RAX 0
#define RCX 1
#define RDX 2
#define RSP 4
// Flags that live in the CPU while the guest runs: arithmetic, DF, ID.
#define LIVE_FLAGS 0x200CD5
// What else a return to ring 3 may set: bit 1, IF (virtual), RF (without effect). In the negative, as an imm32.
#define OTHER_FLAGS -0x210ED8

    .globl vb_sw_stubs_begin
vb_sw_stubs_begin:

.macro TO_HOST_STACK
    mov %rsp, %gs:SPILL(RSP)
    mov %gs:VB_SW_HOST_RSP, %rsp
    pushfq
.endm

.macro FROM_HOST_STACK
    popfq
    mov %gs:SPILL(RSP), %rsp
.endm

// An indirect branch found no block in the table: RCX = target, RCX and RDX in their spill slots. Tries the table behind it.
.macro INDIRECT_MISS table, second
    TO_HOST_STACK
    mov %rcx, %gs:VB_SW_TARGET
    movabs $VB_SW_HASH, %rdx
    imul %rcx, %rdx
    shr $VB_SW_SECOND_SHIFT, %rdx
    shl $4, %rdx
    cmp %rcx, %gs:\second(%rdx)
    jne vb_sw_indirect_exit
    mov %gs:\second+8(%rdx), %rdx
    test %rdx, %rdx
    jz vb_sw_indirect_exit
    movzwl %cx, %ecx
    mov %rdx, %gs:\table(, %rcx, 8)
    mov %gs:VB_SW_TARGET, %rcx
    FROM_HOST_STACK
    jmp *%rdx
.endm

    .globl vb_sw_indirect_miss
vb_sw_indirect_miss:
    INDIRECT_MISS VB_SW_TABLE, VB_SW_SECOND_TABLE

    .globl vb_sw_user_indirect_miss
vb_sw_user_indirect_miss:
    INDIRECT_MISS VB_SW_USER_TABLE, VB_SW_USER_SECOND_TABLE

vb_sw_indirect_exit:
    FROM_HOST_STACK
    mov %gs:SPILL(RCX), %rcx
    mov %gs:SPILL(RDX), %rdx
    movq $VB_SW_EXIT_INDIRECT, %gs:VB_SW_EXIT_KIND
    jmp vb_sw_exit

// SYSCALL in translated ring 3 (SDM vol. 2): VB_SW_RIP is the address behind the instruction.
    .globl vb_sw_syscall
vb_sw_syscall:
    TO_HOST_STACK
    mov %rcx, %gs:SPILL(RCX)
    cmpq $0, %gs:VB_SW_KEPT_FLAGS
    jne vb_sw_syscall_slow
    mov %rdx, %gs:SPILL(RDX)
    mov (%rsp), %r11
    and $LIVE_FLAGS, %r11
    mov %gs:VB_SW_VIF, %rcx
    shl $9, %rcx
    lea 2(%r11, %rcx), %r11
    mov %gs:VB_SW_FMASK, %rcx
    not %rcx
    and %r11, %rcx
    mov %ecx, %edx
    shr $9, %edx
    and $1, %edx
    mov %rdx, %gs:VB_SW_VIF
    or $0x202, %rcx
    mov %rcx, (%rsp)
    movq $0, %gs:VB_SW_CPL
    mov %gs:VB_SW_SYSCALL_CS, %rcx
    mov %gs:VB_SW_SYSCALL_SS, %rdx
    mov %rcx, %gs:VB_SW_CS
    mov %rdx, %gs:VB_SW_SS
    incq %gs:VB_SW_INLINE_SYSCALLS
    mov %gs:VB_SW_WINDOW, %rdx
    wrfsbase %rdx
    mov %gs:VB_SW_RIP, %rdx
    mov %rdx, %gs:SPILL(RCX)
    mov %gs:VB_SW_LSTAR, %rcx
    movzwl %cx, %edx
    FROM_HOST_STACK
    jmp *%gs:VB_SW_TABLE(, %rdx, 8)

// The same while EFER.SCE is clear.
    .globl vb_sw_syscall_refused
vb_sw_syscall_refused:
    TO_HOST_STACK
    mov %rcx, %gs:SPILL(RCX)

vb_sw_syscall_slow:
    subq $2, %gs:VB_SW_RIP
    FROM_HOST_STACK
    mov %gs:SPILL(RCX), %rcx
    movq $VB_SW_EXIT_EMULATE, %gs:VB_SW_EXIT_KIND
    jmp vb_sw_exit

// SYSRETQ in ring 0 (SDM vol. 2).
    .globl vb_sw_sysret
vb_sw_sysret:
    TO_HOST_STACK
    mov %rcx, %gs:SPILL(RCX)
    mov %rdx, %gs:SPILL(RDX)
    cmp %gs:VB_SW_USER_END, %rcx
    jae vb_sw_return_slow
    test $OTHER_FLAGS, %r11
    jnz vb_sw_return_slow
    mov %gs:VB_SW_SYSRET_CS, %rdx
    mov %rdx, %gs:VB_SW_CS
    mov %gs:VB_SW_SYSRET_SS, %rdx
    mov %rdx, %gs:VB_SW_SS
    mov %r11, %rdx

// To ring 3: RCX = RIP, RDX = RFLAGS; the guest's RCX, RDX and RSP are in their spill slots, flags on top of the stack.
vb_sw_to_user:
    mov %rdx, (%rsp)
    shr $9, %edx
    and $1, %edx
    mov %rdx, %gs:VB_SW_VIF
    andq $LIVE_FLAGS, (%rsp)
    orq $0x202, (%rsp)
    movq $3, %gs:VB_SW_CPL
    movq $0, %gs:VB_SW_KEPT_FLAGS
    cmpq $0, %gs:VB_SW_ATTENTION
    jne 2f
    incq %gs:VB_SW_INLINE_RETURNS
    mov %gs:VB_SW_GUEST_FS, %rdx
    wrfsbase %rdx
    cmpq $0, %gs:VB_SW_TRANSLATE_USER
    je 1f
    movzwl %cx, %edx
    FROM_HOST_STACK
    jmp *%gs:VB_SW_USER_TABLE(, %rdx, 8)
1:  movq $1, %gs:VB_SW_DIRECT
    mov %rcx, vb_sw_resume_address(%rip)
    mov %gs:SPILL(RCX), %rcx
    mov %rcx, vb_sw_resume_rcx(%rip)
    mov %gs:SPILL(RDX), %rdx
    FROM_HOST_STACK
    mov %gs:VB_SW_GUEST_GS, %rcx
    wrgsbase %rcx
    mov vb_sw_resume_rcx(%rip), %rcx
    jmp *vb_sw_resume_address(%rip)
2:  mov %rcx, %gs:VB_SW_TARGET
    mov %gs:SPILL(RCX), %rcx
    mov %gs:SPILL(RDX), %rdx
    FROM_HOST_STACK
    movq $VB_SW_EXIT_TO_USER, %gs:VB_SW_EXIT_KIND
    jmp vb_sw_exit

// IRETQ in ring 0 to ring 3 (SDM vol. 2; descriptors: vol. 3, 3.4.5): the frame and the descriptor of CS are in VB_SW_FRAME.
    .globl vb_sw_iret
vb_sw_iret:
    TO_HOST_STACK
    mov %rcx, %gs:SPILL(RCX)
    mov %rdx, %gs:SPILL(RDX)
    // CS: RPL 3, in the global table and its limit, not null.
    mov %gs:VB_SW_FRAME+8, %rcx
    movzwl %cx, %ecx
    lea -3(%rcx), %edx
    test $7, %dl
    jnz vb_sw_return_slow
    test %edx, %edx
    jz vb_sw_return_slow
    lea 4(%rcx), %rdx
    cmp %gs:VB_SW_GDT_LIMIT, %rdx
    ja vb_sw_return_slow
    // Its descriptor: present, DPL 3, code, not conforming, 64-bit.
    mov %gs:VB_SW_FRAME+40, %rdx
    shr $40, %rdx
    and $0x60FC, %edx
    cmp $0x20F8, %edx
    jne vb_sw_return_slow
    mov %gs:VB_SW_FRAME+32, %rdx
    and $3, %edx
    cmp $3, %edx
    jne vb_sw_return_slow
    testq $OTHER_FLAGS, %gs:VB_SW_FRAME+16
    jnz vb_sw_return_slow
    mov %gs:VB_SW_FRAME, %rdx
    cmp %gs:VB_SW_USER_END, %rdx
    jae vb_sw_return_slow
    mov %rcx, %gs:VB_SW_CS
    movzwl %gs:VB_SW_FRAME+32, %ecx
    mov %rcx, %gs:VB_SW_SS
    mov %gs:VB_SW_FRAME+24, %rcx
    mov %rcx, %gs:SPILL(RSP)
    mov %rdx, %rcx
    mov %gs:VB_SW_FRAME+16, %rdx
    jmp vb_sw_to_user

// SYSRETQ while EFER.SCE is clear.
    .globl vb_sw_sysret_refused
vb_sw_sysret_refused:
    TO_HOST_STACK
    mov %rcx, %gs:SPILL(RCX)
    mov %rdx, %gs:SPILL(RDX)

vb_sw_return_slow:
    FROM_HOST_STACK
    mov %gs:SPILL(RCX), %rcx
    mov %gs:SPILL(RDX), %rdx
    movq $VB_SW_EXIT_EMULATE, %gs:VB_SW_EXIT_KIND
    jmp vb_sw_exit

// IN AL, DX in ring 0 from a port whose value does not change behind the guest's back: RCX = where to go on, the guest's RCX in its
// spill slot. An exit like any other, so it is counted and timed.
    .globl vb_sw_in
vb_sw_in:
    TO_HOST_STACK
    mov %rcx, %gs:VB_SW_TARGET
    mov %rax, %gs:SPILL(RAX)
    mov %rdx, %gs:SPILL(RDX)
    rdtsc
    mov %eax, %ecx
    movzwl %gs:SPILL(RDX), %edx
    cmp $VB_SW_STEADY_PORT_COUNT, %edx
    jae vb_sw_in_slow
    movzwl %gs:VB_SW_STEADY_PORTS(, %rdx, 2), %edx
    cmp $VB_SW_PORT_UNSTEADY, %edx
    je vb_sw_in_slow
    cmpq $VB_SW_PORT_LOG_ENTRIES - 1, %gs:VB_SW_PORT_READS
    jae vb_sw_in_slow
    mov %dl, %gs:SPILL(RAX)
    rdtsc
    sub %ecx, %eax
    mov %gs:VB_SW_PORT_READS, %rdx
    mov %eax, %gs:VB_SW_PORT_LOG(, %rdx, 4)
    incq %gs:VB_SW_PORT_READS
    mov %gs:SPILL(RAX), %rax
    mov %gs:SPILL(RDX), %rdx
    FROM_HOST_STACK
    jmp *%gs:VB_SW_TARGET

vb_sw_in_slow:
    mov %gs:SPILL(RAX), %rax
    mov %gs:SPILL(RDX), %rdx
    mov %gs:SPILL(RCX), %rcx
    FROM_HOST_STACK
    movq $VB_SW_EXIT_EMULATE, %gs:VB_SW_EXIT_KIND
    jmp vb_sw_exit

    .globl vb_sw_stubs_end
vb_sw_stubs_end:

// Translated code leaves the guest: every register is the guest's, GS is the vCPU.
    .globl vb_sw_exit
vb_sw_exit:
    mov %rax, %gs:VB_SW_GPR+0
    mov %rcx, %gs:VB_SW_GPR+8
    mov %rdx, %gs:VB_SW_GPR+16
    mov %rbx, %gs:VB_SW_GPR+24
    mov %rsp, %gs:VB_SW_GPR+32
    mov %rbp, %gs:VB_SW_GPR+40
    mov %rsi, %gs:VB_SW_GPR+48
    mov %rdi, %gs:VB_SW_GPR+56
    mov %r8, %gs:VB_SW_GPR+64
    mov %r9, %gs:VB_SW_GPR+72
    mov %r10, %gs:VB_SW_GPR+80
    mov %r11, %gs:VB_SW_GPR+88
    mov %r12, %gs:VB_SW_GPR+96
    mov %r13, %gs:VB_SW_GPR+104
    mov %r14, %gs:VB_SW_GPR+112
    mov %r15, %gs:VB_SW_GPR+120
    mov %gs:VB_SW_HOST_RSP, %rsp
    pushfq
    popq %gs:VB_SW_RFLAGS
    mov %gs:VB_SW_SELF, %rdi
    mov VB_SW_XSAVE(%rdi), %rcx
    mov VB_SW_XCR0(%rdi), %eax
    mov VB_SW_XCR0+4(%rdi), %edx
    xsaveopt64 (%rcx)

// RDI = vCPU. Back on the stack and with the thread state that vb_sw_enter was called with.
vb_sw_return:
    mov VB_SW_HOST_FS(%rdi), %rax
    wrfsbase %rax
    xor %eax, %eax
    wrgsbase %rax
    mov VB_SW_HOST_RSP(%rdi), %rsp
    pushq $0x202
    popfq
    fninit
    ldmxcsr vb_sw_default_mxcsr(%rip)
    mov VB_SW_EXIT_KIND(%rdi), %rax
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

// void vb_sw_leave_handler(vb_sw_vcpu *vcpu): from a signal handler, after it has saved the guest's state.
    .globl vb_sw_leave_handler
vb_sw_leave_handler:
    jmp vb_sw_return

    .section .rodata
    .balign 4
vb_sw_default_mxcsr:
    .long 0x1F80

    .bss
    .balign 64
vb_sw_resume_address:
    .quad 0
vb_sw_resume_rcx:
    .quad 0
    .globl vb_sw_current
    .hidden vb_sw_current
vb_sw_current:
    .quad 0

    .section .note.GNU-stack, "", @progbits
