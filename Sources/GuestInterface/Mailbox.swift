/// The mailbox: an append-only log of records in guest RAM, from guest to host.
///
///     offset 0   MailboxHeader (64 bytes)
///     offset 64  records, each: MailboxRecordHeader (16 bytes), payload, padding to 8 bytes
///
/// The guest appends a record, then raises `used`. It rings `Port.doorbell` when the host should look now (program
/// output waits, a phase begins, the log is three quarters full) and at the end. The host drains by reading
/// `used` bytes and storing 0 there, before the guest's `out` completes. Without a host that drains (QEMU on its own), the log fills; what
/// does not fit is dropped and counted in `dropped`. A host that shares the memory can be called by the serial port instead
/// (`Doorbell.serialOption`).
///
/// The guest is hostile: a host reads the header once into its own memory and checks every length.
public struct MailboxHeader: BitwiseCopyable {
    /// "VBENCHMB" read as a little-endian 64-bit number.
    public static let magicValue: UInt64 = 0x424D_4843_4E45_4256
    public static let bytes: UInt64 = 64

    public var magic: UInt64 = MailboxHeader.magicValue
    public var version: UInt32 = 1
    /// Bytes available for records (mailbox size less this header). Written by the guest at start.
    public var capacity: UInt32 = 0
    /// Bytes of records now in the log.
    public var used: UInt32 = 0
    /// Records that did not fit.
    public var dropped: UInt32 = 0

    public init() {}
}

public struct MailboxRecordHeader: BitwiseCopyable {
    public static let bytes: UInt64 = 16

    /// A `MailboxRecordKind` value.
    public var kind: UInt16
    /// Depends on the kind; for `output` the stream (1 standard output, 2 standard error).
    public var detail: UInt16
    /// Payload bytes, without padding.
    public var length: UInt32
    /// Guest TSC when the record was made.
    public var tsc: UInt64

    public init(kind: UInt16, detail: UInt16, length: UInt32, tsc: UInt64) {
        self.kind = kind
        self.detail = detail
        self.length = length
        self.tsc = tsc
    }
}

public enum MailboxRecordKind {
    /// UTF-8 text that a program wrote to `/dev/vbench` (see `ProgramRecord` syntax in Workloads/README.md).
    public static let programRecord: UInt16 = 1
    /// The guest reached a phase; `detail` is a `BootPhase`, no payload.
    public static let phase: UInt16 = 2
    /// The program ended: `ProgramExitRecord`.
    public static let programExit: UInt16 = 3
    /// One system call number that Nub does not implement: `SystemCallCountRecord`.
    public static let unknownSystemCall: UInt16 = 4
    /// The kernel panicked: `KernelPanicRecord`, then UTF-8 text.
    public static let kernelPanic: UInt16 = 5
    /// Bytes that the program wrote to its terminal; `detail` is the stream.
    public static let output: UInt16 = 6
    /// A line of the kernel's own log, UTF-8.
    public static let kernelMessage: UInt16 = 7
    /// What a program calls a timed phase: `detail` is its number, the payload its name in UTF-8.
    public static let phaseName: UInt16 = 8
}

/// Moments of a guest's life (`detail` of a `phase` record).
public enum BootPhase {
    /// First instructions of the kernel.
    public static let kernelEntry: UInt16 = 1
    /// Kernel is up, file tree unpacked.
    public static let kernelReady: UInt16 = 2
    /// The next instruction is the program's first.
    public static let programStart: UInt16 = 3
}

/// Payload of `programExit`. Counts are over the whole life of the guest.
public struct ProgramExitRecord: BitwiseCopyable {
    /// Status as `wait4` gives it (exit code in bits 8–15, or the signal in bits 0–6).
    public var status: Int32 = 0
    public var reserved: UInt32 = 0
    /// TSC at the program's first instruction and at its exit.
    public var startTSC: UInt64 = 0
    public var endTSC: UInt64 = 0
    public var systemCalls: UInt64 = 0
    public var pageFaults: UInt64 = 0
    public var copyOnWriteFaults: UInt64 = 0
    public var contextSwitches: UInt64 = 0
    /// Interrupts of the local APIC's timer: ticks of the scheduler, and ends of waits.
    public var timerTicks: UInt64 = 0
    public var processes: UInt64 = 0
    /// Most RAM in use at any time, in bytes.
    public var peakMemoryBytes: UInt64 = 0

    public init() {}
}

public struct SystemCallCountRecord: BitwiseCopyable {
    public var number: UInt32 = 0
    public var reserved: UInt32 = 0
    public var count: UInt64 = 0

    public init() {}
}

/// Payload of `kernelPanic`; `textLength` bytes of UTF-8 follow.
public struct KernelPanicRecord: BitwiseCopyable {
    public var vector: UInt32 = 0
    public var errorCode: UInt32 = 0
    public var rip: UInt64 = 0
    public var rsp: UInt64 = 0
    public var rflags: UInt64 = 0
    public var cr2: UInt64 = 0
    public var cr3: UInt64 = 0
    /// RAX RCX RDX RBX RSP RBP RSI RDI R8…R15, the encoding order of the SDM.
    public var registers:
        (
            UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64,
            UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64
        ) = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    /// Return addresses, innermost first; zero ends the list.
    public var backtrace:
        (
            UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64,
            UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64
        ) = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    public var textLength: UInt32 = 0
    public var reserved: UInt32 = 0

    public init() {}
}
