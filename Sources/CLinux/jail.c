#define _GNU_SOURCE
#include "CLinuxJail.h"
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int clinux_no_new_privileges(void) { return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }

int clinux_drop_capabilities(void) {
    // The bounding set needs CAP_SETPCAP; without it there is nothing in the permitted set that matters either.
    for (int capability = 0; capability <= 63; capability++)
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) break;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2];
    memset(none, 0, sizeof none);
    return (int)syscall(SYS_capset, &header, none);
}

int clinux_forbid_core_files(void) {
    struct rlimit none = {0, 0};
    return setrlimit(RLIMIT_CORE, &none);
}

int clinux_forbid_processes(void) {
    struct rlimit none = {0, 0};
    return setrlimit(RLIMIT_NPROC, &none);
}

int clinux_limit_memory(uint64_t private_bytes, uint64_t address_space_bytes) {
    struct rlimit data = {private_bytes, private_bytes};
    struct rlimit space = {address_space_bytes, address_space_bytes};
    if (setrlimit(RLIMIT_DATA, &data) != 0) return -1;
    return setrlimit(RLIMIT_AS, &space);
}

int clinux_install_seccomp(const struct sock_filter *instructions, size_t count) {
    struct sock_fprog program = {(unsigned short)count, (struct sock_filter *)instructions};
    long status = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
    if (status > 0) errno = ESRCH;
    return status == 0 ? 0 : -1;
}
