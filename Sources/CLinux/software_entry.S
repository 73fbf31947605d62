// Entry to and exit from the guest of the software VMM. See CLinuxSoftwareVCPU.h.
#include "CLinuxSoftwareVCPU.h"

    .text

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

// An indirect branch found no block in the table. RCX and RDX are in their spill slots.
    .globl vb_sw_indirect_miss
vb_sw_indirect_miss:
    mov %gs:VB_SW_SPILL+8, %rcx
    mov %gs:VB_SW_SPILL+16, %rdx
    movq $VB_SW_EXIT_INDIRECT, %gs:VB_SW_EXIT_KIND

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
    xsave64 (%rcx)

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
    .globl vb_sw_current
    .hidden vb_sw_current
vb_sw_current:
    .quad 0

    .section .note.GNU-stack, "", @progbits
