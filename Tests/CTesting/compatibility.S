// Runs 32-bit code natively: loads its registers, jumps to it through Linux's 32-bit user code segment, takes its registers.
.text
.globl ctesting_run32
ctesting_run32:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rdi, state(%rip)
    mov %rsp, host_stack(%rip)
    mov %esi, target(%rip)
    // 64-bit code has null data segments; 0x2B is Linux's flat user data segment.
    mov $0x2B, %eax
    mov %eax, %ds
    mov %eax, %es
    mov 32(%rdi), %eax
    push %rax
    popfq
    mov 0(%rdi), %eax
    mov 4(%rdi), %ecx
    mov 8(%rdi), %edx
    mov 12(%rdi), %ebx
    mov 16(%rdi), %esp
    mov 20(%rdi), %ebp
    mov 24(%rdi), %esi
    mov 28(%rdi), %edi
    ljmpl *target(%rip)

.globl ctesting_run32_back
ctesting_run32_back:
    mov %esp, guest_stack(%rip)
    mov host_stack(%rip), %rsp
    pushfq
    cld
    push %rdi
    mov state(%rip), %rdi
    mov %eax, 0(%rdi)
    mov %ecx, 4(%rdi)
    mov %edx, 8(%rdi)
    mov %ebx, 12(%rdi)
    mov guest_stack(%rip), %eax
    mov %eax, 16(%rdi)
    mov %ebp, 20(%rdi)
    mov %esi, 24(%rdi)
    pop %rax
    mov %eax, 28(%rdi)
    pop %rax
    mov %eax, 32(%rdi)
    mov %r14d, 36(%rdi)
    xor %eax, %eax
    mov %eax, %ds
    mov %eax, %es
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

.data
    .align 8
state:
    .quad 0
host_stack:
    .quad 0
guest_stack:
    .quad 0
target:
    .long 0
    .word 0x23          // Linux's 32-bit user code segment

.section .note.GNU-stack, "", @progbits
