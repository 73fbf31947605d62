// Shows what the loader has told: by multiboot or by PVH.
#include "kernel.h"

static const char *after_space(const char *text) {
    while (*text && *text != ' ') text++;
    return *text ? text + 1 : text;
}

static void show_module(u32 start, u32 bytes) {
    show("module bytes", bytes);
    print("module: ");
    for (u32 i = 0; i < bytes && i < 64; i++) put(((const char *)start)[i]);
    put('\n');
}

static void multiboot(const u32 *info) {
    print("multiboot\n");
    show("memory, command line, modules, map", info[0] & 0x4D);
    // The first word is the kernel's file.
    print("command line: ");
    print(after_space((const char *)info[4]));
    put('\n');
    show("modules", info[5]);
    const u32 *module = (const u32 *)info[6];
    if (info[5]) {
        show_module(module[0], module[1] - module[0]);
        show("page-aligned", (module[0] & 0xFFF) == 0);
    }
    // The range from 1 MiB must be RAM and reach over this kernel.
    const u8 *entry = (const u8 *)info[12];
    const u8 *end = entry + info[11];
    while (entry < end) {
        u64 base = *(const u64 *)(entry + 4), bytes = *(const u64 *)(entry + 12);
        u32 type = *(const u32 *)(entry + 20);
        if (base == 0x100000 && type == 1) show("RAM from 1 MiB, MiB, at least", bytes >> 20 >= 14 ? 14 : 0);
        entry += 4 + *(const u32 *)entry;
    }
}

static void pvh(const u32 *info) {
    print("PVH\n");
    show("magic", info[0]);
    show("modules", info[3]);
    print("command line: ");
    print((const char *)info[6]);
    put('\n');
    const u32 *module = (const u32 *)info[4];
    if (info[3]) show_module(module[0], module[2]);
    const u32 *entry = (const u32 *)info[10];
    for (u32 i = 0; i < info[12]; i++, entry += 6)
        if (entry[0] == 0x100000 && entry[1] == 0 && entry[4] == 1)
            show("RAM from 1 MiB, MiB, at least", entry[2] >> 20 >= 14 ? 14 : 0);
}

void kernel_main(u32 magic, u32 info) {
    u32 cr0;
    __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
    show("PE, PG", cr0 & 0x80000001);
    if (magic == 0x2BADB002)
        multiboot((const u32 *)info);
    else
        pvh((const u32 *)info);
    finish(0x21);
}
