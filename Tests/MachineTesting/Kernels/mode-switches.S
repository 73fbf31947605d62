// Ways through long mode and real mode and back.
.text
.code32

// Prints the character in AL; changes DX.
.macro character value
    mov $0x3F8, %dx
    mov $\value, %al
    out %al, %dx
.endm

.globl through_long_mode
through_long_mode:
    push %ebx
    push %esi
    push %edi
    push %ebp
    mov $0x20, %eax
    mov %eax, %cr4
    mov $long_root, %eax
    mov %eax, %cr3
    mov $0xC0000080, %ecx
    rdmsr
    or $0x100, %eax
    wrmsr
    mov %cr0, %eax
    or $0x80000000, %eax
    mov %eax, %cr0
    // Compatibility mode from here on: the code segment is still a 32-bit one.
    mov $0xC0000080, %ecx
    rdmsr
    and $0x500, %eax
    mov %eax, %ebx                      // LMA, LME
    character 'c'
    // A fault in compatibility mode goes through a 64-bit gate and back.
    mov $long_fault, %eax
    mov %ax, long_idt
    movw $0x18, long_idt + 2
    movw $0x8E00, long_idt + 4
    shr $16, %eax
    mov %ax, long_idt + 6
    lidt long_idt_pointer
    xor %edx, %edx
    xor %ecx, %ecx
    mov $1, %eax
    div %ecx
compatibility_resume:
    character 'C'
    ljmp $0x18, $1f
.code64
1:  character '6'
    mov $0x1122334455667788, %r8
    mov %r8, %rax
    shr $32, %rax
    add %eax, %ebx                      // 0x11223844
    sub $0x500, %ebx
    // Out and in again, by far return, call and jump.
    push $8
    lea 2f(%rip), %rax
    push %rax
    lretq
.code32
2:  character 'r'
    lcall $0x18, $3f
    character 'j'
    ljmp *long_pointer
3:
.code64
    character '4'
    // A far return to 32-bit code: EIP and CS as the 32-bit call pushed them.
    lretl
4:  character '!'
    mov $0x3F8, %dx
    mov $10, %al
    out %al, %dx
    ljmpl *back_pointer(%rip)
.code32
5:  mov %cr0, %eax
    and $0x7FFFFFFF, %eax
    mov %eax, %cr0
    mov $0xC0000080, %ecx
    rdmsr
    and $~0x100, %eax
    wrmsr
    rdmsr
    and $0x500, %eax
    add %eax, %ebx
    lidt idt_pointer
    mov %ebx, %eax
    pop %ebp
    pop %edi
    pop %esi
    pop %ebx
    ret

.code64
long_fault:
    push %rax
    push %rdx
    character 'F'
    pop %rdx
    lea compatibility_resume(%rip), %rax
    mov %rax, 8(%rsp)
    pop %rax
    iretq

.data
long_pointer:
    .long 4b
    .word 0x18
back_pointer:
    .long 5b
    .word 8
.text
.code32

// Real mode's code is copied below 1 MiB; it prints by INT 0x40 and comes back.
.globl through_real_mode
through_real_mode:
    push %ebx
    push %esi
    push %edi
    push %ebp
    mov $real_start, %esi
    mov $0x30000, %edi
    mov $real_end - real_start, %ecx
    rep movsb
    mov %esp, saved_stack
    sidt saved_idt
    ljmp $0x20, $0
protected_back:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov %eax, %ss
    mov saved_stack, %esp
    lidt saved_idt
    movzx %bx, %eax
    pop %ebp
    pop %edi
    pop %esi
    pop %ebx
    ret

.code16
real_start:
    // 16-bit protected mode: segments with real mode's limits, which stay.
    mov $0x28, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %fs
    mov %ax, %gs
    mov %ax, %ss
    mov $0x7000, %sp
    character 'p'
    mov %cr0, %eax
    and $~1, %eax
    mov %eax, %cr0
    ljmp $0x3000, $1f - real_start
1:  xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0x7000, %sp
    movw $real_handler - real_start, 0x40 * 4
    movw $0x3000, 0x40 * 4 + 2
    movw $real_divide - real_start, 0
    movw $0x3000, 2
    lidtl %cs:real_idt - real_start
    mov $0x52, %al                      // 'R'
    int $0x40
    call real_near
    lcall $0x3000, $real_far - real_start
    // 16-bit arithmetic, string instructions with DS:SI and ES:DI
    mov $0x1234, %ax
    mov $0x10, %cx
    mul %cx
    mov %ax, %bx
    add %dx, %bx                        // 0x2341
    mov $0x6000, %di
    mov $8, %cx
    mov $0x5A, %al                      // 'Z'
    rep stosb
    mov $0x6000, %si
    mov $0x6100, %di
    mov $4, %cx
    rep movsw
    mov 0x6107, %al
    int $0x40
    // base + index addressing wraps at 64 KiB
    mov $0x6100, %bp
    mov $0xFFFF, %si
    mov %ds:1(%bp,%si), %al
    int $0x40
    xor %cx, %cx
    div %cx
real_resume:
    sti
    cli
    pushf
    pop %ax
    and $0x200, %ax
    add %ax, %bx
    mov $10, %al
    int $0x40
    mov %cr0, %eax
    or $1, %eax
    mov %eax, %cr0
    ljmpl $8, $protected_back

real_near:
    mov $0x6E, %al                      // 'n'
    int $0x40
    ret
real_far:
    mov $0x66, %al                      // 'f'
    int $0x40
    lret
real_handler:
    push %dx
    mov $0x3F8, %dx
    out %al, %dx
    pop %dx
    iret
real_divide:
    // The frame: IP, CS, flags.
    mov $0x64, %al                      // 'd'
    int $0x40
    push %bp
    mov %sp, %bp
    movw $real_resume - real_start, 2(%bp)
    pop %bp
    iret
real_idt:
    .word 0x3FF
    .long 0
real_end:

.data
    .align 8
long_idt_pointer:
    .word 32 * 16 - 1
    .long long_idt, 0
saved_stack:
    .long 0
saved_idt:
    .long 0, 0
.bss
    .align 8
long_idt:
    .skip 32 * 16
