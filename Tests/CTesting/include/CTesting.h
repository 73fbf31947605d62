// For tests of what ends a process: Swift has no fork.
#pragma once

/// Calls `body` in a forked child, which then ends with its result as exit code; returns the wait status, -1 on failure.
/// The child has one thread; it must not need locks that other threads may have held.
int ctesting_in_child(int (*body)(void *), void *context);

/// The system call by number, without libc in between. Returns its result, or the negative errno.
long ctesting_system_call(long number, long a, long b, long c);

// Registers of a run of 32-bit code, in encoding order.
struct ctesting_state32 {
    unsigned int gpr[8];
    unsigned int eflags;
    // Which way the code came back (see compatibility.S).
    unsigned int way;
};

// Runs 32-bit code of this process at `address` (below 4 GiB, like all it touches) on the CPU, in compatibility mode. The code
// comes back by a far jump to selector 0x33 and a 64-bit stub that puts a number into R14 and jumps to ctesting_run32_back.
void ctesting_run32(struct ctesting_state32 *state, unsigned int address);
void ctesting_run32_back(void);
