import CLinux
import Glibc
import Machine

/// RFLAGS bits (Intel SDM vol. 1, 3.4.3).
enum Flags {
    static let arithmetic: UInt64 = 0x8D5
    static let zero: UInt64 = 1 << 6
    static let trap: UInt64 = 1 << 8
    static let interrupt: UInt64 = 1 << 9
    static let direction: UInt64 = 1 << 10
    static let ioPrivilege: UInt64 = 3 << 12
    static let nestedTask: UInt64 = 1 << 14
    static let resume: UInt64 = 1 << 16
    static let virtual8086: UInt64 = 1 << 17
    static let alignmentCheck: UInt64 = 1 << 18
    static let identification: UInt64 = 1 << 21
    /// Bits a guest can change from any ring and that live in the CPU while it runs.
    static let live: UInt64 = arithmetic | direction | identification
    static let always: UInt64 = 2
}

/// General-purpose registers in encoding order.
enum GPR {
    static let rax = 0
    static let rcx = 1
    static let rdx = 2
    static let rbx = 3
    static let rsp = 4
    static let rbp = 5
    static let rsi = 6
    static let rdi = 7
    static let r11 = 11
}

/// An exception on its way to the guest.
struct GuestException: Error {
    var vector: UInt8
    var errorCode: UInt32?
    /// CR2, for page faults.
    var address: UInt64?

    static let debug: UInt8 = 1
    static let invalidOpcode: UInt8 = 6
    static let deviceNotAvailable: UInt8 = 7
    static let doubleFault: UInt8 = 8
    static let segmentNotPresent: UInt8 = 11
    static let stackFault: UInt8 = 12
    static let generalProtection: UInt8 = 13
    static let pageFault: UInt8 = 14

    static let undefined = GuestException(vector: invalidOpcode)
    static let protection = GuestException(vector: generalProtection, errorCode: 0)
    /// A non-canonical address on the stack or relative to RSP or RBP.
    static let stack = GuestException(vector: stackFault, errorCode: 0)

    /// Faults are reported at the instruction, traps (#DB here, #BP, #OF) behind it, #DF is an abort.
    var isFault: Bool { ![Self.debug, 3, 4, Self.doubleFault].contains(vector) }
}

/// Why a machine cannot go on.
struct MachineStop: Error {
    var end: MachineEnd
    init(_ end: MachineEnd) { self.end = end }

    static func unsupported(_ what: String) -> MachineStop {
        MachineStop(.emulationFailure("the software VMM does not support \(what)"))
    }
}

/// One virtual CPU: the registers in the shared structure, and what the VMM virtualizes.
///
/// Safety: `state` is a mapping that lives as long as this object.
final class VirtualCPU {
    let state: UnsafeMutablePointer<vb_sw_vcpu>
    private static let stateBytes = (MemoryLayout<vb_sw_vcpu>.size + 4095) & ~4095
    private static let xsaveBytes = 16 << 10

    /// Guest RIP; valid between exit and entry.
    var rip: UInt64 = 0
    /// An interrupt window opens one instruction late, behind STI.
    var interruptShadow = false
    /// SS was loaded: no single-step trap behind that instruction.
    var debugShadow = false

    var cr0: UInt64
    var cr3: UInt64
    var cr4: UInt64
    var efer: UInt64 {
        didSet { vb_sw_allow_system_calls(state, Int32(efer & 1)) }
    }
    var star: UInt64 = 0 {
        didSet {
            // SYSCALL and SYSRET take their selectors from here (Intel SDM vol. 2).
            let call = star >> 32 & 0xFFFF
            let back = star >> 48 & 0xFFFF
            state.pointee.syscall_cs = call & ~3
            state.pointee.syscall_ss = (call + 8) & 0xFFFF
            state.pointee.sysret_cs = (back + 16 | 3) & 0xFFFF
            state.pointee.sysret_ss = (back + 8 | 3) & 0xFFFF
        }
    }
    var compatibilityStar: UInt64 = 0
    var kernelGSBase: UInt64 = 0
    var tscAuxiliary: UInt64 = 0
    var pageAttributes: UInt64 = 0x0007_0406_0007_0406
    var sysenter: (UInt64, UInt64, UInt64) = (0, 0, 0)
    var xcr0: UInt64 = 1
    var debugRegisters: [UInt64] = [0, 0, 0, 0, 0, 0, 0xFFFF_0FF0, 0x400]
    var idtBase: UInt64 = 0
    var idtLimit: UInt16 = 0
    var taskSelector: UInt16 = 0
    var taskBase: UInt64 = 0
    var taskLimit: UInt32 = 0
    var localSelector: UInt16 = 0
    var localBase: UInt64 = 0
    var localLimit: UInt32 = 0
    /// ES, DS, FS and GS at their encoding's number; those of CS and SS are `codeSelector` and `stackSelector`.
    var selectors: [UInt16] = [0x18, 0, 0, 0x18, 0, 0]
    var apic: LocalAPIC
    /// A PC's other devices, where the machine has them.
    let platform: PlatformDevices?

    /// XCR0 of the host, as far as guest state is switched.
    let hostXCR0: UInt64

    init(boot: BootState, tscHertz: UInt64, platform: PlatformDevices?) throws(MachineError) {
        guard
            let memory = mmap(
                nil, Self.stateBytes + Self.xsaveBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                -1, 0),
            memory != MAP_FAILED
        else { throw .last("mmap of the vCPU state") }
        state = memory.bindMemory(to: vb_sw_vcpu.self, capacity: 1)
        cr0 = boot.cr0
        cr3 = boot.cr3
        cr4 = boot.cr4
        efer = boot.efer
        apic = LocalAPIC(tscHertz: tscHertz)
        if !boot.startsInX2APICMode { apic.startInXAPICMode() }
        self.platform = platform
        // x87, SSE, AVX, AVX-512; not protection keys or AMX, which guests are not offered.
        hostXCR0 = vb_sw_xgetbv0() & 0b1110_0111
        state.pointee.xsave = UInt64(UInt(bitPattern: memory + Self.stateBytes))
        state.pointee.xsave_capacity = UInt64(Self.xsaveBytes)
        state.pointee.xcr0 = hostXCR0
        resetFPU()
        rip = boot.rip
        self[GPR.rax] = boot.rax
        self[GPR.rbx] = boot.rbx
        self[GPR.rdi] = boot.rdi
        state.pointee.rflags = boot.rflags
        gdtBase = boot.gdtBase
        gdtLimit = boot.gdtLimit
        codeSelector = 0x10
        stackSelector = 0x18
        star = 0
        vb_sw_prepare(state)
        vb_sw_allow_system_calls(state, Int32(efer & 1))
    }

    deinit { munmap(state, Self.stateBytes + Self.xsaveBytes) }

    /// State after FNINIT and with the default MXCSR: an XSAVE image with no component present.
    func resetFPU() {
        let area = UnsafeMutableRawPointer(bitPattern: UInt(state.pointee.xsave))!
        memset(area, 0, Self.xsaveBytes)
        area.storeBytes(of: 0x37F, as: UInt16.self)
        area.storeBytes(of: 0x1F80, toByteOffset: 24, as: UInt32.self)
    }

    /// The XSAVE image, for `restoreFPUState`.
    func copyOfFPUState() -> [UInt8] {
        let area = UnsafeRawPointer(bitPattern: UInt(state.pointee.xsave))!
        return [UInt8](UnsafeRawBufferPointer(start: area, count: Self.xsaveBytes))
    }

    /// - Parameter image: of `copyOfFPUState`.
    func restoreFPUState(_ image: [UInt8]) {
        precondition(image.count == Self.xsaveBytes, "an image of this CPU's size")
        let area = UnsafeMutableRawPointer(bitPattern: UInt(state.pointee.xsave))!
        image.withUnsafeBytes { area.copyMemory(from: $0.baseAddress!, byteCount: Self.xsaveBytes) }
    }

    private var registers: UnsafeMutablePointer<UInt64> {
        UnsafeMutableRawPointer(state).assumingMemoryBound(to: UInt64.self)
    }

    subscript(register: Int) -> UInt64 {
        get { registers[register] }
        set { registers[register] = newValue }
    }

    var spillSlots: UnsafeMutablePointer<UInt64> {
        UnsafeMutableRawPointer(state).advanced(by: Int(VB_SW_SPILL)).assumingMemoryBound(
            to: UInt64.self)
    }

    // What translated code and its trampolines change too lives in the shared structure.

    /// CPL: 0 or 3.
    var privilege: UInt8 {
        get { UInt8(truncatingIfNeeded: state.pointee.cpl) }
        set { state.pointee.cpl = UInt64(newValue) }
    }

    var codeSelector: UInt16 {
        get { UInt16(truncatingIfNeeded: state.pointee.code_selector) }
        set { state.pointee.code_selector = UInt64(newValue) }
    }

    var stackSelector: UInt16 {
        get { UInt16(truncatingIfNeeded: state.pointee.stack_selector) }
        set { state.pointee.stack_selector = UInt64(newValue) }
    }

    var cr2: UInt64 {
        get { state.pointee.cr2 }
        set { state.pointee.cr2 = newValue }
    }

    var longStar: UInt64 {
        get { state.pointee.long_star }
        set { state.pointee.long_star = newValue }
    }

    var systemCallMask: UInt64 {
        get { state.pointee.syscall_mask }
        set { state.pointee.syscall_mask = newValue }
    }

    var gdtBase: UInt64 {
        get { state.pointee.gdt_base }
        set { state.pointee.gdt_base = newValue }
    }

    var gdtLimit: UInt16 {
        get { UInt16(truncatingIfNeeded: state.pointee.gdt_limit) }
        set { state.pointee.gdt_limit = UInt64(newValue) }
    }

    /// Flags only the VMM keeps: what the guest set of TF, IOPL, NT and AC while they are not live.
    private var keptFlags: UInt64 {
        get { state.pointee.kept_flags }
        set { state.pointee.kept_flags = newValue }
    }

    var interruptsEnabled: Bool {
        get { state.pointee.vif != 0 }
        set { state.pointee.vif = newValue ? 1 : 0 }
    }

    /// RFLAGS as the guest sees them.
    var flags: UInt64 {
        get {
            state.pointee.rflags & Flags.live | keptFlags | Flags.always
                | (interruptsEnabled ? Flags.interrupt : 0)
        }
        set {
            state.pointee.rflags = newValue & Flags.live | Flags.always | Flags.interrupt
            keptFlags = newValue & (Flags.alignmentCheck | Flags.nestedTask | Flags.trap | Flags.ioPrivilege)
            interruptsEnabled = newValue & Flags.interrupt != 0
        }
    }

    /// Takes over flags that the CPU held when the guest was interrupted in ring 3, where it may have changed more of them.
    func keepUserFlags() {
        keptFlags =
            keptFlags & Flags.ioPrivilege
            | state.pointee.rflags & (Flags.alignmentCheck | Flags.nestedTask | Flags.trap)
    }

    /// TF was the VMM's, not the guest's.
    func endDirectStep() { keptFlags &= ~Flags.trap }

    /// Flags with which the CPU goes on in the guest.
    func prepareFlags() {
        var value = state.pointee.rflags & Flags.live | Flags.always | Flags.interrupt
        if privilege == 3 && cr0 & 1 << 18 != 0 { value |= keptFlags & Flags.alignmentCheck }
        if privilege == 3 { value |= keptFlags & Flags.trap }
        state.pointee.rflags = value
    }

    // MARK: Interrupts and timers, of the local APIC and of the platform's devices

    /// Whether an interrupt waits that only RFLAGS.IF could hold back.
    var hasDeliverableInterrupt: Bool {
        if let platform {
            platform.deliver(to: &apic)
            if platform.hasExternalInterrupt && apic.acceptsExternalInterrupts { return true }
        }
        return apic.deliverable != nil
    }

    /// Takes the interrupt that waits; those of the 8259s come first, as in KVM.
    func acknowledgeInterrupt() -> UInt8? {
        if let platform {
            platform.deliver(to: &apic)
            if platform.hasExternalInterrupt && apic.acceptsExternalInterrupts {
                return platform.acknowledgeExternalInterrupt()
            }
        }
        guard let vector = apic.deliverable else { return nil }
        apic.acknowledge(vector)
        return vector
    }

    func pollTimers(now: UInt64) {
        apic.poll(now: now)
        platform?.poll(now: now)
    }

    /// TSC at which a timer is due next; nil: never.
    var timerDeadline: UInt64? {
        guard let platform, let other = platform.deadline else { return apic.deadline }
        return apic.deadline.map { min($0, other) } ?? other
    }

    var singleStepping: Bool { keptFlags & Flags.trap != 0 }

    var pagingMode: PagingMode {
        PagingMode(
            root: cr3, writeProtect: cr0 & 1 << 16 != 0, globalPages: cr4 & 1 << 7 != 0,
            noExecute: efer & 1 << 11 != 0)
    }
}
