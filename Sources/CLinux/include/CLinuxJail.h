// Giving up rights: prctl, capset and seccomp, which glibc leaves variadic or does not wrap.
// Every function returns 0, or -1 with errno set.
#pragma once
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>

/// execve can no longer give rights (set-user-ID, file capabilities); needed for an unprivileged seccomp filter.
int clinux_no_new_privileges(void);
/// Empties the capability bounding, ambient, inheritable, permitted and effective sets of this thread.
int clinux_drop_capabilities(void);
/// Limits core files to nothing.
int clinux_forbid_core_files(void);
/// Limits the user's processes to nothing: this one starts no more (root's may).
int clinux_forbid_processes(void);
/// Limits private writable memory (RLIMIT_DATA) and address space (RLIMIT_AS), in bytes.
int clinux_limit_memory(uint64_t private_bytes, uint64_t address_space_bytes);
/// AUDIT_ARCH_X86_64: what seccomp_data.arch holds for 64-bit and x32 calls.
static inline uint32_t clinux_seccomp_architecture(void) { return AUDIT_ARCH_X86_64; }
/// Installs a filter for all threads of the process. A thread that cannot take it makes errno ESRCH.
int clinux_install_seccomp(const struct sock_filter *instructions, size_t count);
