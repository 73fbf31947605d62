import CLinux
import CZydis
import Machine

/// IN, OUT, INS and OUTS.
extension SoftwareMachine {
    /// Tells the trampoline for IN which ports read the same until the VMM runs again.
    func publishSteadyPorts() {
        let values = UnsafeMutableRawPointer(cpu.state).advanced(by: Int(VB_SW_STEADY_PORTS))
            .assumingMemoryBound(to: UInt16.self)
        for port in 0..<UInt16(VB_SW_STEADY_PORT_COUNT) {
            values[Int(port)] = ports.steadyValue(of: port).map(UInt16.init) ?? UInt16(VB_SW_PORT_UNSTEADY)
        }
    }

    /// One access, to or from the accumulator.
    func portAccess(_ port: UInt16, size: Int, isWrite: Bool) {
        if isWrite {
            writePort(port, size: size, UInt32(truncatingIfNeeded: cpu[GPR.rax]))
        } else {
            exitReason = .portIO
            write(UInt64(ports.read(port, size: size)), to: GPR.rax, bits: UInt16(size * 8))
        }
    }

    private func writePort(_ port: UInt16, size: Int, _ value: UInt32) {
        exitReason = .portIO
        // What the harness does with the guest's records is no cost of virtualization.
        let delivered = ports.deliveryCycles
        defer { exitTSC &+= ports.deliveryCycles &- delivered }
        if case .exit(let code) = ports.write(port, size: size, value: value) {
            exitReason = .shutdown
            pendingStop = MachineStop(.debugExit(code: code))
        }
    }

    /// IN and OUT.
    func emulatePort(_ info: ZydisDecodedInstruction) throws(GuestException) {
        let isWrite = info.mnemonic == ZYDIS_MNEMONIC_OUT
        let operand = fetch.operands[isWrite ? 0 : 1]
        let port =
            operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE
            ? UInt16(truncatingIfNeeded: operand.imm.value.u) : UInt16(truncatingIfNeeded: cpu[GPR.rdx])
        let size = portSize(info)
        try checkPort(port, size)
        portAccess(port, size: size, isWrite: isWrite)
    }

    private func portSize(_ info: ZydisDecodedInstruction) -> Int { min(Int(info.operand_width), 32) / 8 }

    /// Ring 3 may use a port when IOPL says so, or the bitmap of its task (Intel SDM vol. 1, 19.5).
    private func checkPort(_ port: UInt16, _ size: Int) throws(GuestException) {
        guard UInt64(cpu.privilege) > cpu.flags >> 12 & 3 else { return }
        let mode = cpu.pagingMode
        // The offset of the bitmap is at 102 of the task-state segment; a word is read, so one byte more must be in the limit.
        guard cpu.taskLimit >= 103 else { throw .protection }
        let offset: UInt16 = try linear.load(cpu.taskBase &+ 102, mode)
        let byte = UInt64(offset) + UInt64(port / 8)
        guard byte + 1 <= UInt64(cpu.taskLimit) else { throw .protection }
        let bits: UInt16 = try linear.load(cpu.taskBase &+ byte, mode)
        guard bits >> (port & 7) & (1 << UInt16(size) - 1) == 0 else { throw .protection }
    }

    /// INS and OUTS: one element a call. True while a REP has more to do, so that RIP stays.
    func emulatePortString(_ info: ZydisDecodedInstruction) throws(GuestException) -> Bool {
        exitReason = .portIO
        let isWrite = [ZYDIS_MNEMONIC_OUTSB, ZYDIS_MNEMONIC_OUTSW, ZYDIS_MNEMONIC_OUTSD].contains {
            $0 == info.mnemonic
        }
        let size = portSize(info)
        let port = UInt16(truncatingIfNeeded: cpu[GPR.rdx])
        try checkPort(port, size)
        let string = StringRegisters(info, self)
        guard string.hasWork else { return false }
        if isWrite {
            let value = try read(string.source, bytes: size)
            writePort(port, size: size, UInt32(truncatingIfNeeded: value))
        } else {
            // The port is read only when its value can be stored.
            let access = Access(write: true, user: cpu.privilege == 3)
            _ = try linear.translate(string.destination, access, cpu.pagingMode)
            _ = try linear.translate(string.destination &+ UInt64(size - 1), access, cpu.pagingMode)
            try write(UInt64(ports.read(port, size: size)), at: string.destination, bytes: size)
        }
        return string.advance(source: isWrite, destination: !isWrite, by: size)
    }
}
