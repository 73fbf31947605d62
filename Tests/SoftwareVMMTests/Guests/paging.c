// Paging, seen from inside: each line on the serial port is what the machine did, for comparison with another machine. The parts
// with a model of their own (address spaces, scattered mappings) check every access and print what went wrong.
#include <stdint.h>

typedef uint64_t u64;

enum { P = 1, W = 2, U = 4, A = 1 << 5, D = 1 << 6, LARGE = 1 << 7, G = 1 << 8 };
#define NX (1ull << 63)
#define FRAME 0x000FFFFFFFFFF000ull

extern char snippets[], snippet_read[], snippet_write[], snippet_add[], snippet_compare[], snippet_push[], snippet_store[],
    snippet_copy[], snippet_jump[];
extern u64 exception_entries[], probe_value, probe_address, boot_pml4[], boot_pdpt[];
u64 probe(u64 snippet, u64 rdi, u64 rsi, u64 user_stack);

// Where ring 3 sees the snippets and has a stack; where tests map things.
#define USER_CODE 0x0000000100000000ull
#define USER_STACK (USER_CODE + 0x2000)
#define AREA 0x0000010000000000ull
#define KERNEL_AREA 0xFFFFF90000000000ull

static void out8(uint16_t port, uint8_t value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static void out32(uint16_t port, uint32_t value) { __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }
static void text(const char *s) { while (*s) out8(0x3F8, (uint8_t)*s++); }
static void hex(u64 value) {
    int shift = 60;
    while (shift > 0 && value >> shift == 0) shift -= 4;
    for (; shift >= 0; shift -= 4) out8(0x3F8, (uint8_t)"0123456789abcdef"[value >> shift & 15]);
}
static void line(const char *name, u64 a, u64 b, u64 c) {
    text(name); text(" "); hex(a); text(" "); hex(b); text(" "); hex(c); text("\n");
}

static u64 read_cr0(void) { u64 v; __asm__ volatile("mov %%cr0, %0" : "=r"(v)); return v; }
static void write_cr0(u64 v) { __asm__ volatile("mov %0, %%cr0" : : "r"(v) : "memory"); }
static u64 read_cr3(void) { u64 v; __asm__ volatile("mov %%cr3, %0" : "=r"(v)); return v; }
static void write_cr3(u64 v) { __asm__ volatile("mov %0, %%cr3" : : "r"(v) : "memory"); }
static u64 read_cr4(void) { u64 v; __asm__ volatile("mov %%cr4, %0" : "=r"(v)); return v; }
static void write_cr4(u64 v) { __asm__ volatile("mov %0, %%cr4" : : "r"(v) : "memory"); }
static void invlpg(u64 va) { __asm__ volatile("invlpg (%0)" : : "r"(va) : "memory"); }
static void set_nxe(int on) {
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(0xC0000080));
    low = on ? low | 0x800 : low & ~0x800u;
    __asm__ volatile("wrmsr" : : "a"(low), "d"(high), "c"(0xC0000080) : "memory");
}

void *memset(void *to, int value, u64 count) {
    void *d = to;
    __asm__ volatile("rep stosb" : "+D"(d), "+c"(count) : "a"(value) : "memory");
    return to;
}

static u64 next_frame = 0x400000;
static u64 frame(void) {
    u64 f = next_frame;
    next_frame += 4096;
    memset((void *)f, 0, 4096);
    return f;
}
static u64 frames2m(void) {
    next_frame = (next_frame + 0x1FFFFF) & ~0x1FFFFFull;
    u64 f = next_frame;
    next_frame += 0x200000;
    memset((void *)f, 0, 0x200000);
    return f;
}

// The entry for `va` at a level (1: page table … 4: PML4), its tables made on the way with all rights.
static u64 *entry(u64 root, u64 va, int level) {
    u64 *table = (u64 *)(root & FRAME);
    for (int l = 4; l > level; l--) {
        u64 *e = &table[va >> (3 + 9 * l) & 511];
        if (!(*e & P)) *e = frame() | P | W | U;
        table = (u64 *)(*e & FRAME);
    }
    return &table[va >> (3 + 9 * level) & 511];
}
static u64 *pte(u64 va) { return entry(read_cr3(), va, 1); }

static u64 space(void) {
    u64 root = frame();
    ((u64 *)root)[0] = boot_pml4[0];
    return root;
}

// QEMU leaves out P where reserved bits are set; RSVD is never without it (SDM vol. 3, 4.7).
static u64 with_present(u64 result) { return result >> 32 == 14 && result & 8 ? result | P : result; }
static u64 supervisor(char *snippet, u64 rdi, u64 rsi) { return with_present(probe((u64)snippet, rdi, rsi, 0)); }
static u64 user(char *snippet, u64 rdi, u64 rsi) {
    return with_present(probe(USER_CODE + (u64)(snippet - snippets), rdi, rsi, USER_STACK + 0xF00));
}
// #UD ends a snippet that went through; else vector << 32 | error code.
#define DONE (6ull << 32)

// MARK: Accessed and dirty

static char *const kinds[] = {snippet_read, snippet_write, snippet_add, snippet_compare, snippet_push, snippet_store};
static const char *const kind_names[] = {"read", "write", "add", "compare", "push", "store"};

static void accessed_dirty(void) {
    u64 f = frame(), va = AREA;
    for (int ring = 0; ring < 2; ring++)
        for (int kind = 0; kind < 6; kind++) {
            u64 *e = pte(va);
            *e = f | P | W | U;
            invlpg(va);
            u64 result = ring ? user(kinds[kind], va + 64, 7) : supervisor(kinds[kind], va + 64, 7);
            text(ring ? "ad3 " : "ad0 ");
            line(kind_names[kind], result, *e & (A | D), *entry(read_cr3(), va, 2) & A);
            // Read first, so that the page is there without the right to write: the write must still set D.
            *e = f | P | W | U;
            invlpg(va);
            supervisor(snippet_read, va, 0);
            user(snippet_read, va, 0);
            u64 before = *e & (A | D);
            result = ring ? user(kinds[kind], va + 64, 7) : supervisor(kinds[kind], va + 64, 7);
            line("  after reads", result, before, *e & (A | D));
            // D cleared in between.
            *e &= ~(u64)D;
            invlpg(va);
            result = ring ? user(kinds[kind], va + 64, 7) : supervisor(kinds[kind], va + 64, 7);
            line("  cleared", result, *e & (A | D), 0);
            *e &= ~(u64)(A | D);
            write_cr3(read_cr3());
            result = ring ? user(kinds[kind], va + 64, 7) : supervisor(kinds[kind], va + 64, 7);
            line("  cr3", result, *e & (A | D), 0);
            va += 0x1000;
        }
    // A read of one page, a write of another.
    u64 other = frame();
    *pte(va) = f | P | W | U;
    *pte(va + 0x1000) = other | P | W | U;
    u64 result = user(snippet_copy, va, va + 0x1000);
    line("ad3 copy", result, *pte(va) & (A | D), *pte(va + 0x1000) & (A | D));
    // A refused write leaves D alone; so does one to a page that is not there.
    *pte(va) = f | P | U;
    invlpg(va);
    result = user(snippet_write, va, 1);
    line("ad3 refused", result, *pte(va) & D, probe_address);
    // Neighbours that were not used stay so.
    for (int i = 0; i < 8; i++) *pte(va + 0x10000 + i * 0x1000) = (f + i * 0x1000) | P | W | U;
    user(snippet_read, va + 0x13000, 0);
    supervisor(snippet_write, va + 0x15000, 0);
    u64 bits = 0;
    for (int i = 0; i < 8; i++) bits = bits << 4 | (*pte(va + 0x10000 + i * 0x1000) & (A | D)) >> 5;
    line("ad neighbours", bits, 0, 0);
}

// MARK: Rights

static void rights_of(const char *name, u64 va) {
    u64 r0 = supervisor(snippet_read, va, 0), w0 = supervisor(snippet_write, va, 0x0B0F), x0 = supervisor(snippet_jump, va, 0);
    text(name);
    line(" ring 0", r0, w0, x0);
    u64 r3 = user(snippet_read, va, 0), w3 = user(snippet_write, va, 0x0B0F), x3 = user(snippet_jump, va, 0);
    text(name);
    line(" ring 3", r3, w3, x3);
}

static void rights(void) {
    // UD2, so that a jump there ends the probe.
    u64 f = frame(), va = AREA + 0x40000000;
    *(uint16_t *)f = 0x0B0F;
    static const u64 flags[] = {0, P, P | W, P | U, P | W | U, P | NX, P | W | U | NX, P | U | NX, W | U};
    for (int wp = 1; wp >= 0; wp--) {
        write_cr0(wp ? read_cr0() | 0x10000 : read_cr0() & ~0x10000ull);
        for (unsigned i = 0; i < sizeof flags / 8; i++) {
            *pte(va) = flags[i] ? f | flags[i] : 0;
            invlpg(va);
            text(wp ? "wp " : "no-wp ");
            hex(flags[i]);
            rights_of("", va);
            line("  entry", *pte(va) & (A | D), 0, 0);
        }
    }
    // Rights of an upper level, with every right in the page table.
    write_cr0(read_cr0() | 0x10000);
    *pte(va) = f | P | W | U;
    for (int level = 4; level >= 2; level--) {
        u64 *e = entry(read_cr3(), va, level), old = *e;
        static const u64 masks[] = {~(u64)W, ~(u64)U, ~0ull, ~(u64)P};
        for (int i = 0; i < 4; i++) {
            *e = i == 2 ? old | NX : old & masks[i];
            write_cr3(read_cr3());
            text("level ");
            hex((u64)level);
            // The snippets of ring 3 share the upper levels with the area only where they must not: PML4 entry 0.
            rights_of(i == 0 ? " -w" : i == 1 ? " -u" : i == 2 ? " nx" : " -p", va);
        }
        *e = old;
        write_cr3(read_cr3());
    }
    // CR0.WP changes alone; a write with WP clear makes the entry dirty.
    *pte(va) = f | P | U;
    invlpg(va);
    u64 with = supervisor(snippet_write, va, 0x0B0F);
    write_cr0(read_cr0() & ~0x10000ull);
    u64 without = supervisor(snippet_write, va, 0x0B0F);
    u64 dirty = *pte(va) & D;
    write_cr0(read_cr0() | 0x10000);
    line("wp toggles", with, without, supervisor(snippet_write, va, 0x0B0F));
    line("wp dirty", dirty, user(snippet_write, va, 0), 0);
    // The same in the kernel half.
    *pte(KERNEL_AREA) = f | P;
    with = supervisor(snippet_write, KERNEL_AREA, 0x0B0F);
    write_cr0(read_cr0() & ~0x10000ull);
    without = supervisor(snippet_write, KERNEL_AREA, 0x0B0F);
    write_cr0(read_cr0() | 0x10000);
    line("wp kernel half", with, without, supervisor(snippet_write, KERNEL_AREA, 0x0B0F));
    line("kernel half", user(snippet_read, KERNEL_AREA, 0), user(snippet_write, KERNEL_AREA, 0), probe_address);
}

static void reserved(void) {
    u64 va = AREA + 0x80000000, f = frame();
    *pte(va) = f | P | W | U;
    supervisor(snippet_read, va, 0);
    u64 *e = entry(read_cr3(), va, 4), old = *e;
    *e |= LARGE;
    write_cr3(read_cr3());
    line("reserved pml4", supervisor(snippet_read, va, 0), supervisor(snippet_write, va, 0), user(snippet_jump, va, 0));
    *e = old;
    u64 big = frames2m();
    e = entry(read_cr3(), va + 0x200000, 2);
    *e = big | P | W | U | LARGE | 1 << 13;
    line("reserved 2m", supervisor(snippet_read, va + 0x200000, 0), user(snippet_write, va + 0x200000, 0), *e & (A | D));
    // PAT, bit 12, is none.
    *e = big | P | W | U | LARGE | 1 << 12;
    line("pat 2m", supervisor(snippet_read, va + 0x200000, 0), user(snippet_write, va + 0x200000, 0), *e & (A | D));
    *pte(va) = f | P | W | U | NX;
    set_nxe(0);
    line("nxe off", supervisor(snippet_read, va, 0), user(snippet_write, va, 0), user(snippet_jump, va, 0));
    set_nxe(1);
    line("nxe on", supervisor(snippet_read, va, 0), user(snippet_write, va, 0), user(snippet_jump, va, 0));
}

// MARK: Large pages

static u64 value(u64 va, int ring) {
    u64 result = ring ? user(snippet_read, va, 0) : supervisor(snippet_read, va, 0);
    return result == DONE ? probe_value : ~result;
}

static void large_pages(void) {
    u64 va = AREA + 0xC0000000, a = frames2m(), b = frames2m();
    for (int i = 0; i < 512; i++) {
        *(u64 *)(a + i * 4096) = 0xA000 + (u64)i;
        *(u64 *)(b + i * 4096) = 0xB000 + (u64)i;
    }
    u64 *e = entry(read_cr3(), va, 2);
    *e = a | P | W | U | LARGE;
    line("2m read", value(va + 0x5000, 0), value(va + 0x1FF000, 1), *e & (A | D));
    line("2m write", user(snippet_write, va + 0x7000, 0x77), *(u64 *)(a + 0x7000), *e & (A | D));
    // INVLPG of one page drops all of the large one, in both views.
    *e = b | P | W | U | LARGE;
    invlpg(va + 0x5000);
    line("2m invlpg", value(va + 0x1FF000, 1), value(va + 0x7000, 1), value(va + 0x9000, 0));
    // Split: the same frames but one.
    u64 *table = (u64 *)frame();
    for (int i = 0; i < 512; i++) table[i] = (b + (u64)i * 4096) | P | W | U;
    table[3] = a | P | U;
    *e = (u64)table | P | W | U;
    invlpg(va);
    line("split", value(va + 0x3000, 0), value(va + 0x3000, 1), value(va + 0x4000, 1));
    line("split write", user(snippet_write, va + 0x3000, 1), user(snippet_write, va + 0x4000, 1), table[4] & (A | D));
    line("split entries", table[3] & (A | D), table[5] & (A | D), *e & A);
    table[4] = (a + 0x4000) | P | W | U;
    invlpg(va + 0x4000);
    line("split invlpg", value(va + 0x4000, 0), value(va + 0x4000, 1), value(va + 0x5000, 1));
    // Merged again, read-only; the old page table must not be seen any more.
    *e = a | P | U | LARGE;
    write_cr3(read_cr3());
    line("merge", value(va + 0x5000, 0), value(va + 0x5000, 1), user(snippet_write, va + 0x5000, 1));
    *e = a | P | W | U | LARGE;
    write_cr3(read_cr3());
    line("merge write", user(snippet_write, va + 0x8000, 0x88), value(va + 0x8000, 0), *e & (A | D));
    // Merged pages and one INVLPG elsewhere in it.
    *e = 0;
    invlpg(va + 0x8000);
    line("2m gone", user(snippet_read, va + 0x5000, 0), supervisor(snippet_read, va + 0x8000, 0), probe_address);
    // 1 GiB: all of RAM and device space.
    u64 far = AREA + 0x4000000000;
    uint32_t eax = 0x80000001, ebx, ecx = 0, edx;
    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    if (edx & 1 << 26) {
        u64 *g = entry(read_cr3(), far, 3);
        *g = P | W | U | LARGE;
        line("1g read", value(far + a + 0x9000, 0), value(far + b + 0x9000, 1), *g & (A | D));
        line("1g write", user(snippet_write, far + b + 0x9000, 0x99), *(u64 *)(b + 0x9000), *g & (A | D));
        *g = P | U | LARGE;
        invlpg(far);
        line("1g invlpg", user(snippet_write, far + b + 0x9000, 1), value(far + b + 0x9000, 1), value(far + a, 0));
        // Split into pages of 2 MiB.
        u64 *directory = (u64 *)frame();
        for (int i = 0; i < 512; i++) directory[i] = (u64)i << 21 | P | U | LARGE;
        directory[a >> 21] = b | P | W | U | LARGE;
        *g = (u64)directory | P | W | U;
        invlpg(far + a + 0x1000);
        line("1g split", value(far + a + 0x9000, 0), value(far + a + 0xA000, 1), value(far + b + 0xA000, 1));
        *g = 0;
        write_cr3(read_cr3());
        line("1g gone", user(snippet_read, far + a + 0x9000, 0), supervisor(snippet_read, far + b, 0), probe_address);
    }
}

// MARK: Global pages

static void global_pages(void) {
    u64 va = AREA + 0x100000000, a = frame(), b = frame();
    *(u64 *)a = 0xAA;
    *(u64 *)b = 0xBB;
    for (int i = 0; i < 2; i++) {
        u64 at = i ? KERNEL_AREA + 0x200000 : va;
        *pte(at) = a | P | W | U | G;
        u64 first = value(at, 0);
        write_cr3(read_cr3());
        u64 second = value(at, 0);
        *pte(at) = b | P | W | U | G;
        u64 cr4 = read_cr4();
        write_cr4(cr4 & ~0x80ull);
        write_cr4(cr4);
        line("global toggle", first, second, value(at, 0));
        *pte(at) = a | P | W | U | G;
        invlpg(at);
        line("global invlpg", value(at, 0), i ? 0 : value(at, 1), 0);
        // No longer global: a CR3 load is enough from here on.
        *pte(at) = a | P | W | U;
        invlpg(at);
        first = value(at, 0);
        *pte(at) = b | P | W | U;
        write_cr3(read_cr3());
        line("global no more", first, value(at, 0), 0);
    }
    // Without CR4.PGE the bit means nothing.
    write_cr4(read_cr4() & ~0x80ull);
    *pte(va) = a | P | W | U | G;
    invlpg(va);
    u64 first = value(va, 1);
    *pte(va) = b | P | W | U | G;
    write_cr3(read_cr3());
    line("global without PGE", first, value(va, 1), value(va, 0));
    write_cr4(read_cr4() | 0x80);
}

// MARK: Aliases

// mov eax, value; ud2
static void code(u64 at, uint32_t value) {
    *(volatile uint8_t *)at = 0xB8;
    *(volatile uint32_t *)(at + 1) = value;
    *(volatile uint16_t *)(at + 5) = 0x0B0F;
}

static void aliases(void) {
    u64 va = AREA + 0x140000000, f = frame(), g = frame();
    for (u64 i = 0; i < 4; i++) *pte(va + i * 0x10000) = f | P | W | U;
    for (u64 i = 0; i < 4; i++) {
        u64 write = i & 1 ? user(snippet_write, va + i * 0x10000 + 8, i + 1)
                          : supervisor(snippet_write, va + i * 0x10000 + 8, i + 1);
        u64 sum = 0;
        for (u64 j = 0; j < 4; j++) sum = sum << 8 | value(va + j * 0x10000 + 8, (int)(i + j) & 1);
        line("alias", write, sum, *(u64 *)(f + 8));
    }
    // Code is changed through an alias, through physical memory, and through the address it runs at.
    for (uint32_t round = 1; round <= 4; round++) {
        u64 run = va, at = round == 1 ? va + 0x10000 : round == 2 ? f : round == 3 ? va : va + 0x20000;
        code(at, 0xC0 + round);
        supervisor(snippet_jump, run, 0);
        u64 first = probe_value;
        code(at, 0xD0 + round);
        supervisor(snippet_jump, run, 0);
        u64 second = probe_value;
        user(snippet_jump, run, 0);
        line("code alias", first, second, probe_value);
        // From ring 3.
        user(snippet_write, va + 0x30000, 0x0B0F000000E0B8 | (u64)round << 8);
        supervisor(snippet_jump, run, 0);
        first = probe_value;
        user(snippet_jump, run, 0);
        line("code from ring 3", first, probe_value, 0);
    }
    // The page of the code becomes another one.
    code(g, 0xF1);
    code(f, 0xF0);
    supervisor(snippet_jump, va, 0);
    u64 first = probe_value;
    *pte(va) = g | P | W | U;
    invlpg(va);
    supervisor(snippet_jump, va, 0);
    u64 second = probe_value;
    *pte(va) = f | P | W | U;
    write_cr3(read_cr3());
    supervisor(snippet_jump, va, 0);
    line("code moves", first, second, probe_value);
    *pte(va) = f | P | W | U | NX;
    invlpg(va);
    line("code nx", supervisor(snippet_jump, va, 0), user(snippet_jump, va, 0), probe_address);
    // Page tables changed through an alias of their page.
    u64 *table = (u64 *)((u64)pte(va) & FRAME);
    u64 window = AREA + 0x180000000;
    *pte(window) = (u64)table | P | W | U;
    u64 *alias = (u64 *)(window | ((u64)pte(va) & 0xFFF));
    *(u64 *)(f + 0x10) = 1;
    *(u64 *)(g + 0x10) = 2;
    first = value(va + 0x10, 1);
    *alias = g | P | W | U;
    invlpg(va);
    second = value(va + 0x10, 1);
    user(snippet_write, (u64)alias, f | P | U);
    invlpg(va);
    line("table alias", first, second, value(va + 0x10, 1));
    line("table alias write", user(snippet_write, va + 0x10, 3), *pte(va) & (A | D), 0);
}

// MARK: Address spaces

static u64 random_state = 88172645463325252ull;
static u64 next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

enum { SPACES = 5, PAGES = 24, FRAMES = 40 };

// Random changes and accesses in a few address spaces, each access checked with what the tables say at that time. The
// architecture lets stale translations be used until INVLPG or a CR3 load, so a change in the loaded space is always followed by one.
static void address_spaces(void) {
    u64 roots[SPACES], pool[FRAMES], home = read_cr3(), base = AREA + 0x1C0000000;
    for (int i = 0; i < FRAMES; i++) {
        pool[i] = frame();
        *(u64 *)pool[i] = 0xF00D0000 + (u64)i;
    }
    for (int i = 0; i < SPACES; i++) {
        roots[i] = space();
        *entry(roots[i], USER_CODE, 1) = (u64)snippets | P | U;
        *entry(roots[i], USER_STACK, 1) = frame() | P | W | U;
    }
    int current = 0;
    u64 wrong = 0, faults = 0, done = 0;
    write_cr3(roots[0]);
    for (int step = 0; step < 12000; step++) {
        u64 r = next_random();
        // Some pages lie side by side, some far apart.
        u64 number = r >> 8 & 0xFF;
        u64 page = number % PAGES;
        u64 va = base + page * 0x1000 + (page % 3 == 2 ? page * 0x40000000 : 0);
        if (r % 16 < 3) {
            int target = (int)(r >> 16 & 0xFF) % SPACES;
            u64 *e = entry(roots[target], va, 1);
            u64 f = r >> 24 & 0xFF;
            switch (r >> 32 & 7) {
            case 0: *e = 0; break;
            case 1: *e &= ~(u64)W; break;
            case 2: *e &= ~(u64)(A | D); break;
            case 3: *e &= ~(u64)U; break;
            case 4: *e |= P | U; break;
            case 5: *e = pool[f % FRAMES] | P | U | (f & 1 ? NX : 0); break;
            // Shared by all spaces.
            case 6: *e = pool[page] | P | W | U | A | D; break;
            default: *e = pool[f % FRAMES] | P | W | U; break;
            }
            if (target == current) {
                if (r >> 40 & 1) invlpg(va); else write_cr3(roots[current]);
            }
        } else if (r % 16 < 6) {
            current = (int)(r >> 16 & 0xFF) % SPACES;
            write_cr3(roots[current]);
        } else {
            u64 *e = entry(roots[current], va, 1), before = *e;
            int ring = (int)(r >> 16 & 1), write = (int)(r >> 17 & 1);
            u64 expected = DONE;
            if (!(before & P)) expected = 14ull << 32 | (u64)write << 1 | (u64)ring << 2;
            else if ((write && !(before & W)) || (ring && !(before & U)))
                expected = 14ull << 32 | 1 | (u64)write << 1 | (u64)ring << 2;
            u64 where = va + (write ? 8 + (r >> 20 & 0x1F) * 8 : 0);
            u64 result = ring ? user(write ? snippet_write : snippet_read, where, r)
                              : supervisor(write ? snippet_write : snippet_read, where, r);
            int bad = result != expected;
            if (result == DONE && expected == DONE) {
                done++;
                u64 f = before & FRAME;
                if (write) bad |= *(u64 *)(f + (where & 0xFFF)) != r;
                else bad |= probe_value != *(u64 *)f;
                if (!(*e & A) || (write && !(*e & D)) || (!write && (*e & D) != (before & D))) bad = 1;
            } else {
                faults++;
                if ((*e & D) != (before & D)) bad = 1;
            }
            if (bad && wrong++ < 8) {
                line("wrong", (u64)step, va, result);
                line("  expected", expected, before, *e);
            }
        }
    }
    write_cr3(home);
    line("spaces", wrong, done, faults);
}

// MARK: Scattered mappings

// SCATTERED mappings of which no two can be one: neighbours show frames that are none.
enum { SCATTERED_FRAMES = 61 };

static void scattered(void) {
    u64 pool[SCATTERED_FRAMES], wrong = 0;
    for (u64 i = 0; i < SCATTERED_FRAMES; i++) {
        pool[i] = frame();
        *(u64 *)pool[i] = 0x5CA77E00 + i;
    }
    for (int half = 0; half < 2; half++) {
        u64 base = half ? KERNEL_AREA + 0x4000000000 : AREA + 0x800000000;
        u64 count = half ? SCATTERED / 8 : SCATTERED;
        for (u64 i = 0; i < count; i++) *pte(base + i * 0x1000) = pool[i * 7 % SCATTERED_FRAMES] | P | W | U | A | D;
        for (u64 step = 1; step <= 16; step += 15)
            for (u64 i = 0; i < count; i += step)
                wrong += *(volatile u64 *)(base + i * 0x1000) != 0x5CA77E00 + i * 7 % SCATTERED_FRAMES;
        // Each one's page changes, and is seen to.
        for (u64 i = 0; i < count; i += 997) {
            *pte(base + i * 0x1000) = pool[i % SCATTERED_FRAMES] | P | W | U;
            invlpg(base + i * 0x1000);
            wrong += *(volatile u64 *)(base + i * 0x1000) != 0x5CA77E00 + i % SCATTERED_FRAMES;
            if (!half) wrong += value(base + i * 0x1000, 1) != 0x5CA77E00 + i % SCATTERED_FRAMES;
        }
        write_cr3(read_cr3());
        for (u64 i = 0; i < count; i += 61) *(volatile u64 *)(base + i * 0x1000 + 8) = i;
    }
    line("scattered", wrong, 0, 0);
}

void kernel_main(void) {
    static u64 idt[512] __attribute__((aligned(4096)));
    for (u64 *e = exception_entries; e[0]; e += 2) {
        u64 at = e[1];
        idt[e[0] * 2] = (at & 0xFFFF) | 0x10 << 16 | 0x8E00ull << 32 | (at >> 16 & 0xFFFF) << 48;
        idt[e[0] * 2 + 1] = at >> 32;
    }
    struct __attribute__((packed)) { uint16_t limit; u64 base; } pointer = {sizeof idt - 1, (u64)idt};
    __asm__ volatile("lidt %0" : : "m"(pointer));
    // The boot tables are ring 0's alone but for the way to ring 3's pages.
    boot_pml4[0] |= U;
    *pte(USER_CODE) = (u64)snippets | P | U;
    *pte(USER_STACK) = frame() | P | W | U;

    accessed_dirty();
    rights();
    reserved();
    large_pages();
    global_pages();
    aliases();
    address_spaces();
    scattered();
    text("end\n");
    out32(0xF4, 0x10);
    for (;;) __asm__ volatile("hlt");
}
