// A guest program that knows it runs inside a software VMM's process and does its worst there: hostile ACTION [ARGUMENT].
//
// It relies on the VMM's process having no address-space randomization (setarch -R), finds the VMM's C library through the
// dynamic linker's lists in the VMM's memory, and makes host system calls by a jump to an instruction in it. Exit codes: 0 the
// attempt was refused or did nothing, 1 it worked, 2 what the attack needs was not found.
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "CLinuxSoftwareVCPU.h"

// Where Linux loads a position-independent executable without randomization: two thirds of the address space.
#define VMM_BASE 0x555555554000
#define STACK_TOP 0x7ffffffff000

// Without the signal mask, which would be a system call each time: SA_NODEFER leaves it as it is.
static sigjmp_buf retry;

static void on_fault(int number) { siglongjmp(retry, number); }

static int is_readable(const volatile void *address) {
    if (sigsetjmp(retry, 0)) return 0;
    (void)*(const volatile char *)address;
    return 1;
}

static void *base_of(const char *library) {
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)VMM_BASE;
    const Elf64_Phdr *segment = (const Elf64_Phdr *)(VMM_BASE + header->e_phoff);
    for (int i = 0; i < header->e_phnum; i++) {
        if (segment[i].p_type != PT_DYNAMIC) continue;
        for (const Elf64_Dyn *entry = (const Elf64_Dyn *)(VMM_BASE + segment[i].p_vaddr); entry->d_tag; entry++) {
            if (entry->d_tag != DT_DEBUG) continue;
            const struct r_debug *debug = (const struct r_debug *)entry->d_un.d_ptr;
            for (const struct link_map *map = debug->r_map; map; map = map->l_next)
                if (strstr(map->l_name, library)) return (void *)map->l_addr;
        }
    }
    return NULL;
}

// `syscall; ret` in the VMM's C library.
static uintptr_t find_gadget(void) {
    const char *base = base_of("/libc.so");
    if (!base) return 0;
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)base;
    const Elf64_Phdr *segment = (const Elf64_Phdr *)(base + header->e_phoff);
    for (int i = 0; i < header->e_phnum; i++) {
        if (segment[i].p_type != PT_LOAD || !(segment[i].p_flags & PF_X)) continue;
        const unsigned char *code = (const unsigned char *)base + segment[i].p_vaddr;
        for (size_t at = 0; at + 3 <= segment[i].p_filesz; at++)
            if (code[at] == 0x0F && code[at + 1] == 0x05 && code[at + 2] == 0xC3) return (uintptr_t)(code + at);
    }
    return 0;
}

static uintptr_t gadget;

// A system call of the host, made by the VMM's own instruction.
static long host_call(long number, long a, long b, long c, long d, long e, long f) {
    if (!gadget && !(gadget = find_gadget())) exit(2);
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("lea -256(%%rsp), %%rsp\n\tcall *%[gadget]\n\tlea 256(%%rsp), %%rsp"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9), [gadget] "b"(gadget)
                     : "rcx", "r11", "memory");
    return result;
}

// The VMM's vCPU structure: a word in its data that points to something that points to itself.
static vb_sw_vcpu *find_vcpu(void) {
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)VMM_BASE;
    const Elf64_Phdr *segment = (const Elf64_Phdr *)(VMM_BASE + header->e_phoff);
    for (int i = 0; i < header->e_phnum; i++) {
        if (segment[i].p_type != PT_LOAD || !(segment[i].p_flags & PF_W)) continue;
        uintptr_t *word = (uintptr_t *)((VMM_BASE + segment[i].p_vaddr) & ~7UL);
        uintptr_t *end = (uintptr_t *)(VMM_BASE + segment[i].p_vaddr + segment[i].p_memsz);
        for (; word + 1 < end; word++) {
            if (!is_readable(word)) break;
            vb_sw_vcpu *candidate = (vb_sw_vcpu *)*word;
            if (*word >> 40 != 0x7f || *word & 4095 || !is_readable(&candidate->self)) continue;
            if (candidate->self == *word) return candidate;
        }
    }
    return NULL;
}

static int make_folder(const char *path) { return host_call(SYS_mkdir, (long)path, 0777, 0, 0, 0, 0) == 0; }

static char *marker;

static void after_sigreturn(void) {
    // Here with the host's dispatch off: a plain instruction reaches the host.
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_mkdir), "D"(marker), "S"(0777) : "rcx", "r11", "memory");
    _exit(result == 0);
}

int main(int count, char **arguments) {
    if (count < 2) return 2;
    const char *action = arguments[1];
    marker = count > 2 ? arguments[2] : "";
    struct sigaction handler = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};
    sigaction(SIGSEGV, &handler, NULL);
    sigaction(SIGBUS, &handler, NULL);
    int number;
    if ((number = sigsetjmp(retry, 0))) {
        // The guest saw its own fault, as on a machine without a VMM there.
        return 0;
    }

    if (!strcmp(action, "read")) return memcmp((const void *)VMM_BASE, ELFMAG, SELFMAG) == 0;
    if (!strcmp(action, "execute-data")) ((void (*)(void))VMM_BASE)();
    if (!strcmp(action, "open")) {
        const long result = host_call(SYS_open, (long)marker, 0102 /* O_RDWR | O_CREAT */, 0666, 0, 0, 0);
        return result == -EACCES ? 0 : 1;
    }
    if (!strcmp(action, "mkdir")) return make_folder(marker);
    if (!strcmp(action, "call")) {
        const long result = host_call(atol(marker), 0, 0, 0, 0, 0, 0);
        printf("%ld\n", result);
        return 1;
    }
    if (!strcmp(action, "undispatch")) {
        host_call(SYS_prctl, 59, 0, 0, 0, 0, 0);
        after_sigreturn();
    }
    if (!strcmp(action, "sigreturn")) {
        host_call(SYS_prctl, 59, 0, 0, 0, 0, 0);
        // A frame made by hand, given to the host's own sigreturn.
        static struct {
            ucontext_t context;
            char rest[4096];
        } frame;
        static char stack[65536];
        greg_t *registers = frame.context.uc_mcontext.gregs;
        registers[REG_RIP] = (greg_t)after_sigreturn;
        registers[REG_RSP] = (greg_t)(stack + sizeof stack - 64 - 8);
        registers[REG_EFL] = 0x202;
        registers[REG_CSGSFS] = 0x33 | (greg_t)0x2b << 48;
        if (!gadget && !(gadget = find_gadget())) return 2;
        __asm__ volatile("mov %0, %%rsp\n\tjmp *%1" : : "r"(&frame.context), "r"(gadget), "a"(SYS_rt_sigreturn));
        __builtin_unreachable();
    }
    if (!strcmp(action, "memory")) {
        int gigabytes = 0;
        while (gigabytes < 64) {
            const long flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
            const long at = host_call(SYS_mmap, 0, 1L << 30, PROT_READ | PROT_WRITE, flags, -1, 0);
            if (at < 0 && at > -4096) break;
            gigabytes++;
        }
        return gigabytes > 4;
    }
    if (!strcmp(action, "shared-memory")) {
        const long flags = MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE;
        const long at = host_call(SYS_mmap, 0, 1L << 30, PROT_READ | PROT_WRITE, flags, -1, 0);
        return at > 0;
    }
    if (!strcmp(action, "descriptors")) {
        // What is open beyond the four of the protocol: nothing but unnamed memory and /dev/null.
        for (int descriptor = 4; descriptor < 1024; descriptor++) {
            struct stat status;
            if (host_call(SYS_fstat, descriptor, (long)&status, 0, 0, 0, 0) != 0) continue;
            if (S_ISREG(status.st_mode) && status.st_nlink == 0) continue;
            if (S_ISCHR(status.st_mode)) continue;
            printf("descriptor %d, mode %o\n", descriptor, status.st_mode);
            return 1;
        }
        return 0;
    }
    if (!strcmp(action, "environment")) {
        // The strings at the top of the VMM's first stack.
        const char *at = (const char *)STACK_TOP - strlen(marker);
        if (!is_readable(at)) return 2;
        sigsetjmp(retry, 0);
        for (int bytes = 0; bytes < 1 << 16 && is_readable(at); bytes++, at--)
            if (!memcmp(at, marker, strlen(marker))) return 1;
        return 0;
    }
    if (!strcmp(action, "scribble")) {
        const Elf64_Ehdr *header = (const Elf64_Ehdr *)VMM_BASE;
        const Elf64_Phdr *segment = (const Elf64_Phdr *)(VMM_BASE + header->e_phoff);
        for (int i = header->e_phnum - 1; i >= 0; i--) {
            if (segment[i].p_type != PT_LOAD || !(segment[i].p_flags & PF_W)) continue;
            // From the end down, as far as it can be written: what the linker made read-only comes first.
            volatile char *end = (volatile char *)(VMM_BASE + segment[i].p_vaddr + segment[i].p_memsz);
            volatile char *begin = (volatile char *)(VMM_BASE + segment[i].p_vaddr);
            if (sigsetjmp(retry, 0)) return 0;
            while (end > begin) *--end = 0x41;
        }
        return 1;
    }
    if (!strcmp(action, "code-cache")) {
        const vb_sw_vcpu *vcpu = find_vcpu();
        if (!vcpu) return 2;
        const uint64_t begin = vcpu->code_begin;
        for (volatile int offset = 0; offset < 512; offset++) {
            if (sigsetjmp(retry, 0)) continue;
            ((void (*)(void))(begin + (uint64_t)offset * 293))();
        }
        return 0;
    }
    if (!strcmp(action, "int80")) {
        int result;
        // mkdir of the 32-bit table; the path lies low, as the program is not position-independent.
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(39), "b"(marker), "c"(0777) : "memory");
        return result == 0;
    }
    if (!strcmp(action, "sysenter")) {
        __asm__ volatile("mov %%rsp, %%rbp\n\tsysenter" : : "a"(39), "b"(marker), "c"(0777) : "memory");
        return 1;
    }
    if (!strcmp(action, "vsyscall")) {
        // gettimeofday at the address it had once; the host may carry it out, with no effect but on the program's memory.
        long time[2] = {0, 0};
        ((long (*)(long *, void *))0xffffffffff600000)(time, NULL);
        return 0;
    }
    return 2;
}
