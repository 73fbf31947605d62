// 64-bit code (vbench boot protocol) that accesses device memory by many forms of instructions.
#include "kernel.h"

// The spurious-interrupt vector register: its low ten bits read back as written. (The task priority's low four are lost under
// AMD-V, where CR8 holds the other four.) Written from and read into all kinds of operands.
#define VECTOR "(%%rbx)"
#define IN_RBX "b"(0xFEE000F0)

static inline void write_msr(u32 number, u64 value) {
    __asm__ volatile("wrmsr" : : "c"(number), "a"((u32)value), "d"((u32)(value >> 32)));
}

static void show_vector(const char *what) {
    u32 value;
    __asm__ volatile("movl " VECTOR ", %0" : "=r"(value): IN_RBX);
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
    __asm__ volatile("movl $0x30, " VECTOR : : IN_RBX : "memory");
    show_vector("mov imm");
    __asm__ volatile("movl %0, " VECTOR : : "r"(0x40), IN_RBX : "memory");
    show_vector("mov reg");
    __asm__ volatile("orl $0x11, " VECTOR : : IN_RBX : "memory");
    show_vector("or");
    __asm__ volatile("andl $0xF0, " VECTOR : : IN_RBX : "memory");
    show_vector("and");
    __asm__ volatile("xorl $0x33, " VECTOR : : IN_RBX : "memory");
    show_vector("xor");
    __asm__ volatile("addl $2, " VECTOR : : IN_RBX : "memory");
    show_vector("add");
    __asm__ volatile("subl %0, " VECTOR : : "r"(5), IN_RBX : "memory");
    show_vector("sub");
    __asm__ volatile("incl " VECTOR : : IN_RBX : "memory");
    show_vector("inc");
    __asm__ volatile("btsl $3, " VECTOR : : IN_RBX : "memory");
    show_vector("bts");
    value = 0x21;
    __asm__ volatile("xchgl %0, " VECTOR : "+r"(value) : IN_RBX : "memory");
    show("xchg", value);
    show_vector("xchg");
    __asm__ volatile("movzbl " VECTOR ", %0" : "=r"(value): IN_RBX);
    show("movzx byte", value);
    __asm__ volatile("movzwl " VECTOR ", %0" : "=r"(value): IN_RBX);
    show("movzx word", value);
    __asm__ volatile("movl $0xF0, " VECTOR : : IN_RBX : "memory");
    __asm__ volatile("movsbl " VECTOR ", %0" : "=r"(value): IN_RBX);
    show("movsx byte", value);
    __asm__ volatile("movslq " VECTOR ", %0" : "=r"(wide): IN_RBX);
    show("movsxd", (u32)wide);
    value = 5;
    __asm__ volatile("addl " VECTOR ", %0" : "+r"(value): IN_RBX);
    show("add from", value);
    __asm__ volatile("testl $0x80, " VECTOR "; setnz %b0" : "=q"(value): IN_RBX);
    show("test", value & 0xFF);
    __asm__ volatile("cmpl $0xF0, " VECTOR "; sete %b0" : "=q"(value): IN_RBX);
    show("cmp", value & 0xFF);
    __asm__ volatile("cmpb $0xF1, " VECTOR "; setb %b0" : "=q"(value): IN_RBX);
    show("cmp byte", value & 0xFF);
    u64 target = 0xFEE000F0;
    __asm__ volatile("cld; stosl" : "+D"(target) : "a"(0x55) : "memory");
    show_vector("stos");
    show("RDI", (u32)target);
    u64 source = 0xFEE000F0;
    target = (u64)(unsigned long)&other;
    __asm__ volatile("movsl" : "+S"(source), "+D"(target) : : "memory");
    show("movs", other);
    source = 0xFEE000F0;
    __asm__ volatile("lodsl" : "+S"(source), "=a"(value));
    show("lods", value);
    // By index, and through FS.
    u64 base = 0xFEE00000, index = 0x3C;
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
