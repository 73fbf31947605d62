import GuestInterface
import Machine

/// Delivery of exceptions and interrupts through the guest's IDT, and the returns from them, in 64-bit mode
/// (Intel SDM vol. 3, 6.14).
extension SoftwareMachine {
    /// Delivers an exception; one that arises on the way becomes a double fault, a third a shutdown.
    func deliver(_ exception: GuestException) throws(MachineStop) {
        if let address = exception.address { cpu.cr2 = address }
        do throws(GuestException) {
            try enterGate(
                exception.vector, errorCode: exception.errorCode, returnTo: cpu.rip, isFault: exception.isFault)
            return
        } catch {
            guard exception.vector != GuestException.doubleFault else { throw MachineStop(.tripleFault) }
        }
        do throws(GuestException) {
            try enterGate(GuestException.doubleFault, errorCode: 0, returnTo: cpu.rip)
        } catch {
            throw MachineStop(.tripleFault)
        }
    }

    /// Delivers a pending interrupt if the guest takes one now. True: it was.
    @discardableResult
    func deliverPendingInterrupt() throws(MachineStop) -> Bool {
        guard cpu.interruptsEnabled, !cpu.interruptShadow, let vector = cpu.acknowledgeInterrupt() else {
            return false
        }
        interruptsDelivered &+= 1
        if legacy.isActive {
            try interruptLegacy(vector)
            return true
        }
        do throws(GuestException) {
            try enterGate(vector, errorCode: nil, returnTo: cpu.rip)
        } catch {
            try deliver(error)
        }
        return true
    }

    /// Software interrupt (INT n, INT3): the gate must be open to the current privilege level.
    func softwareInterrupt(_ vector: UInt8, returnTo next: UInt64) throws(GuestException) {
        let gate = try readGate(vector)
        guard gate.privilege >= cpu.privilege else {
            throw GuestException(
                vector: GuestException.generalProtection, errorCode: UInt32(vector) << 3 | 2)
        }
        try enterGate(vector, errorCode: nil, returnTo: next)
    }

    private struct Gate {
        var offset: UInt64
        var selector: UInt16
        var stackIndex: Int
        var isTrap: Bool
        var privilege: UInt8
    }

    private func readGate(_ vector: UInt8) throws(GuestException) -> Gate {
        let fault = GuestException(
            vector: GuestException.generalProtection, errorCode: UInt32(vector) << 3 | 2)
        guard UInt64(vector) * 16 + 15 <= UInt64(cpu.idtLimit) else { throw fault }
        let mode = cpu.pagingMode
        let low: UInt64 = try linear.load(cpu.idtBase &+ UInt64(vector) * 16, mode)
        let high: UInt64 = try linear.load(cpu.idtBase &+ UInt64(vector) * 16 &+ 8, mode)
        let type = low >> 40 & 31
        guard type == 14 || type == 15 else { throw fault }
        guard low & 1 << 47 != 0 else {
            throw GuestException(vector: 11, errorCode: UInt32(vector) << 3 | 2)
        }
        return Gate(
            offset: low & 0xFFFF | low >> 32 & 0xFFFF_0000 | high << 32,
            selector: UInt16(low >> 16 & 0xFFFF),
            stackIndex: Int(low >> 32 & 7), isTrap: type == 15, privilege: UInt8(low >> 45 & 3))
    }

    /// Faults push RFLAGS with RF set, so that an instruction breakpoint at the instruction is not taken again
    /// (Intel SDM vol. 3, 18.3.1.1).
    private func enterGate(
        _ vector: UInt8, errorCode: UInt32?, returnTo next: UInt64, isFault: Bool = false
    ) throws(GuestException) {
        let gate = try readGate(vector)
        let mode = cpu.pagingMode
        var stack = cpu[GPR.rsp]
        if gate.stackIndex > 0 {
            stack = try linear.load(cpu.taskBase &+ 36 &+ UInt64(gate.stackIndex - 1) * 8, mode)
        } else if cpu.privilege == 3 {
            stack = try linear.load(cpu.taskBase &+ 4, mode)
        }
        stack &= ~15
        let flags = cpu.flags
        try push(UInt64(cpu.stackSelector), &stack)
        try push(cpu[GPR.rsp], &stack)
        try push(isFault ? flags | Flags.resume : flags, &stack)
        try push(UInt64(cpu.codeSelector), &stack)
        try push(next, &stack)
        if let errorCode { try push(UInt64(errorCode), &stack) }
        // Everything that can fault is done.
        exceptionsEntered &+= 1
        cpu.debugShadow = false
        if let tracer { tracer.delivers(vector, returnTo: next, registers: { cpu[$0] }, flags: flags) }
        if cpu.privilege == 3 { cpu.stackSelector = 0 }
        cpu[GPR.rsp] = stack
        cpu.privilege = 0
        cpu.codeSelector = gate.selector & ~3
        cpu.rip = gate.offset
        cpu.interruptShadow = false
        cpu.flags =
            flags & ~(Flags.trap | Flags.nestedTask | Flags.resume | (gate.isTrap ? 0 : Flags.interrupt))
    }

    private func push(_ value: UInt64, _ stack: inout UInt64) throws(GuestException) {
        stack &-= 8
        if let page = try linear.store(value, at: stack, cpu.pagingMode) { noticeWrite(to: page) }
    }

    // MARK: Returns

    /// SYSRET to 64-bit code (Intel SDM vol. 2).
    func systemCallReturn() throws(GuestException) {
        guard cpu.efer & 1 != 0 else { throw .undefined }
        guard AddressMap.isCanonical(cpu[GPR.rcx]) else { throw .protection }
        cpu.rip = cpu[GPR.rcx]
        cpu.flags = cpu[GPR.r11] & ~Flags.resume
        let base = UInt16(truncatingIfNeeded: cpu.star >> 48)
        cpu.codeSelector = (base &+ 16) | 3
        cpu.stackSelector = (base &+ 8) | 3
        enterPrivilege(3)
    }

    /// SYSCALL; `next` is the address behind it.
    func systemCall(next: UInt64) throws(GuestException) {
        guard cpu.efer & 1 != 0 else { throw .undefined }
        let flags = cpu.flags
        cpu[GPR.rcx] = next
        cpu[GPR.r11] = flags
        cpu.rip = cpu.longStar
        cpu.flags = flags & ~cpu.systemCallMask & ~Flags.resume
        let base = UInt16(truncatingIfNeeded: cpu.star >> 32)
        cpu.codeSelector = base & ~3
        cpu.stackSelector = base &+ 8
        cpu.privilege = 0
    }

    func enterPrivilege(_ level: UInt8) {
        cpu.privilege = level
        if level == 3 { prefillAfterFault() }
    }

    /// The page the guest has just handled a fault for is mapped before ring 3 asks for it: this saves the hidden fault. Only
    /// when the guest goes on with the instruction that faulted, since accessed and dirty bits are set as the access will.
    func prefillAfterFault() {
        guard let fault = userFault else { return }
        userFault = nil
        if fault.rip == cpu.rip {
            shadow.prefill(fault.address, fault.access, cpu.pagingMode)
        }
    }
}
