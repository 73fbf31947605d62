import CLinux
import Host
import Interpreter
import Machine

/// The interpreter as part of the software VMM: it runs the guest while that is not in 64-bit mode, and carries out single 64-bit
/// instructions that touch device memory or leave 64-bit mode.
///
///     translator ── far transfer to 16- or 32-bit code ──▶ interpreter
///         ▲                                                    │
///         └────────── far transfer to 64-bit code ◀────────────┘
///
/// While it is active its registers are the guest's; they are copied to `VirtualCPU` after each run, for interrupts, halts and the
/// diagnosis. Translations of pages that it writes go; shadow mappings go when 64-bit code is reached again.
final class LegacyExecution: InterpreterBus {
    /// Set once, right after the machine's own initialization; the machine owns this object.
    unowned(unsafe) var machine: SoftwareMachine! = nil
    private(set) var isActive = false
    private(set) lazy var interpreter = Interpreter(bus: self)
    private let cpu: VirtualCPU
    private let memory: GuestMemory

    init(cpu: VirtualCPU, memory: GuestMemory) {
        self.cpu = cpu
        self.memory = memory
    }

    // MARK: State

    /// Starts the guest in the interpreter.
    func start(_ boot: BootState) {
        interpreter.setControl(cr0: boot.cr0, cr2: 0, cr3: boot.cr3, cr4: boot.cr4, efer: boot.efer)
        for number in 0..<6 { interpreter.setSegment(number, boot.data) }
        interpreter.setSegment(1, boot.code)
        interpreter.task = boot.task
        interpreter.gdtBase = boot.gdtBase
        interpreter.gdtLimit = boot.gdtLimit
        interpreter.idtLimit = 0
        for number in 0..<16 { interpreter.registers[number] = cpu[number] }
        interpreter.setProgram(rip: boot.rip, flags: boot.rflags)
        isActive = true
        copyOut()
    }

    /// Interpreter to vCPU, as far as it is of use while the interpreter is active.
    func copyOut() {
        for number in 0..<16 { cpu[number] = interpreter.registers[number] }
        cpu.rip = interpreter.rip
        cpu.flags = interpreter.flags
        cpu.cr0 = interpreter.cr0
        cpu.cr2 = interpreter.cr2
        cpu.cr3 = interpreter.cr3
        cpu.cr4 = interpreter.cr4
        cpu.efer = interpreter.efer
        cpu.codeSelector = interpreter.segments[1].selector
        cpu.stackSelector = interpreter.segments[2].selector
        for number in [0, 3, 4, 5] { cpu.selectors[number] = interpreter.segments[number].selector }
        cpu.privilege = 0
    }

    /// The vCPU, at CPL 0 in 64-bit mode, to the interpreter.
    func copyIn() {
        for number in 0..<16 { interpreter.registers[number] = cpu[number] }
        interpreter.setProgram(rip: cpu.rip, flags: cpu.flags)
        interpreter.setControl(cr0: cpu.cr0, cr2: cpu.cr2, cr3: cpu.cr3, cr4: cpu.cr4, efer: cpu.efer)
        interpreter.setSegment(1, .code64(cpu.codeSelector))
        interpreter.gdtBase = cpu.gdtBase
        interpreter.gdtLimit = cpu.gdtLimit
        interpreter.idtBase = cpu.idtBase
        interpreter.idtLimit = cpu.idtLimit
        interpreter.task = SegmentRegister(
            selector: cpu.taskSelector, base: cpu.taskBase, limit: cpu.taskLimit, attributes: 0x8B)
        // Present unless its selector is null.
        interpreter.localTable = SegmentRegister(
            selector: cpu.localSelector, base: cpu.localBase, limit: cpu.localLimit,
            attributes: cpu.localSelector & ~3 == 0 ? 0 : 0x82)
        interpreter.debugRegisters = cpu.debugRegisters
        copyDataSegments()
    }

    /// Hidden parts of data segments do not count in 64-bit mode and are not kept there: they are what the descriptor tables hold now.
    private func copyDataSegments() {
        for number in [0, 2, 3, 4, 5] {
            let selector = number == 2 ? cpu.stackSelector : cpu.selectors[number]
            var segment = SegmentRegister(selector: selector, limit: 0, attributes: 0)
            if selector & ~3 != 0, let found = interpreter.descriptorIfPresent(selector) {
                segment = SegmentRegister(selector: selector, descriptor: found)
            }
            if number == 4 { segment.base = cpu.state.pointee.guest_fs_base }
            if number == 5 { segment.base = cpu.state.pointee.guest_gs_base }
            interpreter.setSegment(number, segment)
        }
    }

    /// 64-bit code has been reached: the rest of the state for the translator. Throws what that cannot carry.
    func leave() throws(MachineStop) {
        copyOut()
        machine.updateWithheldInstructions()
        cpu.state.pointee.guest_fs_base = interpreter.segments[4].base
        cpu.state.pointee.guest_gs_base = interpreter.segments[5].base
        cpu.gdtBase = interpreter.gdtBase
        cpu.gdtLimit = interpreter.gdtLimit
        cpu.idtBase = interpreter.idtBase
        cpu.idtLimit = interpreter.idtLimit
        cpu.taskSelector = interpreter.task.selector
        cpu.taskBase = interpreter.task.base
        cpu.taskLimit = interpreter.task.limit
        cpu.localSelector = interpreter.localTable.selector
        cpu.localBase = interpreter.localTable.base
        cpu.localLimit = interpreter.localTable.limit
        cpu.debugRegisters = interpreter.debugRegisters
        isActive = false
    }

    /// The guest has left 64-bit mode by an instruction that the interpreter carried out.
    func enter() { isActive = true }

    // MARK: InterpreterBus

    func page(at physical: UInt64, forWriting: Bool) -> UnsafeMutableRawPointer? {
        guard let host = memory.pointer(to: GuestPhysicalAddress(physical), count: 4096) else { return nil }
        if forWriting, let offset = memory.fileOffset(of: GuestPhysicalAddress(physical)) {
            machine.noticeWrite(to: offset)
        }
        return host
    }

    func readDevice(_ physical: UInt64, size: Int) -> UInt64? { machine.readDevice(physical, size: size) }

    func writeDevice(_ physical: UInt64, size: Int, value: UInt64) -> Bool {
        machine.writeDevice(physical, size: size, value: value)
    }

    func readPort(_ port: UInt16, size: Int) -> UInt32 { machine.ports.read(port, size: size) }

    func writePort(_ port: UInt16, size: Int, value: UInt32) {
        machine.writePort(port, size: size, value: value)
    }

    func readMSR(_ number: UInt32) -> UInt64? {
        do throws(GuestException) { return try machine.readMSR(number) } catch { return nil }
    }

    func writeMSR(_ number: UInt32, _ value: UInt64) -> Bool {
        do throws(GuestException) {
            try machine.writeMSR(number, value)
            return true
        } catch { return false }
    }

    func cpuid(
        _ leaf: UInt32, _ subleaf: UInt32, cr4: UInt64
    ) -> (eax: UInt32, ebx: UInt32, ecx: UInt32, edx: UInt32) {
        cpu.cr4 = cr4
        let found = VirtualCPUID.leaf(leaf, subleaf, cpu: cpu)
        return (found.eax, found.ebx, found.ecx, found.edx)
    }

    func timestamp() -> UInt64 { TimestampCounter.now() }

    var taskPriority: UInt64 {
        get { cpu.apic.cr8 }
        set { cpu.apic.cr8 = newValue }
    }

    var offeredCR4: UInt64 { SoftwareMachine.offeredCR4 }

    func resetFPU() { cpu.resetFPU() }
}

extension SoftwareMachine {
    /// Runs the guest outside 64-bit mode until something is to be done for it.
    func interpretLegacy() throws(MachineStop) {
        exitReason = .emulatedInstruction
        let kick = UnsafeRawPointer(cpu.state).advanced(by: Int(VB_SW_KICK)).assumingMemoryBound(to: UInt64.self)
        let event = legacy.interpreter.run(attention: kick)
        legacy.copyOut()
        try take(event)
    }

    /// Delivers an interrupt outside 64-bit mode.
    func interruptLegacy(_ vector: UInt8) throws(MachineStop) {
        let event = legacy.interpreter.interrupt(vector)
        legacy.copyOut()
        if let event { try take(event) }
    }

    private func take(_ event: Interpreter.Event) throws(MachineStop) {
        switch event {
        case .attention: exitReason = .externalInterrupt
        case .device(.port): exitReason = .portIO
        case .device(.memory): exitReason = .mmio
        case .device(.msr): exitReason = .msrWrite
        case .device(.cpuid): exitReason = .cpuid
        case .interruptWindow: break
        case .halted:
            exitReason = .halt
            halted = true
        case .longMode:
            try legacy.leave()
            dropTranslations(all: true)
        case .tripleFault: throw MachineStop(.tripleFault)
        case .unsupported(let what): throw .unsupported("\(what), at \(hex(cpu.rip))")
        }
    }

    /// Carries out the 64-bit instruction at RIP, at CPL 0, with the interpreter: accesses to device memory, far transfers. Throws the
    /// exception the guest must see.
    func interpretInstruction() throws(GuestException) {
        legacy.copyIn()
        switch legacy.interpreter.single() {
        case .failure(let exception):
            throw GuestException(
                vector: exception.vector, errorCode: exception.errorCode, address: exception.address)
        case .success(.unsupported(let what)?): pendingStop = .unsupported("\(what), in ring 0")
        case .success:
            legacy.copyOut()
            guard !legacy.interpreter.isIn64BitMode else { return }
            legacy.enter()
        }
    }

    /// A guest's write to a port; what the harness does with the guest's output is no cost of virtualization.
    func writePort(_ port: UInt16, size: Int, value: UInt32) {
        let delivered = ports.deliveryCycles
        defer { exitTSC &+= ports.deliveryCycles &- delivered }
        switch ports.write(port, size: size, value: value) {
        case .continue:
            // The interval timer may have been set.
            if cpu.platform != nil { timerChanged = true }
        case .exit(let code):
            exitReason = .shutdown
            pendingStop = MachineStop(.debugExit(code: code))
        case .reset:
            exitReason = .shutdown
            pendingStop = MachineStop(.reset)
        }
    }
}
