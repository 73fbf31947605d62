// Entry points of the test kernels: multiboot 1 and PVH, both in 32-bit protected mode.
.section .header, "a"
    .align 4
    .long 0x1BADB002                    // multiboot header: page-aligned modules, memory information
    .long 3
    .long -(0x1BADB002 + 3)

.section .note.Xen, "a", @note
    .align 4
    .long 4, 4, 18                      // XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long pvh_start

.text
.code32
.globl start
start:
    mov $stack_top, %esp
    push $0
    popf
    push %ebx
    push %eax
    jmp 1f
pvh_start:
    mov $stack_top, %esp
    push $0
    popf
    push %ebx
    push $0
1:  lgdt gdt_pointer
    ljmp $8, $2f
2:  mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %eax, %fs
    mov %eax, %gs
    call kernel_main
    ud2

.data
    .align 8
.globl gdt
gdt:
    .quad 0
    .quad 0x00CF9B000000FFFF            // 0x08 code, 32-bit
    .quad 0x00CF93000000FFFF            // 0x10 data, 32-bit
    .quad 0x00AF9B000000FFFF            // 0x18 code, 64-bit
    .quad 0x00009B030000FFFF            // 0x20 code, 16-bit, base 0x30000
    .quad 0x000093000000FFFF            // 0x28 data, 16-bit
    .quad 0x0040920010001000            // 0x30 data, base 0x1000, limit 0x1000
    .quad 0x0040960000001FFF            // 0x38 data, expand-down above 0x1FFF
    .quad 0x0040120000000FFF            // 0x40 data, not present
    .quad 0x00CFFB000000FFFF            // 0x48 code of ring 3, 32-bit
    .quad 0x00CFF3000000FFFF            // 0x50 data of ring 3
gdt_end:
.globl gdt_pointer
gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt, 0

.bss
    .align 16
    .skip 16384
.globl stack_top
stack_top:
