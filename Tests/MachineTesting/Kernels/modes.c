// Goes through the processor's modes and back, and shows in each what works.
#include "kernel.h"

extern u32 faults_seen, fault_vector, fault_error, fault_address;
void install_idt(void);
u32 try_load(const volatile u32 *address);
u32 try_divide(u32 dividend, u32 divisor);
u32 try_segment(u32 selector);
u32 segment_store(u32 selector, u32 offset);
void show_fault(u32 seen);
u32 through_long_mode(void);
u32 through_real_mode(void);

static u32 directory[1024] __attribute__((aligned(4096)));
static u32 table[1024] __attribute__((aligned(4096)));
static u64 pae_pointers[4] __attribute__((aligned(32)));
static u64 pae_directory[512] __attribute__((aligned(4096)));
static u64 pae_table[512] __attribute__((aligned(4096)));
u64 long_root[512] __attribute__((aligned(4096)));
static u64 long_pointers[512] __attribute__((aligned(4096)));
static volatile u32 page[1024] __attribute__((aligned(4096)));

static inline u32 cr0(void) {
    u32 value;
    __asm__ volatile("mov %%cr0, %0" : "=r"(value));
    return value;
}
static inline void set_cr0(u32 value) { __asm__ volatile("mov %0, %%cr0" : : "r"(value) : "memory"); }
static inline void set_cr3(const void *root) { __asm__ volatile("mov %0, %%cr3" : : "r"(root) : "memory"); }
static inline void set_cr4(u32 value) { __asm__ volatile("mov %0, %%cr4" : : "r"(value) : "memory"); }

void show_fault(u32 seen) {
    if (faults_seen == seen) {
        print("  no fault\n");
        return;
    }
    print("  fault: ");
    show("vector", fault_vector);
    show("  error", fault_error);
    if (fault_vector == 14) show("  address", fault_address);
}

static void protected_mode(void) {
    print("protected mode\n");
    u32 seen = faults_seen;
    show("7 / 2", try_divide(7, 2));
    show_fault(seen);
    try_divide(7, 0);
    show_fault(seen);
    seen = faults_seen;
    try_segment(0x40);
    show_fault(seen);
    seen = faults_seen;
    try_segment(0x200);
    show_fault(seen);
}

// Both pages of the window at 0x40_0000 lead to `page`; the second is read-only.
static void paging_32(void) {
    print("32-bit paging\n");
    directory[0] = 0x83;
    directory[1] = (u32)table | 3;
    table[0] = (u32)page | 3;
    table[1] = (u32)page | 1;
    page[0] = 0x11112222;
    set_cr4(0x10);
    set_cr3(directory);
    set_cr0(cr0() | 0x80010000);
    u32 seen = faults_seen;
    volatile u32 *window = (volatile u32 *)0x400000;
    show("window", window[0]);
    window[1] = 0x33334444;
    show("written through it", page[1]);
    show("accessed, dirty", table[0] & 0x60);
    show("read-only", window[1025]);
    show("accessed, dirty", table[1] & 0x60);
    show_fault(seen);
    segment_store(0x10, 0x401000);
    show_fault(seen);
    seen = faults_seen;
    try_load((volatile u32 *)0x402010);
    show_fault(seen);
    seen = faults_seen;
    // Across the border of a mapped and an unmapped page.
    try_load((volatile u32 *)0x401FFE);
    show_fault(seen);
    set_cr0(cr0() & ~0x10000);
    seen = faults_seen;
    segment_store(0x10, 0x401000);
    show_fault(seen);
    set_cr0(cr0() & 0x7FFFFFFF);
}

static void paging_pae(void) {
    print("PAE paging\n");
    pae_pointers[0] = (u32)pae_directory | 1;
    pae_directory[0] = 0x83;
    pae_directory[2] = (u32)pae_table | 3;
    pae_table[0] = (u32)page | 3;
    set_cr4(0x20);
    set_cr3(pae_pointers);
    set_cr0(cr0() | 0x80010000);
    u32 seen = faults_seen;
    volatile u32 *window = (volatile u32 *)0x400000;
    show("window", window[1]);
    window[2] = 5;
    show("written through it", page[2]);
    show("accessed, dirty", pae_table[0] & 0x60);
    show_fault(seen);
    pae_pointers[1] = (u32)pae_directory | 1;
    seen = faults_seen;
    set_cr3(pae_pointers);
    show("second GiB", *(volatile u32 *)0x40400004);
    show_fault(seen);
    set_cr0(cr0() & 0x7FFFFFFF);
}

void kernel_main(u32 magic, u32 info) {
    (void)magic;
    (void)info;
    install_idt();
    protected_mode();
    paging_32();
    paging_pae();
    print("long mode\n");
    long_root[0] = (u32)long_pointers | 3;
    long_pointers[0] = (u32)pae_directory | 3;
    show("through long mode", through_long_mode());
    show("PG after it", cr0() >> 31);
    print("real mode\n");
    show("through real mode", through_real_mode());
    u32 seen = faults_seen;
    show("9 / 3", try_divide(9, 3));
    show_fault(seen);
    finish(0x22);
}
