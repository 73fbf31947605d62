// What nanobenchmarks need beside the loops of Shared/nanobenchmarks.h: handlers for the exceptions and interrupts that they cause, and
// the loops that involve those (Sources/Nanobenchmarks.swift).

#define X2APIC_EOI 0x80B
#define XAPIC_EOI 0xB0

// Time stamp to RAX; changes RDX.
.macro TIME
    lfence
    rdtsc
    lfence
    shl $32, %rdx
    or %rdx, %rax
.endm

// Writes EAX to register `number` of the local APIC: MSR in x2APIC mode, memory otherwise. Changes RCX and RDX.
.macro APIC_WRITE number
    mov nano_apic_registers(%rip), %rdx
    test %rdx, %rdx
    jnz 8f
    mov $0x800 + \number, %ecx
    wrmsr
    jmp 9f
8:  mov %eax, 16 * \number(%rdx)
9:
.endm

.text

// ---- handlers -----------------------------------------------------------------------------------------------------
//
// They count and step over the instruction, whose length they know.

.globl nano_divide_error
.align 16
nano_divide_error:
    incq nano_count(%rip)
    addq $2, (%rsp)
    iretq

.globl nano_page_fault
.align 16
nano_page_fault:
    incq nano_count(%rip)
    addq $2, 8(%rsp)
    add $8, %rsp
    iretq

// #UD of a three-byte instruction, #GP of a two-byte one: of operations that are tried once.
.globl nano_undefined
.align 16
nano_undefined:
    incq nano_count(%rip)
    addq $3, (%rsp)
    iretq

.globl nano_protected
.align 16
nano_protected:
    incq nano_count(%rip)
    addq $2, 8(%rsp)
    add $8, %rsp
    iretq

// Interrupts: when the handler began, and how often.
.globl nano_interrupt
.align 16
nano_interrupt:
    push %rax
    push %rdx
    rdtsc
    shl $32, %rdx
    or %rdx, %rax
    mov %rax, nano_handler_time(%rip)
    push %rcx
    xor %eax, %eax
    APIC_WRITE 0x0B
    incq nano_count(%rip)
    pop %rcx
    pop %rdx
    pop %rax
    iretq

// ---- loops --------------------------------------------------------------------------------------------------------

// nano_cr3_working_set(iterations, CR3, address): a load from each of 64 pages after each load of CR3, each from another cache line.
// Returns cycles.
.globl nano_cr3_working_set
nano_cr3_working_set:
    mov %rdx, %r9
    TIME
    mov %rax, %r8
    .p2align 5
1:  mov %rsi, %cr3
    .set offset, 0
    .rept 64
    mov offset(%r9), %al
    .set offset, offset + 4096 + 64
    .endr
    dec %rdi
    jnz 1b
    TIME
    sub %r8, %rax
    ret

// nano_self_interrupts(iterations, command): writes the interrupt command register, and waits until the handler has returned, with
// interrupts open. Returns cycles, or 0 when an interrupt did not come.
.globl nano_self_interrupts
nano_self_interrupts:
    mov nano_count(%rip), %r9
    TIME
    mov %rax, %r8
    sti
    .p2align 5
1:  inc %r9
    mov $1 << 20, %r10d
    mov %esi, %eax
    mov nano_apic_registers(%rip), %rdx
    test %rdx, %rdx
    jnz 2f
    mov $0x830, %ecx
    wrmsr
    jmp 3f
2:  mov %eax, 0x300(%rdx)
3:  cmp %r9, nano_count(%rip)
    je 4f
    pause
    dec %r10d
    jnz 3b
    cli
    xor %eax, %eax
    ret
4:  dec %rdi
    jnz 1b
    cli
    TIME
    sub %r8, %rax
    ret

// nano_timer(lead, count, halts): starts the timer, and waits for its interrupt, in HLT or at work. The deadline is `lead` cycles
// from now, in TSC-deadline mode where `count` is 0; otherwise `count` is what the timer counts down in that time. Returns the cycles
// from the deadline to the handler, or -1 when the interrupt did not come (only at work: HLT has no patience).
.globl nano_timer
nano_timer:
    mov %rdi, %r8
    mov %rdx, %r10
    mov nano_count(%rip), %r9
    inc %r9
    TIME
    add %rax, %r8                       // the deadline
    test %rsi, %rsi
    jnz 1f
    mov %r8, %rax
    mov %r8, %rdx
    shr $32, %rdx
    mov $0x6E0, %ecx                    // IA32_TSC_DEADLINE
    wrmsr
    jmp 2f
1:  mov %esi, %eax
    APIC_WRITE 0x38
2:  test %r10, %r10
    jnz 5f
    sti
3:  cmp %r9, nano_count(%rip)
    je 4f
    rdtsc
    shl $32, %rdx
    or %rdx, %rax
    sub %r8, %rax
    bt $63, %rax
    jc 3b                               // not yet due
    shr $33, %rax
    jz 3b
    cli
    mov $-1, %rax
    ret
4:  cli
    jmp 6f
5:  sti
    hlt
    cli
    cmp %r9, nano_count(%rip)
    jne 5b
6:  mov nano_handler_time(%rip), %rax
    sub %r8, %rax
    jnc 7f
    xor %eax, %eax                      // early by the error of the conversion
7:  ret

// nano_context_switches(iterations, own CR3, other CR3, top of the other stack): sixteen switches an iteration, between this context and
// one that only switches back. Counts them. Returns cycles.
.globl nano_context_switches
nano_context_switches:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rdi, %rbx
    mov %rdx, %r13
    // What cpu_switch_context takes off the other stack: r15 r14 r13 r12 rbp rbx, return address.
    lea nano_other_context(%rip), %rax
    mov %rax, -8(%rcx)
    mov %rsi, -32(%rcx)                 // its R12
    sub $56, %rcx
    mov %rcx, nano_other_stack(%rip)
    TIME
    mov %rax, %r14
    .p2align 5
1:  .rept 8
    mov %r13, %cr3
    lea nano_own_stack(%rip), %rdi
    mov nano_other_stack(%rip), %rsi
    call cpu_switch_context
    .endr
    dec %rbx
    jnz 1b
    TIME
    sub %r14, %rax
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

nano_other_context:
    addq $2, nano_count(%rip)
    mov %r12, %cr3
    lea nano_other_stack(%rip), %rdi
    mov nano_own_stack(%rip), %rsi
    call cpu_switch_context
    jmp nano_other_context

.data
    .align 8
// Exceptions, interrupts or switches so far.
.globl nano_count
nano_count:
    .quad 0
.globl nano_handler_time
nano_handler_time:
    .quad 0
// The local APIC's registers, 0 in x2APIC mode.
.globl nano_apic_registers
nano_apic_registers:
    .quad 0
nano_own_stack:
    .quad 0
nano_other_stack:
    .quad 0
