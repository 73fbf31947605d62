// Time-stamp counter and CPUID, which Swift has no intrinsics for.
#pragma once
#include <cpuid.h>
#include <stdint.h>

static inline uint64_t clinux_rdtsc(void) { return __builtin_ia32_rdtsc(); }

struct clinux_cpuid {
    uint32_t eax, ebx, ecx, edx;
};

/// CPUID of `leaf` and `subleaf` on this CPU.
static inline struct clinux_cpuid clinux_cpuid(uint32_t leaf, uint32_t subleaf) {
    struct clinux_cpuid r = {0, 0, 0, 0};
    __cpuid_count(leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
    return r;
}

/// TSC frequency in Hz from the conversion factors the kernel shows in a perf event's page, 0 where it shows none
/// (perf_event_open refused, or the kernel's clock is not the TSC).
uint64_t clinux_tsc_hertz_from_perf(void);
