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
            exitReason = .msrWrite
            let value = cpu[GPR.rdx] << 32 | cpu[GPR.rax] & 0xFFFF_FFFF
            try writeMSR(UInt32(truncatingIfNeeded: cpu[GPR.rcx]), value)
            cpu.rip &+= 2
        case (0x0F, 0x32, _):
            exitReason = .msrRead
            let value = try readMSR(UInt32(truncatingIfNeeded: cpu[GPR.rcx]))
            cpu[GPR.rax] = value & 0xFFFF_FFFF
            cpu[GPR.rdx] = value >> 32
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
        switch info.mnemonic {
        case ZYDIS_MNEMONIC_MOV:
            try emulateMove(info)
        case ZYDIS_MNEMONIC_PUSHFQ:
            let stack = cpu[GPR.rsp] &- 8
            if let page = try linear.store(cpu.flags & ~Flags.resume, at: stack, cpu.pagingMode) {
                noticeWrite(to: page)
            }
            cpu[GPR.rsp] = stack
        case ZYDIS_MNEMONIC_POPFQ:
            cpu.flags = try linear.load(cpu[GPR.rsp], cpu.pagingMode)
            cpu[GPR.rsp] &+= 8
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
            invalidate(effectiveAddress(fetch.operands[0], next: next))
        case ZYDIS_MNEMONIC_LGDT, ZYDIS_MNEMONIC_LIDT:
            exitReason = .descriptorTable
            let address = effectiveAddress(fetch.operands[0], next: next)
            let limit: UInt16 = try linear.load(address, cpu.pagingMode)
            let base: UInt64 = try linear.load(address &+ 2, cpu.pagingMode)
            guard AddressMap.isCanonical(base) else { throw .protection }
            if info.mnemonic == ZYDIS_MNEMONIC_LGDT {
                cpu.gdtLimit = limit
                cpu.gdtBase = base
            } else {
                cpu.idtLimit = limit
                cpu.idtBase = base
            }
        case ZYDIS_MNEMONIC_LTR:
            exitReason = .descriptorTable
            try loadTask(try readOperand16(next: next))
        case ZYDIS_MNEMONIC_LLDT:
            exitReason = .descriptorTable
            let selector = try readOperand16(next: next)
            if selector & ~3 != 0 { pendingStop = .unsupported("a local descriptor table") }
            cpu.localSelector = selector
        case ZYDIS_MNEMONIC_CLTS: cpu.cr0 &= ~(1 << 3)
        case ZYDIS_MNEMONIC_WBINVD, ZYDIS_MNEMONIC_INVD: break
        case ZYDIS_MNEMONIC_INT:
            exitReason = .exception
            try softwareInterrupt(
                UInt8(truncatingIfNeeded: fetch.operands[0].imm.value.u), returnTo: next)
            return
        case ZYDIS_MNEMONIC_INT3:
            exitReason = .exception
            try softwareInterrupt(3, returnTo: next)
            return
        case ZYDIS_MNEMONIC_SYSCALL:
            exitReason = .systemCall
            try systemCall(next: next)
            return
        case ZYDIS_MNEMONIC_IN, ZYDIS_MNEMONIC_OUT:
            // The 16-bit forms; others are among the frequent ones.
            let isWrite = info.mnemonic == ZYDIS_MNEMONIC_OUT
            let operand = fetch.operands[isWrite ? 0 : 1]
            let port =
                operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE
                ? UInt16(truncatingIfNeeded: operand.imm.value.u) : UInt16(truncatingIfNeeded: cpu[GPR.rdx])
            portAccess(
                port, size: info.operand_width == 16 ? 2 : info.operand_width == 8 ? 1 : 4, isWrite: isWrite
            )
        case ZYDIS_MNEMONIC_OUTSB, ZYDIS_MNEMONIC_OUTSW, ZYDIS_MNEMONIC_OUTSD:
            if try outputString(info) { return }
        case ZYDIS_MNEMONIC_VMCALL, ZYDIS_MNEMONIC_VMMCALL:
            // No hypercalls are defined yet: -ENOSYS, in the manner of KVM.
            exitReason = .hypercall
            cpu[GPR.rax] = UInt64(bitPattern: -38)
        case ZYDIS_MNEMONIC_RDFSBASE, ZYDIS_MNEMONIC_RDGSBASE, ZYDIS_MNEMONIC_WRFSBASE, ZYDIS_MNEMONIC_WRGSBASE:
            try emulateSegmentBase(info)
        case ZYDIS_MNEMONIC_ENTER, ZYDIS_MNEMONIC_POP, ZYDIS_MNEMONIC_PUSH, ZYDIS_MNEMONIC_RDPID,
            ZYDIS_MNEMONIC_SMSW,
            ZYDIS_MNEMONIC_SGDT, ZYDIS_MNEMONIC_SIDT, ZYDIS_MNEMONIC_STR, ZYDIS_MNEMONIC_SLDT,
            ZYDIS_MNEMONIC_LAR,
            ZYDIS_MNEMONIC_LSL, ZYDIS_MNEMONIC_VERR, ZYDIS_MNEMONIC_VERW, ZYDIS_MNEMONIC_RET,
            ZYDIS_MNEMONIC_CALL,
            ZYDIS_MNEMONIC_JMP, ZYDIS_MNEMONIC_LSS, ZYDIS_MNEMONIC_LFS, ZYDIS_MNEMONIC_LGS,
            ZYDIS_MNEMONIC_IRET,
            ZYDIS_MNEMONIC_IRETD, ZYDIS_MNEMONIC_SYSRET, ZYDIS_MNEMONIC_INSB, ZYDIS_MNEMONIC_INSW,
            ZYDIS_MNEMONIC_INSD, ZYDIS_MNEMONIC_PUSHF, ZYDIS_MNEMONIC_POPF:
            // Legal, but of no use to 64-bit kernels so far: say so rather than be wrong.
            pendingStop = .unsupported("this instruction in ring 0: \(disassemble(bytes, at: cpu.rip))")
        default:
            let isKnown =
                info.attributes & UInt64(ZYDIS_ATTRIB_IS_PRIVILEGED) == 0
                && !Self.undefined.contains(info.mnemonic.rawValue)
            if isKnown {
                pendingStop = .unsupported("this instruction in ring 0: \(disassemble(bytes, at: cpu.rip))")
            } else {
                throw .undefined
            }
        }
        cpu.rip = next
    }

    /// Instructions that are not offered by our CPUID, or that are there to be undefined.
    private static let undefined: Set<UInt32> = Set(
        [
            ZYDIS_MNEMONIC_UD0, ZYDIS_MNEMONIC_UD1, ZYDIS_MNEMONIC_UD2, ZYDIS_MNEMONIC_CLAC,
            ZYDIS_MNEMONIC_STAC,
            ZYDIS_MNEMONIC_MONITOR, ZYDIS_MNEMONIC_MWAIT, ZYDIS_MNEMONIC_RSM, ZYDIS_MNEMONIC_VMFUNC,
            ZYDIS_MNEMONIC_SYSENTER, ZYDIS_MNEMONIC_SYSEXIT, ZYDIS_MNEMONIC_XBEGIN, ZYDIS_MNEMONIC_XEND,
            ZYDIS_MNEMONIC_XABORT, ZYDIS_MNEMONIC_RDPMC,
        ].map(\.rawValue))

    func emulateCPUID() {
        let leaf = VirtualCPUID.leaf(
            UInt32(truncatingIfNeeded: cpu[GPR.rax]), UInt32(truncatingIfNeeded: cpu[GPR.rcx]), cpu: cpu)
        cpu[GPR.rax] = UInt64(leaf.eax)
        cpu[GPR.rbx] = UInt64(leaf.ebx)
        cpu[GPR.rcx] = UInt64(leaf.ecx)
        cpu[GPR.rdx] = UInt64(leaf.edx)
    }

    // MARK: Ports

    /// Tells the trampoline for IN which ports read the same until the VMM runs again.
    func publishSteadyPorts() {
        let values = UnsafeMutableRawPointer(cpu.state).advanced(by: Int(VB_SW_STEADY_PORTS))
            .assumingMemoryBound(to: UInt16.self)
        for port in 0..<UInt16(VB_SW_STEADY_PORT_COUNT) {
            values[Int(port)] = ports.steadyValue(of: port).map(UInt16.init) ?? UInt16(VB_SW_PORT_UNSTEADY)
        }
    }

    private func portAccess(_ port: UInt16, size: Int, isWrite: Bool) {
        exitReason = .portIO
        if isWrite {
            // What the harness does with the guest's records is no cost of virtualization.
            let delivered = ports.deliveryCycles
            defer { exitTSC &+= ports.deliveryCycles &- delivered }
            if case .exit(let code) = ports.write(
                port, size: size, value: UInt32(truncatingIfNeeded: cpu[GPR.rax]))
            {
                exitReason = .shutdown
                pendingStop = MachineStop(.debugExit(code: code))
            }
            return
        }
        let value = UInt64(ports.read(port, size: size))
        switch size {
        case 1: cpu[GPR.rax] = cpu[GPR.rax] & ~0xFF | value & 0xFF
        case 2: cpu[GPR.rax] = cpu[GPR.rax] & ~0xFFFF | value & 0xFFFF
        default: cpu[GPR.rax] = value
        }
    }

    /// OUTS: one element a call. True while a REP has more to do, so that RIP stays.
    private func outputString(_ info: ZydisDecodedInstruction) throws(GuestException) -> Bool {
        exitReason = .portIO
        let repeats = info.attributes & UInt64(ZYDIS_ATTRIB_HAS_REP) != 0
        if repeats && cpu[GPR.rcx] == 0 { return false }
        let size = Int(info.operand_width) / 8
        var value: UInt32 = 0
        try withUnsafeMutableBytes(of: &value) { (bytes) throws(GuestException) in
            try linear.read(cpu[GPR.rsi], into: bytes.baseAddress!, count: size, Access(), cpu.pagingMode)
        }
        if case .exit(let code) = ports.write(
            UInt16(truncatingIfNeeded: cpu[GPR.rdx]), size: size, value: value)
        {
            pendingStop = MachineStop(.debugExit(code: code))
        }
        let step = UInt64(size)
        cpu[GPR.rsi] = cpu.flags & Flags.direction == 0 ? cpu[GPR.rsi] &+ step : cpu[GPR.rsi] &- step
        guard repeats else { return false }
        cpu[GPR.rcx] &-= 1
        return cpu[GPR.rcx] != 0
    }

    // MARK: Operands

    private func register(_ value: ZydisRegister) -> UInt64 {
        let enclosing = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, value)
        guard ZydisRegisterGetClass(enclosing) == ZYDIS_REGCLASS_GPR64 else { return 0 }
        return cpu[Int(ZydisRegisterGetId(enclosing))]
    }

    private func effectiveAddress(_ operand: ZydisDecodedOperand, next: UInt64) -> UInt64 {
        var address = UInt64(bitPattern: operand.mem.disp.value)
        address &+= operand.mem.base == ZYDIS_REGISTER_RIP ? next : register(operand.mem.base)
        address &+= register(operand.mem.index) &* UInt64(operand.mem.scale)
        switch operand.mem.segment {
        case ZYDIS_REGISTER_FS: address &+= cpu.state.pointee.guest_fs_base
        case ZYDIS_REGISTER_GS: address &+= cpu.state.pointee.guest_gs_base
        default: break
        }
        return address
    }

    private func readOperand16(next: UInt64) throws(GuestException) -> UInt16 {
        let operand = fetch.operands[0]
        if operand.type == ZYDIS_OPERAND_TYPE_MEMORY {
            return try linear.load(effectiveAddress(operand, next: next), cpu.pagingMode)
        }
        return UInt16(truncatingIfNeeded: register(operand.reg.value))
    }

    /// MOV to and from segment, control and debug registers.
    private func emulateMove(_ info: ZydisDecodedInstruction) throws(GuestException) {
        let next = cpu.rip &+ UInt64(info.length)
        let destination = fetch.operands[0]
        let source = fetch.operands[1]
        if info.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT {
            if info.opcode == 0x8E {
                let selector: UInt16
                if source.type == ZYDIS_OPERAND_TYPE_MEMORY {
                    selector = try linear.load(effectiveAddress(source, next: next), cpu.pagingMode)
                } else {
                    selector = UInt16(truncatingIfNeeded: register(source.reg.value))
                }
                loadSegment(Int(info.raw.modrm.reg), selector)
            } else {
                guard destination.type == ZYDIS_OPERAND_TYPE_REGISTER else {
                    pendingStop = .unsupported("MOV from a segment register to memory in ring 0")
                    return
                }
                let number = Int(info.raw.modrm.reg)
                let value = UInt64(
                    number == 1 ? cpu.codeSelector : number == 2 ? cpu.stackSelector : cpu.selectors[number])
                let target = Int(ZydisRegisterGetId(destination.reg.value))
                cpu[target] = info.operand_width == 16 ? cpu[target] & ~0xFFFF | value : value
            }
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

    /// Bases and limits of segments do not count in 64-bit mode, those of FS and GS apart: a load with a null selector leaves the
    /// base (AMD) or clears it (Intel); ours clears it.
    private func loadSegment(_ number: Int, _ selector: UInt16) {
        if number == 2 { cpu.stackSelector = selector } else { cpu.selectors[number] = selector }
        if number == 4 { cpu.state.pointee.guest_fs_base = 0 }
        if number == 5 { cpu.state.pointee.guest_gs_base = 0 }
    }

    /// RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE (Intel SDM vol. 2).
    private func emulateSegmentBase(_ info: ZydisDecodedInstruction) throws(GuestException) {
        guard cpu.cr4 & 1 << 16 != 0 else { throw .undefined }
        let general = Int(info.raw.modrm.rm | info.raw.rex.B << 3)
        let isFS = info.mnemonic == ZYDIS_MNEMONIC_RDFSBASE || info.mnemonic == ZYDIS_MNEMONIC_WRFSBASE
        if info.mnemonic == ZYDIS_MNEMONIC_RDFSBASE || info.mnemonic == ZYDIS_MNEMONIC_RDGSBASE {
            let base = isFS ? cpu.state.pointee.guest_fs_base : cpu.state.pointee.guest_gs_base
            cpu[general] = info.operand_width == 64 ? base : base & 0xFFFF_FFFF
            return
        }
        let base = info.operand_width == 64 ? cpu[general] : cpu[general] & 0xFFFF_FFFF
        guard AddressMap.isCanonical(base) else { throw .protection }
        if isFS { cpu.state.pointee.guest_fs_base = base } else { cpu.state.pointee.guest_gs_base = base }
    }

    /// LTR: base and limit of the task-state segment from its 16-byte descriptor (Intel SDM vol. 3, 7.2.3).
    private func loadTask(_ selector: UInt16) throws(GuestException) {
        guard selector & 4 == 0, selector & ~3 != 0, UInt64(selector | 7) + 8 <= UInt64(cpu.gdtLimit)
        else {
            throw GuestException(
                vector: GuestException.generalProtection, errorCode: UInt32(selector & ~3))
        }
        let low: UInt64 = try linear.load(cpu.gdtBase &+ UInt64(selector & ~7), cpu.pagingMode)
        let high: UInt64 = try linear.load(cpu.gdtBase &+ UInt64(selector & ~7) &+ 8, cpu.pagingMode)
        cpu.taskSelector = selector
        cpu.taskBase = low >> 16 & 0xFF_FFFF | low >> 32 & 0xFF00_0000 | high << 32
        cpu.taskLimit = UInt32(low & 0xFFFF | low >> 32 & 0xF_0000)
    }
}
