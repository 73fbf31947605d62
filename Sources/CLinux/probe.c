#define _GNU_SOURCE
#include "CLinuxProbe.h"
#include <asm/prctl.h>
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_OFF 0
#endif
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

int clinux_probe_cpuid_faulting(void) {
    // Setting what is already set: CPUID stays enabled.
    return syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1) == 0 ? 0 : errno;
}

int clinux_probe_syscall_user_dispatch(void) {
    // Turning off what is off.
    return prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0) == 0 ? 0 : errno;
}

int clinux_probe_userfaultfd(void) {
    long fd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    if (fd < 0) return errno;
    close((int)fd);
    return 0;
}

int clinux_probe_protection_keys(void) {
    // CPUID 7 ECX bit 4, OSPKE: the kernel has them on. Without, pkey_alloc fails now with one errno, now with another.
    uint32_t eax, ebx, ecx, edx;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !(ecx & 1u << 4)) return EOPNOTSUPP;
    long key = syscall(SYS_pkey_alloc, 0, 0);
    if (key < 0) return errno;
    syscall(SYS_pkey_free, key);
    return 0;
}

int clinux_probe_seccomp_kill(void) {
    uint32_t action = SECCOMP_RET_KILL_PROCESS;
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0 ? 0 : errno;
}

int clinux_probe_fsgsbase(void) {
    return getauxval(AT_HWCAP2) & 2 ? 0 : ENOSYS;  // HWCAP2_FSGSBASE (asm/hwcap2.h)
}
