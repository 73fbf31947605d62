/// Shifts, rotations and bit instructions. Flags that the SDM leaves undefined are those of a shift by one, or unchanged.
extension Interpreter {
    func executeShift(_ instruction: Instruction) throws(Interruption) {
        let size = Int(instruction.first.size)
        let bits = UInt64(8 * size)
        let mask = Self.mask(size)
        let sign = Self.signBit(size)
        let count = try read(instruction.second, instruction) & (size == 8 ? 63 : 31)
        let value = try read(instruction.first, instruction)
        guard count != 0 else {
            // The destination is still accessed for writing.
            if instruction.first.kind == .memory { try write(value, instruction.first, instruction) }
            if instruction.first.kind == .register && size == 4 { try write(value, instruction.first, instruction) }
            return
        }
        var result: UInt64
        var carryOut: Bool
        var overflow: Bool
        switch instruction.operation {
        case .shl:
            result = count < 64 ? value << count & mask : 0
            carryOut = count <= bits && value >> (bits - count) & 1 != 0
            overflow = (result & sign != 0) != carryOut
        case .shr:
            result = value >> count
            carryOut = value >> (count - 1) & 1 != 0
            overflow = value & sign != 0
        case .sar:
            let extended = Int64(bitPattern: Self.signExtend(value, size))
            result = UInt64(bitPattern: extended >> Int64(count)) & mask
            carryOut = extended >> Int64(count - 1) & 1 != 0
            overflow = false
        default:
            try executeRotation(instruction, value, count)
            return
        }
        flags = flags & ~Flag.arithmetic | Self.resultFlags(result, size)
        setFlag(Flag.carry, carryOut)
        setFlag(Flag.overflow, overflow)
        try write(result, instruction.first, instruction)
    }

    private func executeRotation(_ instruction: Instruction, _ value: UInt64, _ count: UInt64) throws(Interruption) {
        let size = Int(instruction.first.size)
        let bits = UInt64(8 * size)
        let mask = Self.mask(size)
        let top = bits - 1
        var result = value
        var carryOut = carry
        switch instruction.operation {
        case .rol:
            let by = count % bits
            if by != 0 { result = (value << by | value >> (bits - by)) & mask }
            carryOut = result & 1
            setFlag(Flag.overflow, result >> top & 1 != carryOut)
        case .ror:
            let by = count % bits
            if by != 0 { result = (value >> by | value << (bits - by)) & mask }
            carryOut = result >> top & 1
            setFlag(Flag.overflow, (result >> top ^ result >> (top - 1)) & 1 != 0)
        case .rcl:
            for _ in 0..<count % (bits + 1) {
                let out = result >> top & 1
                result = (result << 1 | carryOut) & mask
                carryOut = out
            }
            setFlag(Flag.overflow, result >> top & 1 != carryOut)
        default:
            for _ in 0..<count % (bits + 1) {
                let out = result & 1
                result = result >> 1 | carryOut << top
                carryOut = out
            }
            setFlag(Flag.overflow, (result >> top ^ result >> (top - 1)) & 1 != 0)
        }
        setFlag(Flag.carry, carryOut != 0)
        try write(result, instruction.first, instruction)
    }

    /// SHLD and SHRD. For 16-bit operands and counts above 16 result and flags are undefined.
    func executeDoubleShift(_ instruction: Instruction) throws(Interruption) {
        let size = Int(instruction.first.size)
        let bits = UInt64(8 * size)
        let count = try read(instruction.third, instruction) & (size == 8 ? 63 : 31)
        let value = try read(instruction.first, instruction)
        let filler = try read(instruction.second, instruction)
        guard count != 0, count <= bits else {
            try write(value, instruction.first, instruction)
            return
        }
        let result: UInt64
        let carryOut: UInt64
        if instruction.operation == .shld {
            result = ((count < 64 ? value << count : 0) | filler >> (bits - count)) & Self.mask(size)
            carryOut = value >> (bits - count) & 1
        } else {
            result = (value >> count | filler << (bits - count)) & Self.mask(size)
            carryOut = value >> (count - 1) & 1
        }
        flags = flags & ~Flag.arithmetic | Self.resultFlags(result, size)
        setFlag(Flag.carry, carryOut != 0)
        setFlag(Flag.overflow, (result ^ value) & Self.signBit(size) != 0)
        try write(result, instruction.first, instruction)
    }

    /// BT, BTS, BTR, BTC. A register as bit offset reaches beyond a memory operand, in both directions.
    func executeBitTest(_ instruction: Instruction) throws(Interruption) {
        let size = Int(instruction.first.size)
        let bits = UInt64(8 * size)
        let offset = try read(instruction.second, instruction)
        let bit = UInt64(1) << (offset & (bits - 1))
        var target = instruction.first
        if target.kind == .memory, instruction.second.kind == .register {
            let signed = Int64(bitPattern: Self.signExtend(offset, Int(instruction.second.size)))
            target.value &+= UInt64(bitPattern: (signed >> Int64(bits.trailingZeroBitCount)) * Int64(size))
        }
        let value = try read(target, instruction)
        switch instruction.operation {
        case .bts: try write(value | bit, target, instruction)
        case .btr: try write(value & ~bit, target, instruction)
        case .btc: try write(value ^ bit, target, instruction)
        default: break
        }
        setFlag(Flag.carry, value & bit != 0)
    }

    func executeBitScan(_ instruction: Instruction) throws(Interruption) {
        let size = Int(instruction.first.size)
        let bits = UInt64(8 * size)
        let value = try read(instruction.second, instruction)
        let trailing = value == 0 ? bits : UInt64(value.trailingZeroBitCount)
        let leading = value == 0 ? bits : UInt64(value.leadingZeroBitCount) - (64 - bits)
        switch instruction.operation {
        case .bsf, .bsr:
            setFlag(Flag.zero, value == 0)
            // With a source of zero the destination stays (AMD APM vol. 3; Intel's CPUs do the same).
            guard value != 0 else { return }
            try write(instruction.operation == .bsf ? trailing : bits - 1 - leading, instruction.first, instruction)
        case .tzcnt, .lzcnt:
            let result = instruction.operation == .tzcnt ? trailing : leading
            setFlag(Flag.carry, value == 0)
            setFlag(Flag.zero, result == 0)
            try write(result, instruction.first, instruction)
        default:
            flags &= ~Flag.arithmetic
            setFlag(Flag.zero, value == 0)
            try write(UInt64(value.nonzeroBitCount), instruction.first, instruction)
        }
    }
}
