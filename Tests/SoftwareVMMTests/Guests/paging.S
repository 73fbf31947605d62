// Entry, descriptor tables and access snippets of the paging test kernel. It runs at its physical address.

// PVH: physical address of the 32-bit entry (XEN_ELFNOTE_PHYS32_ENTRY), for QEMU.
.section .note.Xen, "a", @note
    .align 4
    .long 4, 8, 18
    .asciz "Xen"
    .align 4
    .quad start32

.section .text.boot, "ax"
// vbench boot protocol: 64-bit mode, identity-mapped.
.globl start64
.code64
start64:
    cli
    lea boot_pml4(%rip), %rax
    mov %rax, %cr3
    mov $0xC0000080, %ecx               // EFER: SCE, LME, NXE
    rdmsr
    or $0x901, %eax
    wrmsr
    mov %cr0, %rax
    or $0x10000, %eax                   // WP
    mov %rax, %cr0
start_common:
    mov %cr4, %rax
    or $0x80, %eax                      // PGE
    mov %rax, %cr4
    lgdt gdt_pointer(%rip)
    mov $0x18, %eax
    mov %eax, %ss
    mov %eax, %ds
    mov %eax, %es
    lea stack_top(%rip), %rsp
    lea tss(%rip), %rax
    lea gdt_tss(%rip), %rdx
    mov %ax, 2(%rdx)
    shr $16, %rax
    mov %al, 4(%rdx)
    mov %ah, 7(%rdx)
    lea exception_stack_top(%rip), %rax
    mov %rax, tss+4(%rip)
    mov $0x30, %eax
    ltr %ax
    xor %ebp, %ebp
    call kernel_main
    ud2

.code32
start32:
    cli
    lgdt gdt_pointer
    mov $boot_pml4, %eax
    mov %eax, %cr3
    mov $0x20, %eax                     // PAE
    mov %eax, %cr4
    mov $0xC0000080, %ecx
    rdmsr
    or $0x901, %eax
    wrmsr
    mov $0x80010033, %eax               // PE MP ET NE WP PG
    mov %eax, %cr0
    ljmp $0x10, $start32_long
.code64
start32_long:
    jmp start_common

.text
// uint64_t probe(snippet address, RDI, RSI, user stack or 0): runs a snippet in ring 0, or in ring 3 with a stack.
// Returns vector << 32 | error code; RAX, CR2 are in probe_value, probe_address. Snippets end in UD2.
.globl probe
probe:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, recover_rsp(%rip)
    mov %rdi, %rax
    mov %rsi, %rdi
    mov %rdx, %rsi
    test %rcx, %rcx
    jnz 1f
    jmp *%rax
1:  pushq $0x23
    push %rcx
    pushq $2
    pushq $0x2B
    push %rax
    iretq

// Every exception ends the probe: nothing of the interrupted context is kept.
.macro entry vector, has_error
exception_\vector:
    .if \has_error == 0
    pushq $0
    .endif
    mov %rax, probe_value(%rip)
    pop %rax
    mov %eax, %eax
    movabs $(\vector << 32), %rcx
    or %rcx, %rax
    mov %cr2, %rcx
    mov %rcx, probe_address(%rip)
    mov recover_rsp(%rip), %rsp
    cld
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
.endm
entry 6, 0
entry 8, 1
entry 13, 1
entry 14, 1

// What is done with memory, alone in a page that ring 3 sees too. RDI = address, RSI = value.
    .align 4096
.globl snippets
snippets:
.globl snippet_read
snippet_read:
    mov (%rdi), %rax
    ud2
.globl snippet_write
snippet_write:
    mov %rsi, (%rdi)
    ud2
.globl snippet_add
snippet_add:
    lock addq %rsi, (%rdi)
    ud2
.globl snippet_compare
snippet_compare:                        // fails, and writes back what it has read
    mov $0x123456789, %rax
    lock cmpxchg %rsi, (%rdi)
    ud2
.globl snippet_push
snippet_push:
    lea 8(%rdi), %rsp
    push %rsi
    ud2
.globl snippet_store
snippet_store:
    mov %esi, %eax
    mov $16, %ecx
    rep stosb
    ud2
.globl snippet_copy
snippet_copy:                           // reads 8 bytes at RDI, writes 8 at RSI
    xchg %rsi, %rdi
    movsq
    ud2
.globl snippet_jump
snippet_jump:
    jmp *%rdi
    .align 4096

.data
    .align 16
gdt:
    .quad 0, 0
    .quad 0x00AF9B000000FFFF            // 0x10 kernel code
    .quad 0x00CF93000000FFFF            // 0x18 kernel data
    .quad 0x00CFF3000000FFFF            // 0x20 user data
    .quad 0x00AFFB000000FFFF            // 0x28 user code
gdt_tss:
    .quad 0x0000890000000067, 0         // 0x30
gdt_end:
    .align 8
    .word 0, 0, 0
gdt_pointer:
    .word gdt_end - gdt - 1
    .quad gdt
    .align 8
    .long 0
tss:
    .fill 102, 1, 0
    .word 104
.globl exception_entries
exception_entries:
    .quad 6, exception_6, 8, exception_8, 13, exception_13, 14, exception_14, 0
.globl probe_value
probe_value: .quad 0
.globl probe_address
probe_address: .quad 0
recover_rsp: .quad 0

    .align 4096
.globl boot_pml4
boot_pml4:
    .quad boot_pdpt + 3
    .fill 511, 8, 0
.globl boot_pdpt
boot_pdpt:
    .quad boot_pd + 3
    .fill 511, 8, 0
boot_pd:
    .set page, 0
    .rept 512
    .quad page + 0x83
    .set page, page + 0x200000
    .endr

.bss
    .align 4096
    .skip 16384
stack_top:
    .skip 8192
exception_stack_top:

.section .note.GNU-stack, "", @progbits
