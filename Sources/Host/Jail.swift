import CLinux
import Glibc

/// Takes from this process, for good, every right that a VMM does not need once its guest runs.
public struct Jail: Sendable {
    /// System calls that stay possible.
    public var filter: SeccompFilter
    /// What the process may take beyond the memory it has, so that it cannot exhaust the host's.
    public var memory: MemoryAllowance

    /// Bytes.
    public struct MemoryAllowance: Sendable {
        /// Private writable memory (RLIMIT_DATA). Guest RAM is shared memory and not counted.
        public var privateBytes: UInt64
        /// Address space (RLIMIT_AS): bounds what page tables can take, a five-hundredth of it.
        public var addressSpaceBytes: UInt64

        public init(privateBytes: UInt64 = 1 << 30, addressSpaceBytes: UInt64 = 256 << 30) {
            self.privateBytes = privateBytes
            self.addressSpaceBytes = addressSpaceBytes
        }
    }

    public init(filter: SeccompFilter, memory: MemoryAllowance = MemoryAllowance()) {
        self.filter = filter
        self.memory = memory
    }

    /// No new privileges, no capabilities, no core file, no new processes, bounded memory, then the filter.
    ///
    /// The calling thread's capabilities are dropped; the filter holds for all threads.
    /// - Throws: `HostError` at the first step that fails; the guest must not run then.
    public func enter() throws(HostError) {
        guard clinux_no_new_privileges() == 0 else { throw HostError("set no_new_privs") }
        // PR_SET_DUMPABLE 0 would also keep other processes of the user from looking in, but gives the /proc files of this
        // process to root, which the lab that supervises it may not be.
        guard clinux_forbid_core_files() == 0 else { throw HostError("limit core files") }
        guard clinux_forbid_processes() == 0 else { throw HostError("limit processes") }
        let (space, data) = try Self.memoryInUse()
        guard clinux_limit_memory(data &+ memory.privateBytes, space &+ memory.addressSpaceBytes) == 0 else {
            throw HostError("limit memory")
        }
        guard clinux_drop_capabilities() == 0 else { throw HostError("drop capabilities") }
        try filter.install()
    }

    /// Address space and private writable memory, in bytes: the first and sixth number of /proc/self/statm, in pages (proc(5)).
    private static func memoryInUse() throws(HostError) -> (space: UInt64, data: UInt64) {
        let file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw HostError("open /proc/self/statm") }
        defer { close(file) }
        var text = [UInt8](repeating: 0, count: 256)
        let count = read(file, &text, text.count)
        let pages = text.prefix(max(0, count)).split(whereSeparator: { $0 <= UInt8(ascii: " ") })
            .compactMap { UInt64(String(decoding: $0, as: UTF8.self)) }
        guard pages.count >= 6 else { throw HostError("read /proc/self/statm") }
        return (pages[0] * 4096, pages[5] * 4096)
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

    /// mmap and mprotect, but never with PROT_EXEC: no new code in this process. No shared memory without a file either: it would
    /// count towards no limit.
    private mutating func addMemoryWithoutExecution() {
        let sharedAnonymous = UInt32(MAP_SHARED | MAP_ANONYMOUS)
        add(
            .mmap, .killProcess, if: Condition(argument: 3, mask: sharedAnonymous, equals: sharedAnonymous),
            otherwise: nil)
        let notExecutable = Condition(argument: 2, mask: UInt32(PROT_EXEC), equals: 0)
        add(.mmap, .allow, if: notExecutable)
        add(.mprotect, .allow, if: notExecutable)
    }
}
