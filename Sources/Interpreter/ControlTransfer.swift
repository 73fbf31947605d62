import Machine

/// Jumps, calls, returns and software interrupts; far ones change CS and with it perhaps the mode.
extension Interpreter {
    func executeTransfer(_ instruction: Instruction) throws(Interruption) {
        let size = Int(instruction.width)
        switch instruction.operation {
        case .jmp:
            if instruction.isFar {
                let target = try farTarget(instruction)
                try loadCode(target.selector, offset: target.offset)
            } else {
                try jump(to: try nearTarget(instruction), size)
            }
        case .jcc: if holds(instruction.condition) { try jump(to: try nearTarget(instruction), size) }
        case .jcxz:
            if readRegister(1, Int(instruction.addressWidth)) == 0 {
                try jump(to: try nearTarget(instruction), size)
            }
        case .loop, .loope, .loopne:
            let address = Int(instruction.addressWidth)
            let count = (readRegister(1, address) &- 1) & Self.mask(address)
            let isZero = flags & Flag.zero != 0
            let goesOn =
                count != 0 && (instruction.operation == .loop || isZero == (instruction.operation == .loope))
            if goesOn { try jump(to: try nearTarget(instruction), size) }
            writeRegister(1, address, count)
        case .call:
            if instruction.isFar {
                let target = try farTarget(instruction)
                let (selector, offset) = (segments[1].selector, next)
                // The frame is checked before CS changes.
                try push(UInt64(selector), size)
                try push(offset, size)
                try loadCode(target.selector, offset: target.offset)
            } else {
                let target = try nearTarget(instruction)
                try push(next, size)
                try jump(to: target, size)
            }
        case .ret: try executeReturn(instruction)
        case .iret: try interruptReturn(size)
        case .int:
            try softwareInterrupt(UInt8(truncatingIfNeeded: instruction.first.value))
        case .int3: try softwareInterrupt(3)
        default: if flags & Flag.overflow != 0 { try softwareInterrupt(ProcessorException.overflow) }
        }
    }

    private func nearTarget(_ instruction: Instruction) throws(Interruption) -> UInt64 {
        let operand = instruction.first
        if operand.kind == .relative { return next &+ operand.value }
        return try read(operand, instruction)
    }

    /// Near branch: the operand size cuts the target.
    private func jump(to target: UInt64, _ size: Int) throws(Interruption) {
        let offset = mode == .long64 ? target : target & Self.mask(min(size, 4))
        try checkTarget(offset, segments[1])
        next = offset
    }

    private func checkTarget(_ offset: UInt64, _ code: SegmentRegister) throws(Interruption) {
        if isLongModeActive && code.isLong {
            let top = Int64(bitPattern: offset) >> 47
            guard top == 0 || top == -1 else { throw .protection() }
        } else {
            guard offset <= UInt64(code.limit) else { throw .protection() }
        }
    }

    /// A far pointer, immediate or in memory: offset, then selector.
    private func farTarget(_ instruction: Instruction) throws(Interruption) -> (selector: UInt16, offset: UInt64) {
        let operand = instruction.first
        let size = Int(instruction.width)
        if operand.kind == .far { return (operand.selector, operand.value & Self.mask(size)) }
        let address = effectiveAddress(operand, instruction.addressWidth)
        let offset = try load(Int(operand.segment), address, size)
        let selector = try load(
            Int(operand.segment), (address &+ UInt64(size)) & Self.mask(Int(instruction.addressWidth)), 2)
        return (UInt16(selector), offset)
    }

    private func executeReturn(_ instruction: Instruction) throws(Interruption) {
        let size = Int(instruction.width)
        let released = instruction.first.kind == .immediate ? instruction.first.value & 0xFFFF : 0
        let offset = try pop(size)
        if instruction.isFar {
            let selector = UInt16(truncatingIfNeeded: try pop(size))
            guard selector & 3 == 0 || !isProtected else { throw .unsupported(Self.ring3) }
            setStackPointer(registers[4] &+ released)
            try loadCode(selector, offset: offset, isReturn: true)
        } else {
            setStackPointer(registers[4] &+ released)
            try jump(to: offset, size)
        }
    }

    static let ring3 = "ring-3 code outside 64-bit mode"

    /// IRET, IRETD and, into compatibility or 64-bit mode, IRETQ.
    private func interruptReturn(_ size: Int) throws(Interruption) {
        if isProtected && flags & Flag.nestedTask != 0 { throw .unsupported("task switches (IRET with RFLAGS.NT)") }
        let offset = try pop(size)
        let selector = UInt16(truncatingIfNeeded: try pop(size))
        let newFlags = try pop(size)
        if isProtected {
            if newFlags & Flag.virtual8086 != 0 && size == 4 && !isLongModeActive {
                throw .unsupported("virtual-8086 mode")
            }
            guard selector & 3 == 0 else { throw .unsupported(Self.ring3) }
        }
        if mode == .long64 {
            // SS:RSP are always popped in 64-bit mode.
            let stack = try pop(size)
            let stackSelector = UInt16(truncatingIfNeeded: try pop(size))
            let code = segments[1]
            try loadCode(selector, offset: offset, isReturn: true)
            if stackSelector & ~3 == 0 {
                segments[2] = SegmentRegister(selector: stackSelector, limit: 0, attributes: 0)
            } else {
                do throws(Interruption) { try loadSegment(2, stackSelector) } catch {
                    // A fault leaves CS as it was.
                    setSegment(1, code)
                    pendingEvent = nil
                    throw error
                }
            }
            registers[4] = stack
        } else {
            try loadCode(selector, offset: offset, isReturn: true)
        }
        try setFlags(newFlags, size)
    }

    private func softwareInterrupt(_ vector: UInt8) throws(Interruption) {
        let returnAddress = next
        if !isProtected {
            let entry = idtBase &+ UInt64(vector) * 4
            if UInt64(vector) * 4 + 3 <= UInt64(idtLimit), try load(entry & 0xFFFF_FFFF, 4) == 0 {
                throw .unsupported("INT \(hex(UInt64(vector))) in real mode: there is no BIOS")
            }
        }
        try enterHandler(vector, errorCode: nil, returnTo: returnAddress, isSoftware: true)
    }
}
