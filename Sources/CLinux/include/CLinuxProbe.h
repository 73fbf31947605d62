// Harmless questions to the kernel about what it offers. Each returns 0 for yes, else the errno of the refusal.
#pragma once
#include <stdint.h>

int clinux_probe_cpuid_faulting(void);
int clinux_probe_syscall_user_dispatch(void);
int clinux_probe_userfaultfd(void);
int clinux_probe_protection_keys(void);
int clinux_probe_seccomp_kill(void);
/// Whether the kernel lets user code write the FS and GS bases (AT_HWCAP2).
int clinux_probe_fsgsbase(void);
