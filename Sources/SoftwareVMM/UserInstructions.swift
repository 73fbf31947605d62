import CZydis
import Machine

/// The instructions of ring 3 that translated code leaves to the VMM.
extension SoftwareMachine {
    /// Carries out the instruction at `cpu.rip` and moves RIP on, or has the CPU do so. Throws the exception the guest must see.
    func emulateRing3() throws(GuestException) {
        exitReason = .emulatedInstruction
        guard let bytes = try fetch.instruction(cpu.rip, user: true, cpu.pagingMode) else {
            pendingStop = MachineStop(
                .guestMemoryFault("ring 3 executes at \(hex(cpu.rip)), where there is no RAM"))
            return
        }
        guard let info = fetch.decode(bytes) else { throw .undefined }
        let next = cpu.rip &+ UInt64(info.length)
        switch info.mnemonic {
        case ZYDIS_MNEMONIC_SYSCALL:
            exitReason = .systemCall
            try systemCall(next: next)
        case ZYDIS_MNEMONIC_CPUID:
            exitReason = .cpuid
            emulateCPUID()
            cpu.rip = next
        case ZYDIS_MNEMONIC_INT:
            exitReason = .exception
            try softwareInterrupt(UInt8(truncatingIfNeeded: fetch.operands[0].imm.value.u), returnTo: next)
        case ZYDIS_MNEMONIC_INT3:
            exitReason = .exception
            try softwareInterrupt(3, returnTo: next)
        case ZYDIS_MNEMONIC_PUSHFQ:
            let stack = cpu[GPR.rsp] &- 8
            if let page = try linear.store(
                cpu.flags & ~Flags.resume, at: stack, user: true, cpu.pagingMode)
            {
                noticeWrite(to: page)
            }
            cpu[GPR.rsp] = stack
            cpu.rip = next
        case ZYDIS_MNEMONIC_POPFQ:
            let value: UInt64 = try linear.load(cpu[GPR.rsp], user: true, cpu.pagingMode)
            // IOPL is 0, so IF stays as it is (Intel SDM vol. 2, POPF).
            cpu.flags = value & ~Flags.interrupt | cpu.flags & Flags.interrupt
            cpu[GPR.rsp] &+= 8
            cpu.rip = next
        case ZYDIS_MNEMONIC_UD0, ZYDIS_MNEMONIC_UD1, ZYDIS_MNEMONIC_UD2:
            throw .undefined
        case ZYDIS_MNEMONIC_CLI, ZYDIS_MNEMONIC_STI, ZYDIS_MNEMONIC_IN, ZYDIS_MNEMONIC_OUT,
            ZYDIS_MNEMONIC_INSB, ZYDIS_MNEMONIC_INSW, ZYDIS_MNEMONIC_INSD, ZYDIS_MNEMONIC_OUTSB,
            ZYDIS_MNEMONIC_OUTSW, ZYDIS_MNEMONIC_OUTSD:
            // IOPL is 0, and no task has an I/O bitmap.
            throw .protection
        default:
            if info.attributes & UInt64(ZYDIS_ATTRIB_IS_PRIVILEGED) != 0 { throw .protection }
            // Whatever else the translator has no form for does the same when the CPU runs it in place.
            stepsDirectly = true
        }
    }
}
