import CZydis
import Machine

/// A processor that carries out one instruction after the other: real mode, 16- and 32-bit protected mode and compatibility mode at
/// CPL 0, and single 64-bit instructions (those that touch device memory, and far transfers).
///
///     run: ┌▶ fetch (decode cache) ─▶ execute ─▶ RIP moves on ─┐─▶ event: device, HLT, 64-bit code, attention
///          └────────── exception: through the guest's IDT ◀────┘
///
/// What it does not do (ring 3, virtual-8086 mode, hardware tasks, call gates, floating point) ends with `.unsupported` and the
/// processor as it was before the instruction. Knows no VMM: memory and devices are behind `InterpreterBus`.
///
/// Safety: the unsafe pointers below are allocated in `init` with fixed capacities and freed in `deinit`; register numbers from the
/// decoder are below 16, segment numbers below 6. Host pages come from the bus, which vouches for 4096 bytes.
public final class Interpreter {
    /// RAX RCX RDX RBX RSP RBP RSI RDI R8…R15.
    public let registers: UnsafeMutablePointer<UInt64>
    /// ES CS SS DS FS GS.
    public let segments: UnsafeMutablePointer<SegmentRegister>
    public internal(set) var rip: UInt64 = 0
    public internal(set) var flags: UInt64 = Flag.always
    public internal(set) var cr0: UInt64 = Control.extensionType
    public internal(set) var cr2: UInt64 = 0
    public internal(set) var cr3: UInt64 = 0
    public internal(set) var cr4: UInt64 = 0
    public internal(set) var efer: UInt64 = 0
    public var gdtBase: UInt64 = 0
    public var gdtLimit: UInt16 = 0xFFFF
    public var idtBase: UInt64 = 0
    /// At a reset 0x3FF reaches for the whole real-mode table (Intel SDM vol. 3, table 9-1 has 0xFFFF).
    public var idtLimit: UInt16 = 0xFFFF
    public var task = SegmentRegister(selector: 0, limit: 0xFFFF, attributes: 0x8B)
    public var localTable = SegmentRegister(selector: 0, limit: 0xFFFF, attributes: 0x82)
    public var debugRegisters: [UInt64] = [0, 0, 0, 0, 0, 0, 0xFFFF_0FF0, 0x400]
    /// Instructions carried out so far.
    public internal(set) var instructions: UInt64 = 0

    unowned let bus: any InterpreterBus
    let decoder = Decoder()
    var mode = Decoder.Mode.real16
    /// Where the instruction being carried out ends, or where it branches to.
    var next: UInt64 = 0
    /// Set by an instruction that the caller has to hear of.
    var pendingEvent: Event?
    /// The instruction behind STI, MOV SS and POP SS runs before an interrupt can come.
    var interruptShadow = false
    /// PAE's four top-level entries, loaded with CR3 (Intel SDM vol. 3, 4.4.1).
    var directoryPointers: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    /// Becomes non-zero when the processor is wanted elsewhere; long string instructions look at it too.
    var attention: UnsafePointer<UInt64>

    // Memory (LinearMemory.swift).
    let translations: UnsafeMutablePointer<CachedTranslation>
    var generation: UInt64 = 1
    // Code (Fetch.swift).
    let decoded: UnsafeMutablePointer<CachedInstruction>
    let straddling: UnsafeMutablePointer<UInt8>
    private let snapshot: UnsafeMutablePointer<UInt64>
    private let neverWanted: UnsafeMutablePointer<UInt64>

    /// Why `run` returned.
    public enum Event: Equatable {
        /// The attention word was set.
        case attention
        /// A port, an MSR or device memory was accessed: devices may want something now.
        case device(Access)
        /// Interrupts have been enabled, or may be delivered now.
        case interruptWindow
        /// HLT; RIP is behind it.
        case halted
        /// CS is a 64-bit code segment now: not the interpreter's any more.
        case longMode
        case tripleFault
        /// The instruction at RIP, or what it asked for, is not supported; says what.
        case unsupported(String)

        public enum Access: Sendable, Equatable { case port, memory, msr, cpuid }
    }

    /// A processor in real mode at a flat address 0. `bus` must outlive it.
    public init(bus: any InterpreterBus) {
        self.bus = bus
        registers = .allocate(capacity: 16)
        registers.initialize(repeating: 0, count: 16)
        snapshot = .allocate(capacity: 16)
        snapshot.initialize(repeating: 0, count: 16)
        segments = .allocate(capacity: 6)
        segments.initialize(repeating: .real(0), count: 6)
        translations = .allocate(capacity: Self.translationCapacity)
        translations.initialize(repeating: CachedTranslation(), count: Self.translationCapacity)
        decoded = .allocate(capacity: Self.decodedCapacity)
        decoded.initialize(repeating: CachedInstruction(), count: Self.decodedCapacity)
        straddling = .allocate(capacity: 16)
        straddling.initialize(repeating: 0, count: 16)
        neverWanted = .allocate(capacity: 1)
        neverWanted.initialize(to: 0)
        attention = UnsafePointer(neverWanted)
    }

    deinit {
        neverWanted.deallocate()
        registers.deallocate()
        snapshot.deallocate()
        segments.deallocate()
        translations.deallocate()
        decoded.deallocate()
        straddling.deallocate()
    }

    // MARK: State

    /// Takes over state from outside. Nothing is checked; translations are forgotten.
    public func setControl(cr0: UInt64, cr2: UInt64, cr3: UInt64, cr4: UInt64, efer: UInt64) {
        self.cr0 = cr0
        self.cr2 = cr2
        self.cr3 = cr3
        self.cr4 = cr4
        self.efer = efer
        forgetTranslations()
        updateMode()
        if usesPAE { _ = loadDirectoryPointers(cr3) }
    }

    public func setProgram(rip: UInt64, flags: UInt64) {
        self.rip = rip
        self.flags = flags | Flag.always
    }

    /// Sets a segment register with its hidden part: 0…5 are ES CS SS DS FS GS.
    public func setSegment(_ number: Int, _ segment: SegmentRegister) {
        segments[number] = segment
        if number == 1 { updateMode() }
    }

    /// Whether CS is 64-bit code: the interpreter does single instructions only.
    public var isIn64BitMode: Bool { mode == .long64 }

    var isProtected: Bool { cr0 & Control.protectionEnable != 0 }
    var isPaged: Bool { cr0 & Control.paging != 0 }
    var isLongModeActive: Bool { efer & Control.longModeActive != 0 }
    /// PAE paging proper, with CR3-loaded directory pointers.
    var usesPAE: Bool { isPaged && cr4 & Control.physicalAddressExtension != 0 && !isLongModeActive }

    /// Call when CS, CR0.PE or EFER.LMA has changed.
    func updateMode() {
        let code = segments[1]
        if !isProtected {
            mode = code.isBig ? .real32 : .real16
        } else if isLongModeActive {
            mode = code.isLong ? .long64 : code.isBig ? .compatibility32 : .compatibility16
        } else {
            mode = code.isBig ? .legacy32 : .legacy16
        }
    }

    // MARK: Running

    /// Runs until something has to be dealt with outside. Exceptions go to the guest's handlers.
    ///
    /// - Parameter attention: looked at before each instruction; non-zero ends the run.
    public func run(attention: UnsafePointer<UInt64>) -> Event {
        self.attention = attention
        defer { self.attention = UnsafePointer(neverWanted) }
        while true {
            if let event = step() { return event }
            if attention.pointee != 0, !interruptShadow { return .attention }
        }
    }

    /// One instruction, or the delivery of the exception it raised. Nil: nothing to report.
    public func step() -> Event? {
        let shadowed = interruptShadow
        do throws(Interruption) {
            try carryOut()
        } catch {
            if let event = recover(error) { return event }
        }
        if shadowed {
            interruptShadow = false
            if pendingEvent == nil { return .interruptWindow }
        }
        guard let event = pendingEvent else { return nil }
        // What the instruction behind STI has to report comes after it.
        if interruptShadow && event == .interruptWindow { return nil }
        pendingEvent = nil
        return event
    }

    /// Carries out the instruction at RIP alone, giving an exception back instead of delivering it.
    public func single() -> Result<Event?, ProcessorException> {
        do throws(Interruption) {
            try carryOut()
        } catch {
            rollBack()
            pendingEvent = nil
            switch error {
            case .exception(let exception): return .failure(exception)
            case .unsupported(let what): return .success(Event.unsupported(what))
            }
        }
        let event = pendingEvent
        pendingEvent = nil
        interruptShadow = false
        return .success(event)
    }

    private var flagsBefore: UInt64 = 0

    private func carryOut() throws(Interruption) {
        snapshot.update(from: registers, count: 16)
        flagsBefore = flags
        let instruction = try fetch().pointee.instruction
        next = (rip &+ UInt64(instruction.length)) & instructionPointerMask
        try execute(instruction)
        instructions &+= 1
        rip = next
    }

    /// The state before the instruction (or element, or delivery) that failed.
    func rollBack() {
        registers.update(from: snapshot, count: 16)
        flags = flagsBefore
    }

    /// A repeated string instruction has done one more element: a later failure leaves what is done.
    func keepProgress() {
        snapshot.update(from: registers, count: 16)
        flagsBefore = flags
    }

    private func recover(_ interruption: Interruption) -> Event? {
        rollBack()
        switch interruption {
        case .unsupported(let what): return .unsupported(what)
        case .exception(let exception): return raise(exception)
        }
    }

    var instructionPointerMask: UInt64 {
        switch mode {
        case .long64: .max
        case .real32, .legacy32, .compatibility32: 0xFFFF_FFFF
        default: 0xFFFF
        }
    }
}
