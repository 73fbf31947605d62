// The ways into ring 0 and out of it.
//
// Ring 0 runs with interrupts off; only the idle wait opens them. gs and fs belong to the user, so per-CPU data is
// addressed RIP-relative (one CPU). The stack after every entry is a struct TrapFrame (CPU.h), as deep as needed.
// Faults in ring 0 happen in memory.S (user memory) only; anything else is a panic.

#define USER_SS 0x2B
#define USER_CS 0x33
#define TSS_RSP0 cpu_tss + 4
#define SYSTEM_CALLS 512
// What a ring-3 stub puts in RAX (FPUState.swift).
#define STUB_DONE 0x4E75B000

.macro PUSH_CALLER_SAVED
    push %rax
    push %rcx
    push %r11
    push %rdi
    push %rsi
    push %rdx
    push %r10
    push %r8
    push %r9
.endm

.macro POP_CALLER_SAVED
    pop %r9
    pop %r8
    pop %r10
    pop %rdx
    pop %rsi
    pop %rdi
    pop %r11
    pop %rcx
    pop %rax
.endm

.macro PUSH_CALLEE_SAVED
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
.endm

.macro POP_CALLEE_SAVED
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
.endm

.text

// ---- system calls -------------------------------------------------------------------------------------------------
//
// RAX number, arguments RDI RSI RDX R10 R8 R9, RCX return address, R11 flags. All but RAX, RCX, R11 are preserved:
// the callee-saved ones by the compiler, the arguments here.
.macro SYSTEM_CALL_ENTRY
    mov %rsp, cpu_block(%rip)
    mov TSS_RSP0(%rip), %rsp
    push $USER_SS
    push cpu_block(%rip)
    push %r11
    push $USER_CS
    push %rcx
    push %rax                           // errorCode: the number, for a restart after a signal
    SYSTEM_CALL_DISPATCH
.endm

.macro SYSTEM_CALL_DISPATCH
    sub $32, %rsp                       // vector, rax, rcx, r11
    push %rdi
    push %rsi
    push %rdx
    push %r10
    push %r8
    push %r9
    incq cpu_block + 8(%rip)
    mov %r10, %rcx
    cmp $SYSTEM_CALLS, %rax
    jae system_call_out_of_range
    call *system_call_table(, %rax, 8)
.endm

.macro POP_ARGUMENTS
    pop %r9
    pop %r8
    pop %r10
    pop %rdx
    pop %rsi
    pop %rdi
    add $40, %rsp
.endm

.globl system_call_entry_iret
.align 16
system_call_entry_iret:
    SYSTEM_CALL_ENTRY
system_call_exit:
    cmpl $0, cpu_block + 24(%rip)
    jne system_call_work
    POP_ARGUMENTS
    iretq

.globl system_call_entry_sysret
.align 16
system_call_entry_sysret:
    SYSTEM_CALL_ENTRY
    cmpl $0, cpu_block + 24(%rip)
    jne system_call_work
    POP_ARGUMENTS
    pop %rcx
    add $8, %rsp
    pop %r11
    pop %rsp
    sysretq

// Something is to be done before ring 3 goes on (a signal): complete the frame and hand it over.
system_call_work:
    mov %rax, 64(%rsp)
    mov 88(%rsp), %rcx
    mov %rcx, 56(%rsp)                  // rcx = rip, r11 = rflags, as syscall leaves them
    mov 104(%rsp), %rcx
    mov %rcx, 48(%rsp)
    PUSH_CALLEE_SAVED
    mov %rsp, %rdi
    mov $1, %esi
    call returnWork
    jmp new_process_entry

system_call_out_of_range:
    cmp $STUB_DONE, %rax
    jne 1f
    cmpq $0, cpu_block + 16(%rip)
    je 1f
    mov cpu_block + 16(%rip), %rsp
    movq $0, cpu_block + 16(%rip)
    pop TSS_RSP0(%rip)
    POP_CALLEE_SAVED
    ret
1:  mov %rax, %rdi
    call systemCallUnknown
    jmp system_call_exit

// Table entry of every number that Nub does not implement.
.globl system_call_unimplemented
system_call_unimplemented:
    mov %rax, %rdi
    jmp systemCallUnknown

// Calls that need all registers of the user: complete the frame, pass it, leave by the iret path.
.macro FULL_FRAME_CALL name, function
.globl \name
\name:
    pop %rax                            // return address of the table call
    PUSH_CALLEE_SAVED
    mov %rsp, %rdi
    call \function
    add $48, %rsp
    jmp system_call_exit
.endm

FULL_FRAME_CALL system_call_fork, systemCallFork
FULL_FRAME_CALL system_call_vfork, systemCallVfork
FULL_FRAME_CALL system_call_clone, systemCallClone
FULL_FRAME_CALL system_call_clone3, systemCallClone3
FULL_FRAME_CALL system_call_execve, systemCallExecve

// rt_sigreturn replaces the whole frame.
.globl system_call_sigreturn
system_call_sigreturn:
    pop %rax
    PUSH_CALLEE_SAVED
    mov %rsp, %rdi
    call systemCallSigreturn
    jmp new_process_entry

// First instructions of a forked process, on its new kernel stack; also how a frame is left for ring 3.
.globl new_process_entry
new_process_entry:
    POP_CALLEE_SAVED
    POP_CALLER_SAVED
    add $16, %rsp
    iretq

.globl cpu_enter_user
cpu_enter_user:
    mov %rdi, %rsp
    jmp new_process_entry

// ---- exceptions and interrupts ------------------------------------------------------------------------------------

.macro TRAP vector
trap_\vector:
    push $0
    push $\vector
    jmp trap_common
.endm

.macro TRAP_WITH_CODE vector
trap_\vector:
    push $\vector
    jmp trap_common
.endm

TRAP 0
TRAP 1
TRAP 2
TRAP 3
TRAP 4
TRAP 5
TRAP 6
TRAP 7
TRAP_WITH_CODE 8
TRAP 9
TRAP_WITH_CODE 10
TRAP_WITH_CODE 11
TRAP_WITH_CODE 12
TRAP_WITH_CODE 13
TRAP 15
TRAP 16
TRAP_WITH_CODE 17
TRAP 18
TRAP 19
TRAP 20
TRAP_WITH_CODE 21
TRAP 22
TRAP 23
TRAP 24
TRAP 25
TRAP 26
TRAP 27
TRAP 28
TRAP_WITH_CODE 29
TRAP_WITH_CODE 30
TRAP 31
TRAP 33

.align 16
trap_14:
    push $14
    PUSH_CALLER_SAVED
    cld
    mov %cr2, %rdi
    mov 80(%rsp), %rsi
    call pageFault
    test %eax, %eax
    jnz trap_complete_frame
trap_return:
    POP_CALLER_SAVED
    add $16, %rsp
    iretq

// Where `syscall` keeps ring 3 (BootQuirks.syscallKeepsRing3, which goes with noSysret), the fetch
// at the entry point then faults in ring 3. This gate for #PF takes that fault for the system call it is. A program
// that jumps there itself has made a system call; what it put in RCX and R11 is checked, as iretq would fault on it.
.globl trap_14_or_system_call
.align 16
trap_14_or_system_call:
    cmpq $system_call_entry_iret, 8(%rsp)
    jne trap_14
    push %rcx
    shr $43, %rcx                       // beyond user space?
    pop %rcx
    jnz trap_14
    and $0x240DD5, %r11d                // CF PF AF ZF SF TF DF OF AC ID
    or $0x202, %r11d
    mov %rcx, 8(%rsp)
    mov %r11, 24(%rsp)
    mov %rax, (%rsp)
    cld
    SYSTEM_CALL_DISPATCH
    jmp system_call_exit

.align 16
trap_32:
    push $0
    push $32
    PUSH_CALLER_SAVED
    cld
    mov 96(%rsp), %rdi
    and $3, %edi
    call timerInterrupt
trap_return_to_user:
    cmpl $0, cpu_block + 24(%rip)
    je trap_return
    testl $3, 96(%rsp)
    jz trap_return
    PUSH_CALLEE_SAVED
    mov %rsp, %rdi
    xor %esi, %esi
    call returnWork
    jmp new_process_entry

trap_common:
    PUSH_CALLER_SAVED
    cld
trap_complete_frame:
    PUSH_CALLEE_SAVED
    mov %rsp, %rdi
    call exception
    POP_CALLEE_SAVED
    jmp trap_return_to_user

// The local APIC asks for no end-of-interrupt here.
.globl spurious_interrupt
spurious_interrupt:
    iretq

// ---- switching ----------------------------------------------------------------------------------------------------

.globl cpu_switch_context
cpu_switch_context:
    PUSH_CALLEE_SAVED
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    POP_CALLEE_SAVED
    ret

// Interrupts are recognized from the hlt on, never between sti and hlt.
.globl cpu_idle_until_interrupt
cpu_idle_until_interrupt:
    sti
    hlt
    cli
    ret

.globl cpu_stop
cpu_stop:
    cli
    hlt
    jmp cpu_stop

// cpu_run_user_stub(rip, area, mask): to ring 3 with interrupts off; back through system_call_out_of_range.
.globl cpu_run_user_stub
cpu_run_user_stub:
    PUSH_CALLEE_SAVED
    push TSS_RSP0(%rip)
    mov %rsp, cpu_block + 16(%rip)
    mov %rsp, TSS_RSP0(%rip)            // the frame of the process at the top of this stack must survive
    mov %rdx, %rax
    shr $32, %rdx
    mov %rdi, %rcx
    mov %rsi, %rdi
    push $USER_SS
    push $0
    push $2
    push $USER_CS
    push %rcx
    iretq

.section .rodata
    .align 8
.globl trap_entries
trap_entries:
    .quad trap_0, trap_1, trap_2, trap_3, trap_4, trap_5, trap_6, trap_7
    .quad trap_8, trap_9, trap_10, trap_11, trap_12, trap_13, trap_14, trap_15
    .quad trap_16, trap_17, trap_18, trap_19, trap_20, trap_21, trap_22, trap_23
    .quad trap_24, trap_25, trap_26, trap_27, trap_28, trap_29, trap_30, trap_31
    .quad trap_32, trap_33

// Mapped for ring 3 where XSAVE does not work in ring 0 (FPUState.swift). Page-aligned, nothing else in the page.
    .align 4096
.globl user_stub_page
user_stub_page:
    xsave64 (%rdi)
    mov $STUB_DONE, %eax
    syscall
.globl user_stub_restore
user_stub_restore:
    xrstor64 (%rdi)
    mov $STUB_DONE, %eax
    syscall
    .align 4096
