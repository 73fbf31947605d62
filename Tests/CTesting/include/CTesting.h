// For tests of what ends a process: Swift has no fork.
#pragma once

/// Calls `body` in a forked child, which then ends with its result as exit code; returns the wait status, -1 on failure.
/// The child has one thread; it must not need locks that other threads may have held.
int ctesting_in_child(int (*body)(void *), void *context);

/// The system call by number, without libc in between. Returns its result, or the negative errno.
long ctesting_system_call(long number, long a, long b, long c);
