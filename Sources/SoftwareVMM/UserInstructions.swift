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
        if let exception = withheldException(info) { throw exception }
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
        case ZYDIS_MNEMONIC_PUSHF, ZYDIS_MNEMONIC_PUSHFQ:
            try emulatePushFlags(info)
            cpu.rip = next
        case ZYDIS_MNEMONIC_POPF, ZYDIS_MNEMONIC_POPFQ:
            try emulatePopFlags(info)
            cpu.rip = next
        case ZYDIS_MNEMONIC_UD0, ZYDIS_MNEMONIC_UD1, ZYDIS_MNEMONIC_UD2, ZYDIS_MNEMONIC_SENDUIPI,
            ZYDIS_MNEMONIC_UIRET, ZYDIS_MNEMONIC_TESTUI, ZYDIS_MNEMONIC_CLUI, ZYDIS_MNEMONIC_STUI:
            throw .undefined
        case ZYDIS_MNEMONIC_CLI, ZYDIS_MNEMONIC_STI:
            guard cpu.flags & Flags.ioPrivilege == Flags.ioPrivilege else { throw .protection }
            emulateInterruptFlag(info)
            cpu.rip = next
        case ZYDIS_MNEMONIC_IN, ZYDIS_MNEMONIC_OUT:
            try emulatePort(info)
            cpu.rip = next
        case ZYDIS_MNEMONIC_INSB, ZYDIS_MNEMONIC_INSW, ZYDIS_MNEMONIC_INSD, ZYDIS_MNEMONIC_OUTSB,
            ZYDIS_MNEMONIC_OUTSW, ZYDIS_MNEMONIC_OUTSD:
            if try !emulatePortString(info) { cpu.rip = next }
        default:
            // Whatever else the translator has no form for does the same when the CPU runs it in place; what is privileged
            // faults there as it should.
            stepsDirectly = true
        }
    }
}
