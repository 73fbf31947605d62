import Machine

/// Loads of segment registers: from descriptors in protected mode, by shifting in real mode (Intel SDM vol. 3, 5.4 to 5.8).
extension Interpreter {
    /// The descriptor of a selector, nil where its table has none or is not mapped.
    public func descriptorIfPresent(_ selector: UInt16) -> UInt64? { try? descriptor(selector).value }

    /// The 8-byte descriptor of a selector. Throws #GP(selector) beyond its table.
    func descriptor(_ selector: UInt16) throws(Interruption) -> (address: UInt64, value: UInt64) {
        let isLocal = selector & 4 != 0
        let limit = isLocal ? (localTable.isPresent ? localTable.limit : 0) : UInt32(gdtLimit)
        guard UInt32(selector | 7) <= limit else { throw .protection(selector) }
        let address = tableAddress((isLocal ? localTable.base : gdtBase) &+ UInt64(selector & ~7))
        return (address, try load(address, 8))
    }

    /// Tables lie in 32 bits of linear addresses unless long mode is active.
    func tableAddress(_ address: UInt64) -> UInt64 { isLongModeActive ? address : address & 0xFFFF_FFFF }

    private func markAccessed(_ found: (address: UInt64, value: UInt64)) throws(Interruption) {
        // Bit 40: the type's accessed bit.
        if found.value & 1 << 40 == 0 { try store(found.value >> 40 & 0xFF | 1, found.address &+ 5, 1) }
    }

    /// Loads ES, SS, DS, FS or GS.
    func loadSegment(_ number: Int, _ selector: UInt16) throws(Interruption) {
        guard number != 1 else { throw .undefined }
        guard isProtected else {
            // Limit and rights stay, so that a limit from protected mode lives on.
            segments[number].selector = selector
            segments[number].base = UInt64(selector) << 4
            return
        }
        if selector & ~3 == 0 {
            guard number != 2 || (mode == .long64 && selector & 3 == 0) else { throw .protection() }
            segments[number] = SegmentRegister(selector: selector, limit: 0, attributes: 0)
            return
        }
        let found = try descriptor(selector)
        let segment = SegmentRegister(selector: selector, descriptor: found.value)
        if number == 2 {
            guard selector & 3 == 0, segment.privilege == 0, segment.isWritable else { throw .protection(selector) }
            guard segment.isPresent else { throw .exception(.stack(selector)) }
        } else {
            guard segment.isOrdinary, segment.isReadable,
                segment.isConforming || segment.privilege >= UInt8(selector & 3)
            else { throw .protection(selector) }
            guard segment.isPresent else { throw .exception(.notPresent(selector)) }
        }
        try markAccessed(found)
        segments[number] = segment
        segments[number].attributes |= 1
    }

    /// Loads CS for a far jump, call or return at CPL 0 and goes to `offset` in it.
    func loadCode(_ selector: UInt16, offset: UInt64, isReturn: Bool = false) throws(Interruption) {
        guard isProtected else {
            guard offset <= UInt64(segments[1].limit) else { throw .protection() }
            segments[1].selector = selector
            segments[1].base = UInt64(selector) << 4
            next = offset
            updateMode()
            return
        }
        guard selector & ~3 != 0 else { throw .protection() }
        let found = try descriptor(selector)
        var segment = SegmentRegister(selector: selector, descriptor: found.value)
        guard segment.isOrdinary else {
            guard !isReturn, [0x1, 0x4, 0x5, 0x9, 0xC].contains(segment.type) else { throw .protection(selector) }
            throw .unsupported("a far transfer through a call gate, task gate or task-state segment")
        }
        guard segment.isCode, segment.privilege == 0, isReturn || segment.isConforming || selector & 3 == 0 else {
            throw .protection(selector)
        }
        guard !isLongModeActive || !segment.isLong || !segment.isBig else { throw .protection(selector) }
        guard segment.isPresent else { throw .exception(.notPresent(selector)) }
        // In 32 bits only, where the target is not 64-bit code.
        let target = isLongModeActive && segment.isLong ? offset : offset & 0xFFFF_FFFF
        if isLongModeActive && segment.isLong {
            let top = Int64(bitPattern: target) >> 47
            guard top == 0 || top == -1 else { throw .protection() }
        } else {
            guard target <= UInt64(segment.limit) else { throw .protection() }
        }
        try markAccessed(found)
        segment.attributes |= 1
        segment.selector = selector & ~3
        setSegment(1, segment)
        next = target
        if mode == .long64 { pendingEvent = .longMode }
    }

    /// LES, LDS, LSS, LFS, LGS: the mnemonic's register is the segment whose pointer is loaded.
    func executeLoadFarPointer(_ instruction: Instruction) throws(Interruption) {
        let size = Int(instruction.width)
        let operand = instruction.second
        let address = effectiveAddress(operand, instruction.addressWidth)
        let offset = try load(Int(operand.segment), address, size)
        let selector = UInt16(
            truncatingIfNeeded: try load(
                Int(operand.segment), (address &+ UInt64(size)) & Self.mask(Int(instruction.addressWidth)), 2))
        try loadSegment(Int(instruction.loadedSegment), selector)
        writeRegister(Int(instruction.first.register), size, offset)
    }

    // MARK: System segments

    /// LTR and LLDT: descriptors of 16 bytes in long mode (Intel SDM vol. 3, 7.2.3, 3.5.1).
    func loadSystemSegment(_ selector: UInt16, isTask: Bool) throws(Interruption) {
        guard isProtected else { throw .undefined }
        if selector & ~3 == 0 {
            guard !isTask else { throw .protection() }
            localTable = SegmentRegister(selector: selector, limit: 0, attributes: 0)
            return
        }
        guard selector & 4 == 0 else { throw .protection(selector) }
        let found = try descriptor(selector)
        var segment = SegmentRegister(selector: selector, descriptor: found.value)
        let types: [UInt8] = isTask ? (isLongModeActive ? [9] : [1, 9]) : [2]
        guard !segment.isOrdinary, types.contains(segment.type) else { throw .protection(selector) }
        guard segment.isPresent else { throw .exception(.notPresent(selector)) }
        if isLongModeActive {
            guard UInt32(selector | 7) + 8 <= UInt32(gdtLimit) else { throw .protection(selector) }
            segment.base |= try load(found.address &+ 8, 4) << 32
        }
        guard isTask else {
            localTable = segment
            return
        }
        // Busy.
        try store(found.value >> 40 & 0xFF | 2, found.address &+ 5, 1)
        segment.attributes |= 2
        task = segment
    }

    /// LAR, LSL, VERR and VERW: what they find, nil where the selector is not usable this way.
    func inspect(_ selector: UInt16, _ operation: Operation) throws(Interruption) -> UInt64? {
        guard selector & ~3 != 0 else { return nil }
        let value: UInt64
        do throws(Interruption) {
            value = try descriptor(selector).value
        } catch {
            if case .exception(let exception) = error, exception.vector == 13 { return nil }
            throw error
        }
        let segment = SegmentRegister(selector: selector, descriptor: value)
        let isVisible = segment.isConforming || segment.privilege >= UInt8(selector & 3)
        guard isVisible else { return nil }
        switch operation {
        case .lar:
            let systemTypes: [UInt8] = isLongModeActive ? [2, 9, 11, 12] : [1, 2, 3, 4, 5, 9, 11, 12]
            guard segment.isOrdinary || systemTypes.contains(segment.type) else { return nil }
            return value >> 32 & 0xF0_FF00
        case .lsl:
            let systemTypes: [UInt8] = isLongModeActive ? [2, 9, 11] : [1, 2, 3, 9, 11]
            guard segment.isOrdinary || systemTypes.contains(segment.type) else { return nil }
            return UInt64(segment.limit)
        case .verr: return segment.isOrdinary && segment.isReadable ? 1 : nil
        default: return segment.isWritable ? 1 : nil
        }
    }
}
