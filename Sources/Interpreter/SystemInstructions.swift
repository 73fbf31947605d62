import Machine

/// Ports, control registers, MSRs, descriptor tables.
extension Interpreter {
    func executeSystem(_ instruction: Instruction) throws(Interruption) {
        switch instruction.operation {
        case .in:
            let size = Int(instruction.first.size)
            let port = UInt16(truncatingIfNeeded: try read(instruction.second, instruction))
            writeRegister(0, size, UInt64(bus.readPort(port & portMask(instruction.second), size: size)))
            pendingEvent = .device(.port)
        case .out:
            let size = Int(instruction.second.size)
            let port = UInt16(truncatingIfNeeded: try read(instruction.first, instruction))
            bus.writePort(
                port & portMask(instruction.first), size: size,
                value: UInt32(truncatingIfNeeded: readRegister(0, size)))
            pendingEvent = .device(.port)
        case .lgdt, .lidt: try loadTable(instruction)
        case .sgdt, .sidt:
            let isGlobal = instruction.operation == .sgdt
            let address = effectiveAddress(instruction.first, instruction.addressWidth)
            let segment = Int(instruction.first.segment)
            try store(UInt64(isGlobal ? gdtLimit : idtLimit), segment, address, 2)
            try store(
                isGlobal ? gdtBase : idtBase, segment, (address &+ 2) & Self.mask(Int(instruction.addressWidth)),
                mode == .long64 ? 8 : 4)
        case .lldt, .ltr:
            let selector = UInt16(truncatingIfNeeded: try read(instruction.first, instruction))
            try loadSystemSegment(selector, isTask: instruction.operation == .ltr)
        case .sldt, .str:
            guard isProtected else { throw .undefined }
            try write(
                UInt64(instruction.operation == .str ? task.selector : localTable.selector), instruction.first,
                instruction)
        case .lmsw:
            // PE can be set but not cleared.
            let value = try read(instruction.first, instruction) & 0xF
            try writeControl(0, cr0 & ~0xE | value)
        case .smsw: try write(cr0, instruction.first, instruction)
        case .clts: cr0 &= ~Control.taskSwitched
        case .invlpg: forgetTranslations()
        case .rdmsr:
            let value = try readMSR(UInt32(truncatingIfNeeded: registers[1]))
            writeRegister(0, 4, value)
            writeRegister(2, 4, value >> 32)
            pendingEvent = .device(.msr)
        case .wrmsr:
            try writeMSR(UInt32(truncatingIfNeeded: registers[1]), registers[2] << 32 | registers[0] & 0xFFFF_FFFF)
            pendingEvent = .device(.msr)
        case .rdtsc, .rdtscp:
            let value = bus.timestamp()
            writeRegister(0, 4, value)
            writeRegister(2, 4, value >> 32)
            // IA32_TSC_AUX (Intel SDM vol. 4).
            if instruction.operation == .rdtscp { writeRegister(1, 4, bus.readMSR(0xC000_0103) ?? 0) }
        case .cpuid:
            let leaf = bus.cpuid(
                UInt32(truncatingIfNeeded: registers[0]), UInt32(truncatingIfNeeded: registers[1]), cr4: cr4)
            writeRegister(0, 4, UInt64(leaf.eax))
            writeRegister(3, 4, UInt64(leaf.ebx))
            writeRegister(1, 4, UInt64(leaf.ecx))
            writeRegister(2, 4, UInt64(leaf.edx))
            pendingEvent = .device(.cpuid)
        case .fninit: bus.resetFPU()
        case .lar, .lsl:
            guard isProtected else { throw .undefined }
            let selector = UInt16(truncatingIfNeeded: try read(instruction.second, instruction))
            let found = try inspect(selector, instruction.operation)
            setFlag(Flag.zero, found != nil)
            if let found { try write(found, instruction.first, instruction) }
        default:
            guard isProtected else { throw .undefined }
            let selector = UInt16(truncatingIfNeeded: try read(instruction.first, instruction))
            setFlag(Flag.zero, try inspect(selector, instruction.operation) != nil)
        }
    }

    /// An immediate port has eight bits.
    private func portMask(_ operand: Operand) -> UInt16 { operand.kind == .immediate ? 0xFF : 0xFFFF }

    /// With 16-bit operands the base has 24 bits (Intel SDM vol. 2, LGDT).
    private func loadTable(_ instruction: Instruction) throws(Interruption) {
        let address = effectiveAddress(instruction.first, instruction.addressWidth)
        let segment = Int(instruction.first.segment)
        let limit = UInt16(try load(segment, address, 2))
        let baseAddress = (address &+ 2) & Self.mask(Int(instruction.addressWidth))
        var base = try load(segment, baseAddress, mode == .long64 ? 8 : 4)
        if instruction.width == 2 { base &= 0xFF_FFFF }
        if instruction.operation == .lgdt {
            (gdtLimit, gdtBase) = (limit, base)
        } else {
            (idtLimit, idtBase) = (limit, base)
        }
    }

    // MARK: Control registers (Intel SDM vol. 3, 2.5)

    func readControl(_ number: UInt8) throws(Interruption) -> UInt64 {
        switch number {
        case 0: return cr0
        case 2: return cr2
        case 3: return cr3
        case 4: return cr4
        case 8: return bus.taskPriority
        default: throw .undefined
        }
    }

    func writeControl(_ number: UInt8, _ value: UInt64) throws(Interruption) {
        switch number {
        case 0: try writeCR0(value)
        case 2: cr2 = value
        case 3:
            // Bits above the physical address are reserved.
            guard value & 0xFFF0_0000_0000_0000 == 0 else { throw .protection() }
            if usesPAE { guard loadDirectoryPointers(value) else { throw .protection() } }
            cr3 = value
            forgetTranslations()
        case 4:
            guard value & ~bus.offeredCR4 == 0 else { throw .protection() }
            let changed = cr4 ^ value
            if isLongModeActive && value & Control.physicalAddressExtension == 0 { throw .protection() }
            let before = cr4
            cr4 = value
            if changed & Control.physicalAddressExtension != 0, usesPAE, !loadDirectoryPointers(cr3) {
                cr4 = before
                throw .protection()
            }
            forgetTranslations()
        case 8:
            guard value < 16 else { throw .protection() }
            bus.taskPriority = value
            pendingEvent = .device(.msr)
        default: throw .undefined
        }
    }

    private func writeCR0(_ value: UInt64) throws(Interruption) {
        let value = value & 0xFFFF_FFFF | Control.extensionType
        guard value & Control.paging == 0 || value & Control.protectionEnable != 0 else { throw .protection() }
        guard value & Control.notWriteThrough == 0 || value & Control.cacheDisable != 0 else { throw .protection() }
        let turnsOn = value & Control.paging != 0 && !isPaged
        let turnsOff = value & Control.paging == 0 && isPaged
        let before = (cr0, efer)
        if turnsOn && efer & Control.longModeEnable != 0 {
            guard cr4 & Control.physicalAddressExtension != 0, !segments[1].isLong else { throw .protection() }
            efer |= Control.longModeActive
        }
        if turnsOff {
            // Not from 64-bit code (Intel SDM vol. 3, 9.8.5.4).
            guard mode != .long64 else { throw .protection() }
            efer &= ~Control.longModeActive
        }
        cr0 = value
        if turnsOn, usesPAE, !loadDirectoryPointers(cr3) {
            (cr0, efer) = before
            throw .protection()
        }
        forgetTranslations()
        updateMode()
    }

    // MARK: MSRs

    private static let eferMSR: UInt32 = 0xC000_0080
    private static let fsBaseMSR: UInt32 = 0xC000_0100
    private static let gsBaseMSR: UInt32 = 0xC000_0101

    private func readMSR(_ number: UInt32) throws(Interruption) -> UInt64 {
        switch number {
        case Self.eferMSR: return efer
        case Self.fsBaseMSR: return segments[4].base
        case Self.gsBaseMSR: return segments[5].base
        default:
            guard let value = bus.readMSR(number) else { throw .protection() }
            return value
        }
    }

    private func writeMSR(_ number: UInt32, _ value: UInt64) throws(Interruption) {
        switch number {
        case Self.eferMSR:
            // SCE, LME, LMA (read-only), NXE.
            guard value & ~0xD01 == 0 else { throw .protection() }
            guard !isPaged || (value ^ efer) & Control.longModeEnable == 0 else { throw .protection() }
            efer = value & ~Control.longModeActive | efer & Control.longModeActive
            forgetTranslations()
        case Self.fsBaseMSR, Self.gsBaseMSR:
            let top = Int64(bitPattern: value) >> 47
            guard top == 0 || top == -1 else { throw .protection() }
            segments[number == Self.fsBaseMSR ? 4 : 5].base = value
        default:
            guard bus.writeMSR(number, value) else { throw .protection() }
        }
    }
}
