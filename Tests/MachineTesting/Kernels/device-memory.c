// 64-bit code (vbench boot protocol) that accesses device memory by many forms of instructions.
#include "kernel.h"

// The task-priority register: eight bits that read back as written. Written from and read into all kinds of operands.
#define TPR "(%%rbx)"
#define IN_RBX "b"(0xFEE00080)

static inline void write_msr(u32 number, u64 value) {
    __asm__ volatile("wrmsr" : : "c"(number), "a"((u32)value), "d"((u32)(value >> 32)));
}

static void show_priority(const char *what) {
    u32 value;
    __asm__ volatile("movl " TPR ", %0" : "=r"(value): IN_RBX);
    show(what, value);
}

char stack[8192] __attribute__((aligned(16)));
__asm__(".section .header, \"ax\"\n.globl start64\nstart64: lea stack + 8192(%rip), %rsp\n call run\n ud2\n.text\n");

void run(void) {
    // From x2APIC mode by way of disabled to xAPIC mode.
    write_msr(0x1B, 0xFEE00100);
    write_msr(0x1B, 0xFEE00900);
    u32 value = 0, other = 0;
    u64 wide = 0;
    __asm__ volatile("movl $0x30, " TPR : : IN_RBX : "memory");
    show_priority("mov imm");
    __asm__ volatile("movl %0, " TPR : : "r"(0x40), IN_RBX : "memory");
    show_priority("mov reg");
    __asm__ volatile("orl $0x11, " TPR : : IN_RBX : "memory");
    show_priority("or");
    __asm__ volatile("andl $0xF0, " TPR : : IN_RBX : "memory");
    show_priority("and");
    __asm__ volatile("xorl $0x33, " TPR : : IN_RBX : "memory");
    show_priority("xor");
    __asm__ volatile("addl $2, " TPR : : IN_RBX : "memory");
    show_priority("add");
    __asm__ volatile("subl %0, " TPR : : "r"(5), IN_RBX : "memory");
    show_priority("sub");
    __asm__ volatile("incl " TPR : : IN_RBX : "memory");
    show_priority("inc");
    __asm__ volatile("btsl $3, " TPR : : IN_RBX : "memory");
    show_priority("bts");
    value = 0x21;
    __asm__ volatile("xchgl %0, " TPR : "+r"(value) : IN_RBX : "memory");
    show("xchg", value);
    show_priority("xchg");
    __asm__ volatile("movzbl " TPR ", %0" : "=r"(value): IN_RBX);
    show("movzx byte", value);
    __asm__ volatile("movzwl " TPR ", %0" : "=r"(value): IN_RBX);
    show("movzx word", value);
    __asm__ volatile("movl $0xF0, " TPR : : IN_RBX : "memory");
    __asm__ volatile("movsbl " TPR ", %0" : "=r"(value): IN_RBX);
    show("movsx byte", value);
    __asm__ volatile("movslq " TPR ", %0" : "=r"(wide): IN_RBX);
    show("movsxd", (u32)wide);
    value = 5;
    __asm__ volatile("addl " TPR ", %0" : "+r"(value): IN_RBX);
    show("add from", value);
    __asm__ volatile("testl $0x80, " TPR "; setnz %b0" : "=q"(value): IN_RBX);
    show("test", value & 0xFF);
    __asm__ volatile("cmpl $0xF0, " TPR "; sete %b0" : "=q"(value): IN_RBX);
    show("cmp", value & 0xFF);
    __asm__ volatile("cmpb $0xF1, " TPR "; setb %b0" : "=q"(value): IN_RBX);
    show("cmp byte", value & 0xFF);
    u64 target = 0xFEE00080;
    __asm__ volatile("cld; stosl" : "+D"(target) : "a"(0x55) : "memory");
    show_priority("stos");
    show("RDI", (u32)target);
    u64 source = 0xFEE00080;
    target = (u64)(unsigned long)&other;
    __asm__ volatile("movsl" : "+S"(source), "+D"(target) : : "memory");
    show("movs", other);
    source = 0xFEE00080;
    __asm__ volatile("lodsl" : "+S"(source), "=a"(value));
    show("lods", value);
    // By index, and through FS.
    u64 base = 0xFEE00000, index = 0x20;
    __asm__ volatile("movl (%1, %2, 4), %0" : "=r"(value) : "r"(base), "r"(index));
    show("base and index", value);
    // REP STOS over the I/O APIC's select register: the last one counts.
    target = 0xFEC00000;
    u64 count = 1;
    __asm__ volatile("rep stosl" : "+D"(target), "+c"(count) : "a"(1) : "memory");
    show("I/O APIC pins", (*(volatile u32 *)0xFEC00010 >> 16 & 0xFF) + 1);
    *(volatile u32 *)0xFEC00000 = 0x1A;
    *(volatile u32 *)0xFEC00010 = 0x10077;
    show("I/O APIC entry", *(volatile u32 *)0xFEC00010);
    finish(0x24);
}
