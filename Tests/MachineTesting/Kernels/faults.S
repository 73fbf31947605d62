// Handlers, and faulting instructions with a known way on.
.text
.code32

// A fault handler that skips the faulting instruction: the address to go on at is in fault_resume.
.macro fault vector, has_error
fault_\vector:
    .if \has_error
    popl fault_error
    .else
    movl $0, fault_error
    .endif
    movl $\vector, fault_vector
    jmp fault_common
.endm
    fault 0, 0
    fault 6, 0
    fault 11, 1
    fault 12, 1
    fault 13, 1
    fault 14, 1

fault_common:
    push %eax
    mov %cr2, %eax
    mov %eax, fault_address
    incl faults_seen
    mov fault_resume, %eax
    mov %eax, 4(%esp)
    pop %eax
    iret

.globl install_idt
install_idt:
    push %ebx
    .irp vector, 0, 6, 11, 12, 13, 14
    mov $fault_\vector, %eax
    mov %ax, idt + \vector * 8
    movw $8, idt + \vector * 8 + 2
    movw $0x8E00, idt + \vector * 8 + 4
    shr $16, %eax
    mov %ax, idt + \vector * 8 + 6
    .endr
    lidt idt_pointer
    pop %ebx
    ret

.globl try_load
try_load:
    movl $1f, fault_resume
    mov 4(%esp), %ecx
    mov (%ecx), %eax
1:  ret

.globl try_divide
try_divide:
    movl $1f, fault_resume
    mov 4(%esp), %eax
    xor %edx, %edx
    divl 8(%esp)
1:  ret

.globl try_segment
try_segment:
    movl $1f, fault_resume
    mov 4(%esp), %eax
    mov %eax, %es
1:  ret

.globl segment_load
segment_load:
    movl $1f, fault_resume
    push %es
    mov 8(%esp), %eax
    mov %eax, %es
    mov 12(%esp), %ecx
    xor %eax, %eax
    mov %es:(%ecx), %eax
1:  pop %es
    ret

.globl segment_store
segment_store:
    movl $1f, fault_resume
    push %es
    mov 8(%esp), %eax
    mov %eax, %es
    mov 12(%esp), %ecx
    movl $0x77, %es:(%ecx)
1:  pop %es
    ret


.data
    .align 8
.globl idt_pointer
idt_pointer:
    .word 32 * 8 - 1
    .long idt
.globl faults_seen, fault_vector, fault_error, fault_address
faults_seen:
    .long 0
fault_vector:
    .long 0
fault_error:
    .long 0
fault_address:
    .long 0
fault_resume:
    .long 0

.bss
    .align 8
idt:
    .skip 32 * 8
