// Entry points, boot page tables, descriptor tables and stacks.
//
// Virtual layout (final from the first instruction in the high half on):
//   0xFFFF_F800_0000_0000  all physical memory, 2 MiB pages, RW NX global      PML4[496]
//   0xFFFF_FFFF_8000_0000  + physical address: this image                      PML4[511]
// PML4[0] maps the image to itself for the few instructions before the jump and is then cleared.

#define KERNEL_BASE 0xFFFFFFFF80000000
#define PHYSICAL(symbol) (symbol - KERNEL_BASE)

// PVH: physical address of the 32-bit entry (XEN_ELFNOTE_PHYS32_ENTRY).
.section .note.Xen, "a", @note
    .align 4
    .long 4, 8, 18
    .asciz "Xen"
    .align 4
    .quad PHYSICAL(start32)

// The vbench boot protocol, version 1, is preferred to PVH.
.section .note.vbench, "a", @note
    .align 4
    .long 7, 4, 1
    .asciz "vbench"
    .align 4
    .long 1

.section .text.boot, "ax"

// vbench boot protocol: 64-bit mode, identity-mapped, RDI = physical address of BootInfo.
.globl start64
.code64
start64:
    cli
    cld
    xor %esi, %esi
start_long:
    lea boot_pml4(%rip), %rax           // RIP is physical here, so this is its physical address
    mov %rax, %cr3
    movabs $1f, %rax
    jmp *%rax
1:  lea boot_stack_top(%rip), %rsp
    xor %ebp, %ebp
    call kernelMain
    ud2

// PVH: 32-bit protected mode, no paging, EBX = physical address of hvm_start_info.
.code32
.globl start32
start32:
    cli
    cld
    lgdt PHYSICAL(boot_gdt_pointer32)
    mov $PHYSICAL(boot_pml4), %eax
    mov %eax, %cr3
    mov $0x620, %eax                    // PAE, OSFXSR, OSXMMEXCPT
    mov %eax, %cr4
    mov $0xC0000080, %ecx               // EFER: SCE, LME, NXE
    rdmsr
    or $0x901, %eax
    wrmsr
    mov $0x80010033, %eax               // PE MP ET NE WP PG
    mov %eax, %cr0
    ljmp $0x10, $PHYSICAL(start32_long)
.code64
start32_long:
    mov $0x18, %eax
    mov %eax, %ss
    mov %eax, %ds
    mov %eax, %es
    mov %ebx, %edi
    mov $1, %esi
    jmp start_long

.text
// GDT, IDT and TSS are loaded; CS and SS keep their selectors, so only the caches of the data segments are refreshed.
.globl cpu_load_descriptor_tables
cpu_load_descriptor_tables:
    lgdt boot_gdt_pointer(%rip)
    lidt idt_pointer(%rip)
    mov $0x18, %eax
    mov %eax, %ss
    mov %eax, %ds
    mov %eax, %es
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    mov $0x38, %eax
    ltr %ax
    ret

.data
    .align 16
// Selectors as sysret wants them (STAR) and as Linux has them: user SS 0x2B, user CS 0x33. All marked accessed.
.globl boot_gdt
boot_gdt:
    .quad 0
    .quad 0
    .quad 0x00AF9B000000FFFF            // 0x10 kernel code, 64-bit
    .quad 0x00CF93000000FFFF            // 0x18 kernel data
    .quad 0
    .quad 0x00CFF3000000FFFF            // 0x28 user data
    .quad 0x00AFFB000000FFFF            // 0x30 user code, 64-bit
    .quad 0, 0                          // 0x38 TSS, filled in by DescriptorTables.swift
boot_gdt_end:
    .align 8
    .word 0, 0, 0
boot_gdt_pointer:
    .word boot_gdt_end - boot_gdt - 1
    .quad boot_gdt
    .align 8
boot_gdt_pointer32:
    .word boot_gdt_end - boot_gdt - 1
    .long PHYSICAL(boot_gdt)
    .align 8
    .word 0, 0, 0
idt_pointer:
    .word 4095
    .quad cpu_idt

    .align 8
.globl cpu_block
cpu_block:
    .quad 0, 0, 0, 0

    .long 0                             // the TSS starts at 4 mod 8 so that rsp0 is aligned
.globl cpu_tss
cpu_tss:
    .fill 102, 1, 0
    .word 104                           // no I/O map: ring 3 has no ports

    .align 4096
.globl boot_pml4
boot_pml4:
    .quad PHYSICAL(boot_pdpt_identity) + 3
    .fill 495, 8, 0
    .quad PHYSICAL(boot_pdpt_physical) + 3
    .fill 14, 8, 0
    .quad PHYSICAL(boot_pdpt_kernel) + 3
.globl boot_pdpt_physical
boot_pdpt_physical:
    .quad PHYSICAL(boot_pd_physical) + 0x0003
    .quad PHYSICAL(boot_pd_physical) + 0x1003
    .quad PHYSICAL(boot_pd_physical) + 0x2003
    .quad PHYSICAL(boot_pd_physical) + 0x3003
    .fill 508, 8, 0
boot_pdpt_kernel:
    .fill 510, 8, 0
    .quad PHYSICAL(boot_pd_kernel) + 3
    .quad 0
.globl boot_pd_kernel
boot_pd_kernel:
    .quad 0
    .quad 0x200000 + 0x183              // RWX until PageTables.swift sets the final protections
    .fill 510, 8, 0
boot_pdpt_identity:
    .quad PHYSICAL(boot_pd_identity) + 3
    .fill 511, 8, 0
boot_pd_identity:
    .quad 0
    .quad 0x200000 + 0x83
    .fill 510, 8, 0
// The first 4 GiB: present, writable, large, global, NX.
boot_pd_physical:
    .set page, 0
    .rept 2048
    .quad 0x8000000000000183 + page
    .set page, page + 0x200000
    .endr

.bss
    .align 4096
.globl boot_pt_kernel
boot_pt_kernel:
    .skip 4096
.globl cpu_idt
cpu_idt:
    .skip 4096
.globl path_buffer
path_buffer:
    .skip 4096
.globl second_path_buffer
second_path_buffer:
    .skip 4096
.globl link_buffer
link_buffer:
    .skip 4096
.globl command_line_buffer
command_line_buffer:
    .skip 4096
.globl line_buffer
line_buffer:
    .skip 2048
.globl unknown_counts
unknown_counts:
    .skip 2048
    .align 4096
    .skip 8192
.globl exception_stack_top
exception_stack_top:
    .skip 8192
.globl nmi_stack_top
nmi_stack_top:
    .skip 16384
.globl boot_stack_top
boot_stack_top:
