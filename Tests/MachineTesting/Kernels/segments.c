// What QEMU's emulator does not check and CPUs do: limits and rights of segments, PAE's directory pointers.
#include "kernel.h"

extern u32 faults_seen, fault_vector, fault_error;
void install_idt(void);
u32 try_load(const volatile u32 *address);
u32 segment_load(u32 selector, u32 offset);
u32 segment_store(u32 selector, u32 offset);

static u64 pae_pointers[4] __attribute__((aligned(32)));
static u64 pae_directory[512] __attribute__((aligned(4096)));

static void show_fault(const char *what) {
    static u32 seen;
    print(what);
    if (faults_seen == seen) {
        print(": no fault\n");
    } else {
        show(": fault", fault_vector << 16 | (fault_error & 0xFFFF));
    }
    seen = faults_seen;
}

void kernel_main(u32 magic, u32 info) {
    (void)magic;
    (void)info;
    install_idt();
    *(volatile u32 *)0x1FFC = 0x12345678;
    show("base 0x1000", segment_load(0x30, 0xFFC));
    show_fault("inside the limit");
    segment_load(0x30, 0xFFE);
    show_fault("across the limit");
    *(volatile u32 *)0x2000 = 0x9ABCDEF0;
    show("expand-down", segment_load(0x38, 0x2000));
    show_fault("above the limit");
    segment_load(0x38, 0x1FFE);
    show_fault("across the limit");
    segment_load(0x08, 0x2000);
    show_fault("reading code");
    segment_store(0x08, 0x2000);
    show_fault("writing code");
    segment_load(0, 0x2000);
    show_fault("null segment");
    pae_pointers[0] = (u32)pae_directory | 1;
    pae_directory[0] = 0x83;
    __asm__ volatile("mov %0, %%cr4" : : "r"(0x20) : "memory");
    __asm__ volatile("mov %0, %%cr3" : : "r"(pae_pointers) : "memory");
    u32 cr0;
    __asm__ volatile("mov %%cr0, %0; or $0x80000000, %0; mov %0, %%cr0" : "=r"(cr0) : : "memory");
    pae_pointers[1] = (u32)pae_directory | 1;
    try_load((volatile u32 *)0x40002000);
    show_fault("directory pointer before CR3 is loaded");
    __asm__ volatile("mov %0, %%cr3" : : "r"(pae_pointers) : "memory");
    show("second GiB", *(volatile u32 *)0x40002000);
    show_fault("after");
    finish(0x23);
}
