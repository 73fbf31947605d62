import CLinux
import CZydis
import GuestInterface
import Host
import Machine

/// The instructions of ring 0 that translated code leaves to the VMM.
extension SoftwareMachine {
    /// Carries out the instruction at `cpu.rip` and moves RIP on. Throws the exception the guest must see.
    func emulateRing0() throws(GuestException) {
        exitReason = .emulatedInstruction
        guard let bytes = try fetch.instruction(cpu.rip, user: false, cpu.pagingMode) else {
            pendingStop = MachineStop(
                .guestMemoryFault("ring 0 executes at \(hex(cpu.rip)), where there is no RAM"))
            return
        }
        if try emulateFrequent(bytes) { return }
        guard let info = fetch.decode(bytes) else { throw .undefined }
        if let exception = withheldException(info) { throw exception }
        try emulate(info, bytes)
    }

    /// The frequent ones, by their bytes alone. False: not one of them.
    private func emulateFrequent(_ bytes: UnsafeBufferPointer<UInt8>) throws(GuestException) -> Bool {
        guard bytes.count >= 3 else { return false }
        switch (bytes[0], bytes[1], bytes[2]) {
        case (0x48, 0xCF, _):
            exitReason = .interruptReturn
            try interruptReturn()
        case (0x48, 0x0F, 0x07):
            exitReason = .interruptReturn
            try systemCallReturn()
        case (0x0F, 0x01, 0xF8):
            swap(&cpu.kernelGSBase, &cpu.state.pointee.guest_gs_base)
            cpu.rip &+= 3
        case (0x0F, 0x30, _):
            try emulateWriteMSR()
            cpu.rip &+= 2
        case (0x0F, 0x32, _):
            try emulateReadMSR()
            cpu.rip &+= 2
        case (0xFB, _, _):
            if !cpu.interruptsEnabled {
                cpu.interruptsEnabled = true
                cpu.interruptShadow = true
            }
            cpu.rip &+= 1
        case (0xF4, _, _):
            exitReason = .halt
            cpu.rip &+= 1
            halted = true
        case (0xEC, _, _), (0xED, _, _), (0xEE, _, _), (0xEF, _, _):
            portAccess(
                UInt16(truncatingIfNeeded: cpu[GPR.rdx]), size: bytes[0] & 1 == 0 ? 1 : 4,
                isWrite: bytes[0] & 2 != 0)
            cpu.rip &+= 1
        case (0xE4, let port, _), (0xE5, let port, _), (0xE6, let port, _), (0xE7, let port, _):
            portAccess(UInt16(port), size: bytes[0] & 1 == 0 ? 1 : 4, isWrite: bytes[0] & 2 != 0)
            cpu.rip &+= 2
        case (0x0F, 0x20, let modrm), (0x0F, 0x22, let modrm):
            exitReason = .controlRegister
            let number = modrm >> 3 & 7
            let register = Int(modrm & 7)
            let next = cpu.rip &+ 3
            if bytes[1] == 0x20 {
                cpu[register] = try readControlRegister(number)
            } else {
                try writeControlRegister(number, cpu[register])
            }
            cpu.rip = next
        default: return false
        }
        return true
    }

    private func emulate(_ info: ZydisDecodedInstruction, _ bytes: UnsafeBufferPointer<UInt8>)
        throws(GuestException)
    {
        let next = cpu.rip &+ UInt64(info.length)
        if info.attributes & UInt64(ZYDIS_ATTRIB_HAS_LOCK) != 0,
            info.attributes & UInt64(ZYDIS_ATTRIB_ACCEPTS_LOCK) == 0
        {
            throw .undefined
        }
        switch info.mnemonic {
        case ZYDIS_MNEMONIC_MOV: try emulateMove(info, bytes, next: next)
        case ZYDIS_MNEMONIC_PUSHF, ZYDIS_MNEMONIC_PUSHFQ: try emulatePushFlags(info)
        case ZYDIS_MNEMONIC_POPF, ZYDIS_MNEMONIC_POPFQ: try emulatePopFlags(info)
        case ZYDIS_MNEMONIC_PUSH: try emulatePush(info, next: next)
        case ZYDIS_MNEMONIC_POP: try emulatePop(info, next: next)
        case ZYDIS_MNEMONIC_ENTER: try emulateEnter(info)
        case ZYDIS_MNEMONIC_LEAVE: try emulateLeave()
        case ZYDIS_MNEMONIC_LSS, ZYDIS_MNEMONIC_LFS, ZYDIS_MNEMONIC_LGS:
            try emulateFarPointerLoad(info, next: next)
        case ZYDIS_MNEMONIC_RDFSBASE, ZYDIS_MNEMONIC_RDGSBASE, ZYDIS_MNEMONIC_WRFSBASE, ZYDIS_MNEMONIC_WRGSBASE:
            try emulateSegmentBase(info)
        case ZYDIS_MNEMONIC_LAR, ZYDIS_MNEMONIC_LSL, ZYDIS_MNEMONIC_VERR, ZYDIS_MNEMONIC_VERW:
            try emulateSegmentQuery(info, next: next)
        case ZYDIS_MNEMONIC_SGDT, ZYDIS_MNEMONIC_SIDT:
            exitReason = .descriptorTable
            try emulateTableStore(info, next: next)
        case ZYDIS_MNEMONIC_LGDT, ZYDIS_MNEMONIC_LIDT:
            exitReason = .descriptorTable
            try emulateTableLoad(info, next: next)
        case ZYDIS_MNEMONIC_STR, ZYDIS_MNEMONIC_SLDT, ZYDIS_MNEMONIC_SMSW:
            exitReason = .descriptorTable
            try emulateSystemStore(info, next: next)
        case ZYDIS_MNEMONIC_LTR:
            exitReason = .descriptorTable
            try loadTask(UInt16(truncatingIfNeeded: try read(fetch.operands[0], info, next: next)))
        case ZYDIS_MNEMONIC_LLDT:
            exitReason = .descriptorTable
            try loadLocalTable(UInt16(truncatingIfNeeded: try read(fetch.operands[0], info, next: next)))
        case ZYDIS_MNEMONIC_LMSW:
            // PE, MP, EM and TS; PE cannot be cleared (Intel SDM vol. 2, LMSW).
            exitReason = .controlRegister
            let word = try read(fetch.operands[0], info, next: next) & 0xF
            try writeControlRegister(0, cpu.cr0 & ~0xE | word)
        case ZYDIS_MNEMONIC_WRMSR: try emulateWriteMSR()
        case ZYDIS_MNEMONIC_RDMSR: try emulateReadMSR()
        case ZYDIS_MNEMONIC_BT, ZYDIS_MNEMONIC_BTS, ZYDIS_MNEMONIC_BTR, ZYDIS_MNEMONIC_BTC:
            try emulateBitString(info, next: next)
        case ZYDIS_MNEMONIC_SWAPGS: swap(&cpu.kernelGSBase, &cpu.state.pointee.guest_gs_base)
        case ZYDIS_MNEMONIC_HLT:
            exitReason = .halt
            halted = true
        case ZYDIS_MNEMONIC_CLTS:
            exitReason = .controlRegister
            cpu.cr0 &= ~(1 << 3)
            updateWithheldInstructions()
        case ZYDIS_MNEMONIC_CPUID:
            exitReason = .cpuid
            emulateCPUID()
        case ZYDIS_MNEMONIC_XGETBV:
            guard cpu.cr4 & 1 << 18 != 0 else { throw .undefined }
            guard cpu[GPR.rcx] & 0xFFFF_FFFF == 0 else { throw .protection }
            cpu[GPR.rax] = cpu.xcr0 & 0xFFFF_FFFF
            cpu[GPR.rdx] = cpu.xcr0 >> 32
        case ZYDIS_MNEMONIC_XSETBV:
            exitReason = .controlRegister
            guard cpu.cr4 & 1 << 18 != 0 else { throw .undefined }
            try writeExtendedControlRegister(
                cpu[GPR.rcx] & 0xFFFF_FFFF, cpu[GPR.rdx] << 32 | cpu[GPR.rax] & 0xFFFF_FFFF)
        case ZYDIS_MNEMONIC_INVLPG:
            exitReason = .tlbInvalidate
            invalidate(effectiveAddress(fetch.operands[0], info, next: next))
        case ZYDIS_MNEMONIC_WBINVD, ZYDIS_MNEMONIC_INVD: break
        case ZYDIS_MNEMONIC_CLZERO: try clearLine(info)
        case ZYDIS_MNEMONIC_XLAT: try emulateTableLookup(info)
        case ZYDIS_MNEMONIC_INT:
            exitReason = .exception
            try softwareInterrupt(
                UInt8(truncatingIfNeeded: fetch.operands[0].imm.value.u), returnTo: next)
            return
        case ZYDIS_MNEMONIC_INT3:
            exitReason = .exception
            try softwareInterrupt(3, returnTo: next)
            return
        case ZYDIS_MNEMONIC_INT1:
            // No privilege check of the gate (Intel SDM vol. 2, INT n).
            exitReason = .exception
            cpu.rip = next
            throw GuestException(vector: GuestException.debug)
        case ZYDIS_MNEMONIC_SYSCALL:
            exitReason = .systemCall
            try systemCall(next: next)
            return
        case ZYDIS_MNEMONIC_IRET, ZYDIS_MNEMONIC_IRETD, ZYDIS_MNEMONIC_IRETQ:
            exitReason = .interruptReturn
            try interruptReturn(bytes: UInt64(info.operand_width) / 8)
            return
        case ZYDIS_MNEMONIC_SYSRET:
            // The form without REX.W returns to compatibility mode.
            guard info.operand_width == 64 else {
                pendingStop = .unsupported("SYSRET to compatibility mode")
                return
            }
            exitReason = .interruptReturn
            try systemCallReturn()
            return
        case ZYDIS_MNEMONIC_CALL, ZYDIS_MNEMONIC_JMP, ZYDIS_MNEMONIC_RET:
            try emulateBranch(info, bytes, next: next)
            return
        case ZYDIS_MNEMONIC_IN, ZYDIS_MNEMONIC_OUT: try emulatePort(info)
        case ZYDIS_MNEMONIC_INSB, ZYDIS_MNEMONIC_INSW, ZYDIS_MNEMONIC_INSD, ZYDIS_MNEMONIC_OUTSB,
            ZYDIS_MNEMONIC_OUTSW, ZYDIS_MNEMONIC_OUTSD:
            if try emulatePortString(info) { return }
        case ZYDIS_MNEMONIC_CLI, ZYDIS_MNEMONIC_STI: emulateInterruptFlag(info)
        case ZYDIS_MNEMONIC_VMCALL, ZYDIS_MNEMONIC_VMMCALL:
            // No hypercalls are defined yet: -ENOSYS, in the manner of KVM.
            exitReason = .hypercall
            cpu[GPR.rax] = UInt64(bitPattern: -38)
        case ZYDIS_MNEMONIC_RDPMC:
            // No counter is offered.
            throw .protection
        case let mnemonic where Self.undefined.contains(mnemonic.rawValue): throw .undefined
        default:
            if info.meta.category == ZYDIS_CATEGORY_COND_BR, info.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY {
                try emulateNearBranch(info, bytes)
                return
            }
            if info.meta.category == ZYDIS_CATEGORY_STRINGOP, info.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT {
                if try emulateString(info) { return }
                break
            }
            let isUndefined =
                info.attributes & UInt64(ZYDIS_ATTRIB_IS_PRIVILEGED) != 0
                || info.meta.category == ZYDIS_CATEGORY_PADLOCK || info.meta.category == ZYDIS_CATEGORY_AMX_TILE
                || info.meta.category == ZYDIS_CATEGORY_COND_BR
                    && info.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY
            if isUndefined { throw .undefined }
            pendingStop = unsupported(bytes)
        }
        cpu.rip = next
    }

    private func emulateWriteMSR() throws(GuestException) {
        exitReason = .msrWrite
        let value = cpu[GPR.rdx] << 32 | cpu[GPR.rax] & 0xFFFF_FFFF
        try writeMSR(UInt32(truncatingIfNeeded: cpu[GPR.rcx]), value)
    }

    private func emulateReadMSR() throws(GuestException) {
        exitReason = .msrRead
        let value = try readMSR(UInt32(truncatingIfNeeded: cpu[GPR.rcx]))
        cpu[GPR.rax] = value & 0xFFFF_FFFF
        cpu[GPR.rdx] = value >> 32
    }

    private func unsupported(_ bytes: UnsafeBufferPointer<UInt8>) -> MachineStop {
        .unsupported("this instruction in ring 0: \(disassemble(bytes, at: cpu.rip))")
    }

    private func emulateBranch(
        _ info: ZydisDecodedInstruction, _ bytes: UnsafeBufferPointer<UInt8>, next: UInt64
    ) throws(GuestException) {
        guard info.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR else {
            try emulateNearBranch(info, bytes)
            return
        }
        if info.mnemonic == ZYDIS_MNEMONIC_RET {
            try emulateFarReturn(info)
        } else {
            try emulateFarBranch(info, isCall: info.mnemonic == ZYDIS_MNEMONIC_CALL, next: next)
        }
    }

    /// XLAT.
    private func emulateTableLookup(_ info: ZydisDecodedInstruction) throws(GuestException) {
        let mask: UInt64 = info.address_width == 32 ? 0xFFFF_FFFF : ~0
        let offset = (cpu[GPR.rbx] &+ cpu[GPR.rax] & 0xFF) & mask
        write(try read(segmentBase(of: info) &+ offset, bytes: 1), to: GPR.rax, bits: 8)
    }

    /// CLZERO: the cache line that RAX is in (AMD APM vol. 3).
    private func clearLine(_ info: ZydisDecodedInstruction) throws(GuestException) {
        guard VirtualCPUID.leaf(0x8000_0008, 0, cpu: cpu).ebx & 1 != 0 else { throw .undefined }
        let address = (info.address_width == 32 ? cpu[GPR.rax] & 0xFFFF_FFFF : cpu[GPR.rax]) & ~63
        for offset in stride(from: UInt64(0), to: 64, by: 8) { try write(0, at: address &+ offset, bytes: 8) }
    }

    /// Instructions that our CPUID does not offer, or that are there to be undefined.
    private static let undefined: Set<UInt32> = Set(
        [
            ZYDIS_MNEMONIC_UD0, ZYDIS_MNEMONIC_UD1, ZYDIS_MNEMONIC_UD2, ZYDIS_MNEMONIC_CLAC,
            ZYDIS_MNEMONIC_STAC,
            ZYDIS_MNEMONIC_MONITOR, ZYDIS_MNEMONIC_MWAIT, ZYDIS_MNEMONIC_RSM, ZYDIS_MNEMONIC_VMFUNC,
            ZYDIS_MNEMONIC_SYSENTER, ZYDIS_MNEMONIC_SYSEXIT, ZYDIS_MNEMONIC_XBEGIN, ZYDIS_MNEMONIC_XEND,
            ZYDIS_MNEMONIC_XABORT, ZYDIS_MNEMONIC_RDPID, ZYDIS_MNEMONIC_RDPKRU, ZYDIS_MNEMONIC_WRPKRU,
            ZYDIS_MNEMONIC_INVPCID, ZYDIS_MNEMONIC_XSAVES, ZYDIS_MNEMONIC_XSAVES64, ZYDIS_MNEMONIC_XRSTORS,
            ZYDIS_MNEMONIC_XRSTORS64, ZYDIS_MNEMONIC_MOVDIR64B, ZYDIS_MNEMONIC_ENQCMD, ZYDIS_MNEMONIC_ENQCMDS,
            ZYDIS_MNEMONIC_SENDUIPI, ZYDIS_MNEMONIC_UIRET, ZYDIS_MNEMONIC_TESTUI, ZYDIS_MNEMONIC_CLUI,
            ZYDIS_MNEMONIC_STUI,
        ].map(\.rawValue))

    func emulateCPUID() {
        let leaf = VirtualCPUID.leaf(
            UInt32(truncatingIfNeeded: cpu[GPR.rax]), UInt32(truncatingIfNeeded: cpu[GPR.rcx]), cpu: cpu)
        cpu[GPR.rax] = UInt64(leaf.eax)
        cpu[GPR.rbx] = UInt64(leaf.ebx)
        cpu[GPR.rcx] = UInt64(leaf.ecx)
        cpu[GPR.rdx] = UInt64(leaf.edx)
    }

    /// MOV to and from segment, control and debug registers, and absolute addresses relative to FS or GS.
    private func emulateMove(
        _ info: ZydisDecodedInstruction, _ bytes: UnsafeBufferPointer<UInt8>, next: UInt64
    ) throws(GuestException) {
        if info.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT {
            switch info.opcode {
            case 0x8E: try emulateSegmentLoad(info, next: next)
            case 0x8C: try emulateSegmentStore(info, next: next)
            case 0xA0...0xA3:
                try write(try read(fetch.operands[1], info, next: next), fetch.operands[0], info, next: next)
            default: pendingStop = unsupported(bytes)
            }
            return
        }
        guard (0x20...0x23).contains(info.opcode) else {
            pendingStop = unsupported(bytes)
            return
        }
        let isRead = info.opcode == 0x20 || info.opcode == 0x21
        let general = Int(info.raw.modrm.rm | info.raw.rex.B << 3)
        let number = info.raw.modrm.reg | info.raw.rex.R << 3
        if info.opcode == 0x20 || info.opcode == 0x22 {
            exitReason = .controlRegister
            if isRead {
                cpu[general] = try readControlRegister(number)
            } else {
                try writeControlRegister(number, cpu[general])
            }
        } else {
            exitReason = .debugRegister
            if isRead {
                cpu[general] = try readDebugRegister(number)
            } else {
                try writeDebugRegister(number, cpu[general])
            }
        }
    }
}
