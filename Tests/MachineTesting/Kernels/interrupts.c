// Interrupts of the interval timer by the 8259s and by the I/O APIC, of the local APIC's timer, and what else a PC has.
#include "kernel.h"

void handler_pic(void);
void handler_apic(void);
void handler_timer(void);
extern volatile u32 pic_ticks, apic_ticks, timer_ticks;

static u64 idt[256] __attribute__((aligned(8)));
static volatile u32 *const apic = (volatile u32 *)0xFEE00000;
static volatile u32 *const ioapic = (volatile u32 *)0xFEC00000;

static void set_gate(int vector, void (*handler)(void)) {
    u32 offset = (u32)handler;
    idt[vector] = (offset & 0xFFFF) | 8 << 16 | (u64)((offset & 0xFFFF0000) | 0x8E00) << 32;
}

// Halts until `ticks` has reached `count`: an interrupt in between the test and HLT cannot be lost, as STI lets HLT begin.
static void wait_for(volatile u32 *ticks, u32 count) {
    for (;;) {
        __asm__ volatile("cli" : : : "memory");
        if (*ticks >= count) return;
        __asm__ volatile("sti; hlt" : : : "memory");
    }
}

static u32 ioapic_read(u32 index) {
    ioapic[0] = index;
    return ioapic[4];
}
static void ioapic_write(u32 index, u32 value) {
    ioapic[0] = index;
    ioapic[4] = value;
}

static u32 cmos(u8 index) {
    out8(0x70, index);
    return in8(0x71);
}

static void program_timer(u16 count) {
    out8(0x43, 0x34);  // counter 0, low then high byte, mode 2
    out8(0x40, count & 0xFF);
    out8(0x40, count >> 8);
}

void kernel_main(u32 magic, u32 info) {
    (void)magic;
    (void)info;
    struct {
        u16 limit;
        u32 base;
    } __attribute__((packed)) pointer = {sizeof idt - 1, (u32)idt};
    set_gate(0x20, handler_pic);
    set_gate(0x40, handler_apic);
    set_gate(0x41, handler_timer);
    __asm__ volatile("lidt %0" : : "m"(pointer));

    // 8259s: vectors from 0x20 and 0x28, only the timer open.
    out8(0x20, 0x11);
    out8(0xA0, 0x11);
    out8(0x21, 0x20);
    out8(0xA1, 0x28);
    out8(0x21, 4);
    out8(0xA1, 2);
    out8(0x21, 1);
    out8(0xA1, 1);
    out8(0x21, 0xFE);
    out8(0xA1, 0xFF);
    show("masks", in8(0x21) << 8 | in8(0xA1));
    program_timer(1193);
    wait_for(&pic_ticks, 20);
    out8(0x21, 0xFF);
    print("20 ticks by the 8259s\n");
    out8(0x43, 0);
    u32 count = in8(0x40);
    count |= in8(0x40) << 8;
    show("count in range", count <= 1193);

    // Counter 2: its output goes up at the end of the count.
    out8(0x61, (in8(0x61) & 0xFC) | 1);
    out8(0x43, 0xB0);
    out8(0x42, 0x00);
    out8(0x42, 0x10);
    show("output of counter 2", in8(0x61) & 0x20);
    while (!(in8(0x61) & 0x20)) {
    }
    print("counter 2 ran down\n");

    // The local APIC by its memory; pin 2 of the I/O APIC is the timer's.
    apic[0xF0 / 4] = 0x1FF;
    show("APIC version", apic[0x30 / 4] & 0xFF);
    show("I/O APIC pins", (ioapic_read(1) >> 16 & 0xFF) + 1);
    ioapic_write(0x15, 0);
    ioapic_write(0x14, 0x40);
    show("entry of pin 2", ioapic_read(0x14) & 0x1FFFF);
    wait_for(&apic_ticks, 10);
    ioapic_write(0x14, 0x10000);
    print("10 ticks by the I/O APIC\n");
    apic[0x3E0 / 4] = 0xB;
    apic[0x320 / 4] = 0x41;
    apic[0x380 / 4] = 1000000;
    wait_for(&timer_ticks, 1);
    show("one shot of the APIC timer, count", apic[0x390 / 4]);

    show("century", cmos(0x32));
    show("clock's battery", cmos(0x0D) & 0x80);
    out8(0x64, 0xAA);
    while (!(in8(0x64) & 1)) {
    }
    show("keyboard controller's self-test", in8(0x60));
    print("reset\n");
    out8(0x64, 0xFE);
    for (;;) __asm__ volatile("hlt");
}
