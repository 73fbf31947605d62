// Enters ring 3 in compatibility mode, which no VMM here supports in software.
.text
.code32
.globl kernel_main
kernel_main:
    mov $0x20, %eax
    mov %eax, %cr4
    movl $pointers + 3, root
    movl $0x83, pointers
    mov $root, %eax
    mov %eax, %cr3
    mov $0xC0000080, %ecx
    rdmsr
    or $0x100, %eax
    wrmsr
    mov %cr0, %eax
    or $0x80000000, %eax
    mov %eax, %cr0
    // IRET to ring 3: SS, ESP, EFLAGS, CS, EIP.
    push $0x53
    push $0x7000
    push $2
    push $0x4B
    push $user
    iret
user:
    jmp user

.bss
    .align 4096
root:
    .skip 4096
pointers:
    .skip 4096
