import CLinux
import Glibc

/// Takes from this process, for good, every right that a VMM does not need once its guest runs.
public struct Jail: Sendable {
    /// System calls that stay possible.
    public var filter: SeccompFilter

    public init(filter: SeccompFilter) { self.filter = filter }

    /// No new privileges, no capabilities, no core file, no new processes, then the filter.
    ///
    /// The calling thread's capabilities are dropped; the filter holds for all threads.
    /// - Throws: `HostError` at the first step that fails; the guest must not run then.
    public func enter() throws(HostError) {
        guard clinux_no_new_privileges() == 0 else { throw HostError("set no_new_privs") }
        // PR_SET_DUMPABLE 0 would also keep other processes of the user from looking in, but gives the /proc files of this
        // process to root, which the lab that supervises it may not be.
        guard clinux_forbid_core_files() == 0 else { throw HostError("limit core files") }
        guard clinux_forbid_processes() == 0 else { throw HostError("limit processes") }
        guard clinux_drop_capabilities() == 0 else { throw HostError("drop capabilities") }
        try filter.install()
    }
}

extension SeccompFilter {
    /// What any VMM process of ours needs after set-up: memory (never executable), locks, clocks, timers, signals, open
    /// descriptors, its end. Looking up files fails with EACCES; the C library asks for some at odd times and copes.
    ///
    /// Add the calls of the technique before or after; an earlier rule wins.
    public static func vmmBase(default verdict: Verdict = .killProcess) -> SeccompFilter {
        var filter = SeccompFilter(default: verdict)
        filter.add([.write, .read, .futex, .rtSigreturn], .allow)
        filter.addMemoryWithoutExecution()
        filter.add(
            [
                .writev, .readv, .pread64, .pwrite64, .close, .lseek,
                .poll, .ppoll, .fstat,
                .munmap, .madvise, .brk, .mremap, .membarrier,
                .rtSigprocmask, .rtSigaction, .sigaltstack, .restartSyscall,
                .clockGettime, .clockGetres, .clockNanosleep, .nanosleep,
                .gettimeofday, .time,
                .timerSettime, .timerGettime, .timerDelete,
                .getpid, .gettid, .getppid, .getuid, .getrusage,
                .schedYield, .schedGetaffinity, .getcpu, .sysinfo, .uname,
                .getrandom, .setRobustList, .rseq, .exit, .exitGroup,
            ], .allow)
        // Signals to this process only.
        let own = Condition(argument: 0, mask: .max, equals: UInt32(bitPattern: getpid()))
        filter.add(.tgkill, .allow, if: own)
        filter.add(
            [
                .open, .openat, .stat, .lstat, .newfstatat, .statx,
                .access, .faccessat, .faccessat2, .readlink, .readlinkat,
                .getcwd,
            ], .refuse(errno: EACCES))
        return filter
    }

    /// mmap and mprotect, but never with PROT_EXEC: no new code in this process.
    private mutating func addMemoryWithoutExecution() {
        let notExecutable = Condition(argument: 2, mask: UInt32(PROT_EXEC), equals: 0)
        add(.mmap, .allow, if: notExecutable)
        add(.mprotect, .allow, if: notExecutable)
    }
}
