import CLinux

/// The last sixteen exits, for diagnosis. Fixed storage: recording neither allocates nor retains.
struct ExitRing: ~Copyable {
    static let capacity = 16

    struct Entry {
        /// KVM_EXIT_… number, or `interrupted`.
        var reason: UInt32
        /// Port or guest-physical address.
        var address: UInt64
        var data: UInt64
        var isWrite: Bool
        var size: UInt8
        var tsc: UInt64
    }

    /// KVM_RUN came back with EINTR.
    static let interrupted: UInt32 = .max

    // Invariant: `capacity` initialised entries, freed in deinit only.
    private let entries: UnsafeMutablePointer<Entry>
    private var count = 0

    init() {
        entries = .allocate(capacity: Self.capacity)
        entries.initialize(
            repeating: Entry(reason: 0, address: 0, data: 0, isWrite: false, size: 0, tsc: 0), count: Self.capacity)
    }

    deinit { entries.deallocate() }

    @inline(__always)
    mutating func record(_ entry: Entry) {
        entries[count & (Self.capacity - 1)] = entry
        count &+= 1
    }

    /// One line an exit, oldest first, with the time before `end`.
    func lines(until end: UInt64, tscHertz: UInt64) -> [String] {
        let kept = min(count, Self.capacity)
        return (0..<kept).map { index in
            let entry = entries[(count - kept + index) & (Self.capacity - 1)]
            let age = Double(end &- entry.tsc) * 1e6 / Double(max(tscHertz, 1))
            return "  exit #\(count - kept + index + 1), \(Int(age)) µs before the end: \(Self.describe(entry))"
        }
    }

    private static func describe(_ entry: Entry) -> String {
        func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
        switch entry.reason {
        case UInt32(KVM_EXIT_IO):
            let direction = entry.isWrite ? "out" : "in"
            return "\(direction) port \(hex(entry.address)), \(entry.size) bytes, value \(hex(entry.data))"
        case UInt32(KVM_EXIT_MMIO):
            let direction = entry.isWrite ? "write to" : "read of"
            return "\(direction) guest-physical \(hex(entry.address)), \(entry.size) bytes, value \(hex(entry.data))"
        default: return KVMExit.name(entry.reason)
        }
    }
}

/// KVM's own names for exits (include/uapi/linux/kvm.h), and where they stand in the common taxonomy.
enum KVMExit {
    /// Reasons with a name of their own in ledgers: as many as KVM had for x86 when this was written, with room.
    private static let namedReasons = 48
    /// Raw reasons of a ledger: KVM's by number, then all others, then runs that a signal ended.
    static let ledgerNames =
        (0..<UInt32(namedReasons)).map(name) + ["another KVM exit", name(ExitRing.interrupted)]
    static let interruptedIndex = namedReasons + 1

    @inline(__always)
    static func ledgerIndex(_ reason: UInt32) -> Int { min(Int(reason), namedReasons) }

    static func name(_ reason: UInt32) -> String {
        switch reason {
        case UInt32(KVM_EXIT_UNKNOWN): "KVM_EXIT_UNKNOWN"
        case UInt32(KVM_EXIT_EXCEPTION): "KVM_EXIT_EXCEPTION"
        case UInt32(KVM_EXIT_IO): "KVM_EXIT_IO"
        case UInt32(KVM_EXIT_HYPERCALL): "KVM_EXIT_HYPERCALL"
        case UInt32(KVM_EXIT_DEBUG): "KVM_EXIT_DEBUG"
        case UInt32(KVM_EXIT_HLT): "KVM_EXIT_HLT"
        case UInt32(KVM_EXIT_MMIO): "KVM_EXIT_MMIO"
        case UInt32(KVM_EXIT_IRQ_WINDOW_OPEN): "KVM_EXIT_IRQ_WINDOW_OPEN"
        case UInt32(KVM_EXIT_SHUTDOWN): "KVM_EXIT_SHUTDOWN"
        case UInt32(KVM_EXIT_FAIL_ENTRY): "KVM_EXIT_FAIL_ENTRY"
        case UInt32(KVM_EXIT_INTR): "KVM_EXIT_INTR"
        case UInt32(KVM_EXIT_SET_TPR): "KVM_EXIT_SET_TPR"
        case UInt32(KVM_EXIT_TPR_ACCESS): "KVM_EXIT_TPR_ACCESS"
        case UInt32(KVM_EXIT_INTERNAL_ERROR): "KVM_EXIT_INTERNAL_ERROR"
        case UInt32(KVM_EXIT_SYSTEM_EVENT): "KVM_EXIT_SYSTEM_EVENT"
        case UInt32(KVM_EXIT_IOAPIC_EOI): "KVM_EXIT_IOAPIC_EOI"
        case UInt32(KVM_EXIT_X86_RDMSR): "KVM_EXIT_X86_RDMSR"
        case UInt32(KVM_EXIT_X86_WRMSR): "KVM_EXIT_X86_WRMSR"
        case ExitRing.interrupted: "KVM_RUN interrupted by a signal"
        default: "KVM exit \(reason)"
        }
    }
}
