/// Single operations of a kernel, timed one kind at a time by the program `nanobench`: in a guest by Nub in ring 0, natively as far
/// as ring 3 can do them. Workloads/README.md says what one operation of each is.
///
/// Nub's own system call `systemCall` times them: arguments RDI the raw value, RSI loop iterations (of `unrolled` operations each),
/// RDX where to put a `NanobenchmarkResult`. It returns 0 or the negative of an error number: EINVAL for arguments that make no
/// sense, EOPNOTSUPP where the operation cannot be done, with a `NanobenchmarkObstacle` in the result. No iterations at all ask
/// whether it can. On any other kernel the number is unknown (ENOSYS).
///
/// Ring 0 runs with interrupts off, but for the operations that are interrupts.
public enum Nanobenchmark: UInt32 {
    /// Nothing but the loop that the others are in: its time is taken off theirs.
    case loop = 0
    /// CALL and RET.
    case callReturn = 1
    /// IN from `Port.postCode`, an emulated port with no device behind it.
    case portRead = 2
    /// SYSCALL from ring 3 and back. The program does it; Nub only answers.
    case nullSystemCall = 3
    /// MOV to CR8.
    case cr8Write = 4
    /// A load that faults, and a handler that steps over it.
    case pageFault = 5
    /// A division by zero, and a handler that steps over it.
    case divideError = 6
    /// A store to an entry of the page tables in use.
    case pageTableWrite = 7
    case cpuid = 8
    case rdtsc = 9
    case rdtscp = 10
    /// VMCALL or VMMCALL, by the CPU's vendor, with a number that no hypervisor knows.
    case hypercall = 11
    /// OUT of a byte to `Port.postCode`.
    case portWrite = 12
    /// Load of `BootLayout.testDevice`.
    case mmioRead = 13
    /// Store to `BootLayout.testDevice`.
    case mmioWrite = 14
    /// RDMSR and WRMSR of IA32_KERNEL_GS_BASE, which hypervisors leave to the guest.
    case msrRead = 15
    case msrWrite = 16
    /// RDMSR and WRMSR of IA32_BIOS_SIGN_ID, which hypervisors emulate; writes have no effect.
    case msrReadEmulated = 17
    case msrWriteEmulated = 18
    /// MOV of its own value to CR3.
    case cr3Write = 19
    /// The same, and a load from each of 64 pages that are not global.
    case cr3WriteWorkingSet = 20
    /// INVLPG of a page that is mapped and used.
    case invlpg = 21
    /// An interrupt to itself, handled and ended.
    case selfInterrupt = 22
    /// Start of the local APIC's timer.
    case timerArm = 23
    /// From the timer's deadline to the handler's first instructions, while the CPU works.
    case timerDelivery = 24
    /// From the timer's deadline to the handler's first instructions, out of HLT.
    case haltWakeup = 25
    /// First store to a page of RAM that the guest has never used.
    case coldPage = 26
    /// Switch to another address space and kernel stack.
    case contextSwitch = 27
    /// OUT of 32 bits to `Port.worldSwitch`: into the VMM's own loop and back, with nothing to do there.
    case worldSwitch = 28
    /// Not an operation: the least time between two time stamps, and as the check the greatest common divisor of such times.
    case timeStamp = 29

    /// Linux gives out numbers from below; its own end at 511, where the x32 ABI's begin.
    public static let systemCall = 511
    /// Most iterations of one system call: some seconds even where every instruction of ring 0 is emulated.
    public static let iterationLimit: UInt64 = 1 << 20

    /// Operations of one iteration of the loop.
    public var unrolled: UInt64 {
        switch self {
        case .cr3WriteWorkingSet, .selfInterrupt, .timerDelivery, .haltWakeup, .timeStamp: 1
        default: 16
        }
    }

    /// Whether the time is that of a loop, of which the empty loop's is to be taken off. The others are times from one moment to
    /// another, summed up.
    public var isLoop: Bool {
        switch self {
        case .loop, .timerDelivery, .haltWakeup, .timeStamp: false
        default: true
        }
    }

    /// The phase's name in records and reports.
    public var name: StaticString {
        switch self {
        case .loop: "loop"
        case .callReturn: "callret"
        case .portRead: "in"
        case .nullSystemCall: "syscall"
        case .cr8Write: "cr8wr"
        case .pageFault: "pgfault"
        case .divideError: "divzero"
        case .pageTableWrite: "ptemod"
        case .cpuid: "cpuid"
        case .rdtsc: "rdtsc"
        case .rdtscp: "rdtscp"
        case .hypercall: "hypercall"
        case .portWrite: "out"
        case .mmioRead: "mmio-read"
        case .mmioWrite: "mmio-write"
        case .msrRead: "msr-read"
        case .msrWrite: "msr-write"
        case .msrReadEmulated: "msr-read-emulated"
        case .msrWriteEmulated: "msr-write-emulated"
        case .cr3Write: "cr3-write"
        case .cr3WriteWorkingSet: "cr3-write-working-set"
        case .invlpg: "invlpg"
        case .selfInterrupt: "self-ipi"
        case .timerArm: "timer-arm"
        case .timerDelivery: "timer-delivery"
        case .haltWakeup: "halt-wakeup"
        case .coldPage: "cold-page"
        case .contextSwitch: "context-switch"
        case .worldSwitch: "world-switch"
        case .timeStamp: "time-stamp"
        }
    }
}

/// What a nanobenchmark gives.
public struct NanobenchmarkResult: BitwiseCopyable {
    /// TSC cycles of all operations, the loop's included (see `Nanobenchmark.isLoop`).
    public var cycles: UInt64 = 0
    /// Operations seen to be done; or the raw value of a `NanobenchmarkObstacle`.
    public var check: UInt64 = 0

    public init() {}
}

/// Why an operation cannot be timed in ring 0 of this machine.
public enum NanobenchmarkObstacle: UInt64 {
    /// `BootQuirks` say that the instruction does not work.
    case quirk = 1
    /// The CPU has no such instruction, by CPUID or by #UD.
    case undefined = 2
    /// #GP.
    case protected = 3
    /// The machine has no such device.
    case noDevice = 4
    /// The interrupt did not arrive within seconds.
    case noInterrupt = 5
    /// RAM for page tables, or RAM never used, has run out.
    case noMemory = 6
    /// The timer counts by another clock than the TSC, and only estimates of their frequencies are known.
    case unknownClock = 7

    /// For a person, behind "not available: ".
    public var reason: StaticString {
        switch self {
        case .quirk: "the instruction does not work in ring 0 of this VMM"
        case .undefined: "the CPU has no such instruction in ring 0 here"
        case .protected: "the CPU refuses it in ring 0 here (#GP)"
        case .noDevice: "the machine has no such device"
        case .noInterrupt: "the interrupt did not arrive"
        case .noMemory: "the guest has too little RAM that was never used"
        case .unknownClock: "how the timer's clock and the TSC relate is not known well enough"
        }
    }
}
