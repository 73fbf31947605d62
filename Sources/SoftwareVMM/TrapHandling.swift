import CLinux
import CZydis
import Glibc
import GuestInterface
import Machine
import Translator

/// A page fault of ring 3 that the guest has been given.
struct UserFault {
    var rip: UInt64
    var address: UInt64
    var access: Access
}

/// What host signals mean for the guest.
extension SoftwareMachine {
    // MARK: Ring 3 run directly

    /// A synchronous signal interrupted ring 3, run directly.
    func handleDirectTrap() throws(MachineStop) {
        let signal = Int32(cpu.state.pointee.trap_signal)
        let vector = UInt8(truncatingIfNeeded: cpu.state.pointee.trap_number)
        if stepsDirectly {
            stepsDirectly = false
            if vector == GuestException.debug, !stepping {
                exitReason = .emulatedInstruction
                return
            }
        }
        // TF was there at the instruction's beginning or, where POPF has set it since, is there now; without it is INT1.
        if vector == GuestException.debug, stepping || cpu.singleStepping {
            try deliverStepTrap()
            return
        }
        if signal == SIGSYS {
            exitReason = .systemCall
            userMode.noteDirectEvent(calls: userEvents, now: guestClock)
            try userSystemCall()
            return
        }
        switch vector {
        case GuestException.pageFault:
            let error = cpu.state.pointee.trap_error
            try handleUserPageFault(
                cpu.state.pointee.trap_address,
                Access(write: error & 2 != 0, execute: error & 16 != 0, user: true))
        case GuestException.generalProtection:
            try handleUserProtectionFault(UInt32(truncatingIfNeeded: cpu.state.pointee.trap_error))
        default:
            exitReason = .exception
            guard vector < 32 else {
                throw .unsupported("host trap \(vector) (signal \(signal)) in ring 3")
            }
            try deliver(exception(ofTrap: vector))
        }
    }

    /// Syscall User Dispatch: RIP is behind the instruction, RCX and R11 are what the host's SYSCALL made of them.
    private func userSystemCall() throws(MachineStop) {
        let next = cpu.rip
        do throws(GuestException) {
            let bytes = try fetch.instruction(next &- 2, user: true, cpu.pagingMode)
            if let bytes, bytes.count >= 2, bytes[0] == 0xCD {
                cpu.rip = next &- 2
                try softwareInterrupt(bytes[1], returnTo: next)
            } else if let bytes, bytes.count >= 2, bytes[0] == 0x0F, bytes[1] == 0x34 {
                throw GuestException.undefined
            } else {
                try systemCall(next: next)
            }
        } catch {
            try deliver(error)
        }
    }

    func handleUserPageFault(_ address: UInt64, _ access: Access) throws(MachineStop) {
        switch shadow.fill(address, access, cpu.pagingMode) {
        case .filled:
            exitReason = .shadowFill
            try noticeRepetition(address)
        case .guestFault(let code):
            exitReason = .guestPageFault
            userMode.noteDirectEvent(calls: userEvents, now: guestClock)
            userFault = UserFault(rip: cpu.rip, address: address, access: access)
            try deliver(
                GuestException(vector: GuestException.pageFault, errorCode: code, address: address))
        case .codeWrite(let offset):
            exitReason = .tracedWrite
            dropCode(offset: offset)
        case .device(let physical):
            throw MachineStop(
                .guestMemoryFault("ring 3 accesses guest-physical \(hex(physical)), where there is no RAM"))
        case .failed(let reason):
            throw MachineStop(.emulationFailure(reason))
        }
    }

    /// #GP in ring 3: CPUID where it faults, INT n without a host gate, privileged instructions, non-canonical addresses.
    private func handleUserProtectionFault(_ error: UInt32) throws(MachineStop) {
        do throws(GuestException) {
            guard AddressMap.isCanonical(cpu.rip),
                let bytes = try fetch.instruction(cpu.rip, user: true, cpu.pagingMode)
            else { throw .protection }
            if let info = fetch.decode(bytes), bytes.count >= 2 {
                let start = Int(info.raw.prefix_count)
                if start + 1 < bytes.count, bytes[start] == 0x0F, bytes[start + 1] == 0xA2 {
                    exitReason = .cpuid
                    emulateCPUID()
                    cpu.rip &+= UInt64(info.length)
                    return
                }
                if bytes[start] == 0xCD {
                    exitReason = .exception
                    try softwareInterrupt(bytes[start + 1], returnTo: cpu.rip &+ UInt64(info.length))
                    return
                }
                // IOPL or the task's bitmap may allow them.
                if [ZYDIS_CATEGORY_IO, ZYDIS_CATEGORY_IOSTRINGOP].contains(where: { $0 == info.meta.category })
                    || info.mnemonic == ZYDIS_MNEMONIC_CLI || info.mnemonic == ZYDIS_MNEMONIC_STI
                {
                    try emulateRing3()
                    return
                }
            }
            throw .protection
        } catch {
            exitReason = .exception
            try deliver(error)
        }
    }

    // MARK: Translated code

    /// A synchronous signal interrupted translated code.
    func handleTranslatedTrap() throws(MachineStop) {
        let signal = Int32(cpu.state.pointee.trap_signal)
        let vector = UInt8(truncatingIfNeeded: cpu.state.pointee.trap_number)
        let host = cpu.state.pointee.resume
        let user = cpu.privilege == 3
        guard host >= cpu.state.pointee.code_begin, host < cpu.state.pointee.code_end else {
            throw MachineStop(
                .emulationFailure("translated code went astray to host address \(hex(host))"))
        }
        if vector == GuestException.pageFault {
            let address =
                user
                ? cpu.state.pointee.trap_address : map.guest(ofSupervisorHost: cpu.state.pointee.trap_address)
            guard AddressMap.isCanonical(address) else {
                exitReason = .exception
                recoverGuestState(host)
                try deliver(exceptionOfOperands())
                return
            }
            let access = Access(write: cpu.state.pointee.trap_error & 2 != 0, user: user)
            switch shadow.fill(address, access, cpu.pagingMode) {
            case .filled:
                // The same host instruction again: nothing of the guest's state is touched.
                exitReason = .shadowFill
                try noticeRepetition(address)
                resumesTranslation = true
            case .guestFault(let code):
                exitReason = .guestPageFault
                if recoverGuestState(host).contains(.emulate) {
                    do throws(GuestException) { try emulateRing0() } catch { try deliver(error) }
                    return
                }
                if user {
                    userFault = UserFault(rip: cpu.rip, address: address, access: access)
                    translatedUserFaults &+= 1
                }
                noteTrappingAccess()
                try deliver(
                    GuestException(vector: GuestException.pageFault, errorCode: code, address: address))
            case .codeWrite(let offset):
                exitReason = .tracedWrite
                recoverGuestState(host)
                noteTrappingAccess()
                stepOverCodeWrite(offset: offset)
            case .device(let physical):
                recoverGuestState(host)
                guard cpu.privilege == 0, isDevice(physical) else {
                    throw MachineStop(
                        .guestMemoryFault(
                            "ring \(cpu.privilege) accesses guest-physical \(hex(physical)), where there is no RAM"))
                }
                exitReason = .mmio
                noteTrappingAccess()
                do throws(GuestException) { try interpretInstruction() } catch { try deliver(error) }
            case .failed(let reason):
                recoverGuestState(host)
                throw MachineStop(.emulationFailure(reason))
            }
            return
        }
        recoverGuestState(host)
        exitReason = .exception
        switch vector {
        // Ring 3 sees its own addresses and segments: what the CPU says is right.
        case GuestException.generalProtection where user: try deliver(.protection)
        case GuestException.generalProtection: try deliver(exceptionOfOperands())
        case 0...31: try deliver(exception(ofTrap: vector))
        default: throw .unsupported("host trap \(vector) (signal \(signal)) in translated code")
        }
    }

    /// Makes the guest's registers and RIP exact at an interruption of translated code (see `MapEntry`).
    @discardableResult
    func recoverGuestState(_ host: UInt64) -> Undo {
        guard let number = cache.block(containing: host) else { return [] }
        let entry = cache.blocks[number].entry(at: host)
        cpu.rip = entry.undo.contains(.branchTaken) ? entry.guestRIP &+ cpu[GPR.rcx] : entry.guestRIP
        if entry.undo.contains(.relocatedRDI) { cpu[GPR.rdi] &-= map.window }
        if entry.undo.contains(.relocatedRSI) { cpu[GPR.rsi] &-= map.window }
        for register in Register.allCases where entry.undo.contains(.spilled(register)) {
            cpu[Int(register.rawValue)] = cpu.spillSlots[Int(register.rawValue)]
        }
        if entry.undo.contains(.stackReleasePending) { cpu[GPR.rsp] &+= 8 }
        resumesTranslation = false
        return entry.undo
    }

    /// A fill that does not help would fault for ever: this is a defect of the VMM and ends the machine.
    private func noticeRepetition(_ address: UInt64) throws(MachineStop) {
        let host = cpu.state.pointee.resume
        if host == repeatedHost && address == repeatedAddress {
            repetitions += 1
            guard repetitions < 1000 else {
                throw MachineStop(
                    .emulationFailure("a fault at guest address \(hex(address)) does not go away"))
            }
        } else {
            repeatedHost = host
            repeatedAddress = address
            repetitions = 0
        }
    }
}
