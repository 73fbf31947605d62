// What the test kernels share: ports, serial text, the end.
#pragma once
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

static inline void out8(u16 port, u8 value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline void out32(u16 port, u32 value) { __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }
static inline u8 in8(u16 port) {
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void put(char c) {
    while (!(in8(0x3FD) & 0x20)) {
    }
    out8(0x3F8, c);
}
static inline void print(const char *text) {
    while (*text) put(*text++);
}
static inline void print_hex(u32 value) {
    for (int shift = 28; shift >= 0; shift -= 4) put("0123456789abcdef"[value >> shift & 15]);
}
// name=value, and a new line
static inline void show(const char *name, u32 value) {
    print(name);
    put('=');
    print_hex(value);
    put('\n');
}
// Ends the machine; QEMU's process then ends with code * 2 + 1.
static inline void finish(u32 code) {
    out32(0xF4, code);
    for (;;) __asm__ volatile("hlt");
}

// Arguments are on the stack: EAX and EBX at the entry (EAX 0: entered by PVH).
void kernel_main(u32 magic, u32 info);
