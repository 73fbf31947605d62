/// Why guest execution was left: one fixed taxonomy for every technique, so that ledgers can be set side by side.
///
/// The raw value is the index into a ledger; `name` is what reports print and never changes meaning.
public enum ExitReason: UInt8, CaseIterable, Sendable {
    case portIO
    case mmio
    case hypercall
    case cpuid
    case msrRead
    case msrWrite
    case controlRegister
    case debugRegister
    case descriptorTable
    case halt
    case tlbInvalidate
    /// A guest system call that the VMM had to carry from ring 3 to ring 0.
    case systemCall
    /// A return from ring 0 to ring 3 (or to ring 0) that the VMM carried out: IRET, SYSRET.
    case interruptReturn
    /// An exception that the guest itself caused and handles (#DE, #UD, #BP …), page faults apart.
    case exception
    /// A page fault that the guest handles.
    case guestPageFault
    /// A fault only the VMM sees: shadow or nested page table filled.
    case shadowFill
    /// A write to a page the VMM watches (translated code, page tables).
    case tracedWrite
    /// A virtual interrupt was delivered.
    case interruptDelivery
    /// The host took the CPU back: timer kick, signal, preemption.
    case externalInterrupt
    /// Guest code was translated.
    case translation
    /// Look-up of an already translated block from the dispatcher.
    case dispatch
    /// Any other instruction that the VMM carried out for the guest.
    case emulatedInstruction
    /// The machine asked to stop (debug exit, shutdown).
    case shutdown
    case other

    public var name: String {
        switch self {
        case .portIO: "port-io"
        case .mmio: "mmio"
        case .hypercall: "hypercall"
        case .cpuid: "cpuid"
        case .msrRead: "msr-read"
        case .msrWrite: "msr-write"
        case .controlRegister: "control-register"
        case .debugRegister: "debug-register"
        case .descriptorTable: "descriptor-table"
        case .halt: "halt"
        case .tlbInvalidate: "tlb-invalidate"
        case .systemCall: "system-call"
        case .interruptReturn: "interrupt-return"
        case .exception: "exception"
        case .guestPageFault: "guest-page-fault"
        case .shadowFill: "shadow-fill"
        case .tracedWrite: "traced-write"
        case .interruptDelivery: "interrupt-delivery"
        case .externalInterrupt: "external-interrupt"
        case .translation: "translation"
        case .dispatch: "dispatch"
        case .emulatedInstruction: "emulated-instruction"
        case .shutdown: "shutdown"
        case .other: "other"
        }
    }
}
