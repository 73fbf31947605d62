/// Operands: registers by width, memory by effective address.
extension Interpreter {
    static func mask(_ size: Int) -> UInt64 { size >= 8 ? .max : (1 << UInt64(8 * size)) - 1 }

    static func signBit(_ size: Int) -> UInt64 { 1 << UInt64(8 * size - 1) }

    static func signExtend(_ value: UInt64, _ size: Int) -> UInt64 {
        let shift = UInt64(64 - 8 * size)
        return UInt64(bitPattern: Int64(bitPattern: value << shift) >> shift)
    }

    func readRegister(_ number: Int, _ size: Int) -> UInt64 { registers[number] & Self.mask(size) }

    /// 32-bit writes clear the upper half, narrower ones keep what is above them.
    func writeRegister(_ number: Int, _ size: Int, _ value: UInt64) {
        switch size {
        case 8: registers[number] = value
        case 4: registers[number] = value & 0xFFFF_FFFF
        default: registers[number] = registers[number] & ~Self.mask(size) | value & Self.mask(size)
        }
    }

    /// Offset of a memory operand in its segment.
    func effectiveAddress(_ operand: Operand, _ addressWidth: UInt8) -> UInt64 {
        var address = operand.value
        if operand.base >= 0 { address &+= registers[Int(operand.base)] }
        if operand.index >= 0 { address &+= registers[Int(operand.index)] &* UInt64(operand.scale) }
        if operand.isRelativeToIP { address &+= next }
        return address & Self.mask(Int(addressWidth))
    }

    func read(_ operand: Operand, _ instruction: Instruction) throws(Interruption) -> UInt64 {
        let size = Int(operand.size)
        switch operand.kind {
        case .register: return readRegister(Int(operand.register), size)
        case .highByte: return registers[Int(operand.register)] >> 8 & 0xFF
        case .immediate, .relative: return operand.value
        case .memory:
            return try load(Int(operand.segment), effectiveAddress(operand, instruction.addressWidth), size)
        case .segment: return UInt64(segments[Int(operand.register)].selector)
        case .none, .control, .debug, .far: throw .unsupported("an operand of kind \(operand.kind)")
        }
    }

    func write(_ value: UInt64, _ operand: Operand, _ instruction: Instruction) throws(Interruption) {
        let size = Int(operand.size)
        switch operand.kind {
        case .register: writeRegister(Int(operand.register), size, value)
        case .highByte:
            let number = Int(operand.register)
            registers[number] = registers[number] & ~0xFF00 | (value & 0xFF) << 8
        case .memory:
            try store(value, Int(operand.segment), effectiveAddress(operand, instruction.addressWidth), size)
        case .none, .segment, .control, .debug, .immediate, .relative, .far:
            throw .unsupported("a result of kind \(operand.kind)")
        }
    }
}
