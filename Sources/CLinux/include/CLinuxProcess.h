// Processes: what has to happen between fork and exec, which no Swift code may do (the child of a threaded process
// may call async-signal-safe functions only), and variadic system calls.
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/// How the program sees its file tree.
enum clinux_root_mode {
    /// The host's own root; paths are the host's.
    clinux_root_host = 0,
    /// chroot(2) with the capability this process has.
    clinux_root_change = 1,
    /// chroot(2) with the capability a new user namespace gives (the user keeps his ids).
    clinux_root_namespace = 2,
};

/// Step at which a launch failed.
enum clinux_launch_stage {
    clinux_stage_fork = 1,
    clinux_stage_affinity = 2,
    clinux_stage_descriptors = 3,
    clinux_stage_namespace = 4,
    clinux_stage_root = 5,
    clinux_stage_directory = 6,
    clinux_stage_exec = 7,
};

struct clinux_launch_request {
    const char *program;
    char *const *arguments;
    char *const *environment;
    /// Root of the program's tree on the host; unused with `clinux_root_host`.
    const char *root;
    const char *working_directory;
    int root_mode;
    int input;
    int output;
    int error;
    /// CPU to pin to, or -1.
    int cpu;
    /// Stop at the first instruction, for `clinux_release` to go on from.
    bool stop_at_entry;
};

struct clinux_launch_result {
    /// The process, or -1.
    pid_t pid;
    /// A `clinux_launch_stage` and its errno when `pid` is -1.
    int stage;
    int error;
    /// The process waits at its first instruction.
    bool stopped;
};

/// Starts a program. It dies with the calling thread.
struct clinux_launch_result clinux_launch(const struct clinux_launch_request *launch);

/// Lets a process that `clinux_launch` stopped go on, free of its tracer. 0 or errno.
int clinux_release(pid_t pid);

/// Whether `clinux_root_mode` works here: tried in a child process. 0 or errno.
int clinux_try_root(int root_mode, const char *root);

/// pipe2(2) with O_CLOEXEC. 0, or -1 with errno.
int clinux_pipe(int ends[2]);

/// A descriptor that becomes readable when the process ends, or -1 with errno.
int clinux_pidfd_open(pid_t pid);

/// Sends `signal` to the calling process when the thread that started it dies. 0 or errno.
int clinux_die_with_parent(int signal);

/// Makes orphaned descendants children of the calling process. 0 or errno.
int clinux_adopt_orphans(void);

/// Closes every descriptor from `first` on. 0 or errno.
int clinux_close_from(int first);

/// Pins the calling thread (and threads it starts later) to one CPU. 0 or errno.
int clinux_pin_to_cpu(int cpu);

/// CPUs the calling thread may run on, ascending, at most `capacity`. Their number, or -1 with errno.
int clinux_allowed_cpus(int *cpus, int capacity);

/// Lets the calling thread run on all `cpus`. 0 or errno.
int clinux_run_on_cpus(const int *cpus, int count);

/// Takes memory of the calling thread from NUMA node `node` only. 0 or errno.
int clinux_bind_memory_to_node(int node);

/// Installs the interrupt handler for SIGINT, SIGTERM and SIGHUP. The first of them makes `descriptor` readable (one
/// byte, the signal number); the second kills the process group registered by `clinux_set_doomed_group` and ends this
/// process with 128 + signal.
void clinux_catch_interrupts(int descriptor);

/// While holding, a second interrupt waits; it takes effect when the hold ends.
void clinux_hold_interrupts(bool hold);

/// The first interrupting signal caught so far, or 0.
int clinux_interrupted(void);

/// Registers a process group in slot 0…3 to be killed by a second interrupt; 0 clears the slot.
void clinux_set_doomed_group(int slot, pid_t group);

/// Terminal width in columns, or 0 when `descriptor` is not a terminal.
int clinux_terminal_columns(int descriptor);
/// Terminal height in rows, or 0 when `descriptor` is not a terminal.
int clinux_terminal_rows(int descriptor);
/// Blocks these signals in the calling thread and gives a descriptor to take them from; `old` gets the mask before. -1 with errno set
/// on failure.
int clinux_signal_descriptor(const int *signals, int count, sigset_t *old);
/// The next signal of such a descriptor, or -1.
int clinux_next_signal(int descriptor);
