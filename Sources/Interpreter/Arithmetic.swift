/// Addition, subtraction and logic with their flags (Intel SDM vol. 1, appendix A).
extension Interpreter {
    func setFlag(_ flag: UInt64, _ on: Bool) { flags = on ? flags | flag : flags & ~flag }

    var carry: UInt64 { flags & Flag.carry }

    /// SF, ZF and PF of a result.
    static func resultFlags(_ result: UInt64, _ size: Int) -> UInt64 {
        var set: UInt64 = 0
        if result & mask(size) == 0 { set |= Flag.zero }
        if result & signBit(size) != 0 { set |= Flag.sign }
        if (result & 0xFF).nonzeroBitCount & 1 == 0 { set |= Flag.parity }
        return set
    }

    func add(_ a: UInt64, _ b: UInt64, _ carryIn: UInt64, _ size: Int) -> UInt64 {
        let result = (a &+ b &+ carryIn) & Self.mask(size)
        let sign = Self.signBit(size)
        var set = Self.resultFlags(result, size) | (a ^ b ^ result) & Flag.adjust
        if ((a & b) | ((a | b) & ~result)) & sign != 0 { set |= Flag.carry }
        if (a ^ result) & (b ^ result) & sign != 0 { set |= Flag.overflow }
        flags = flags & ~Flag.arithmetic | set
        return result
    }

    func subtract(_ a: UInt64, _ b: UInt64, _ borrow: UInt64, _ size: Int) -> UInt64 {
        let result = (a &- b &- borrow) & Self.mask(size)
        let sign = Self.signBit(size)
        var set = Self.resultFlags(result, size) | (a ^ b ^ result) & Flag.adjust
        if ((~a & b) | ((~a | b) & result)) & sign != 0 { set |= Flag.carry }
        if (a ^ b) & (a ^ result) & sign != 0 { set |= Flag.overflow }
        flags = flags & ~Flag.arithmetic | set
        return result
    }

    /// AF is undefined after logic; CPUs clear it.
    func logic(_ result: UInt64, _ size: Int) -> UInt64 {
        flags = flags & ~Flag.arithmetic | Self.resultFlags(result, size)
        return result & Self.mask(size)
    }

    /// Whether a condition code holds (Intel SDM vol. 1, appendix B).
    func holds(_ condition: UInt8) -> Bool {
        let signDiffers = (flags & Flag.sign != 0) != (flags & Flag.overflow != 0)
        let isTrue =
            switch condition >> 1 {
            case 0: flags & Flag.overflow != 0
            case 1: flags & Flag.carry != 0
            case 2: flags & Flag.zero != 0
            case 3: flags & (Flag.carry | Flag.zero) != 0
            case 4: flags & Flag.sign != 0
            case 5: flags & Flag.parity != 0
            case 6: signDiffers
            default: signDiffers || flags & Flag.zero != 0
            }
        return isTrue != (condition & 1 != 0)
    }

    func executeArithmetic(_ instruction: Instruction) throws(Interruption) {
        let size = Int(instruction.first.size)
        let mask = Self.mask(size)
        let a = try read(instruction.first, instruction)
        let result: UInt64
        switch instruction.operation {
        case .inc, .dec:
            let kept = carry
            result = instruction.operation == .inc ? add(a, 1, 0, size) : subtract(a, 1, 0, size)
            setFlag(Flag.carry, kept != 0)
        case .neg: result = subtract(0, a, 0, size)
        case .not: result = ~a & mask
        default:
            let b = try read(instruction.second, instruction) & mask
            switch instruction.operation {
            case .add: result = add(a, b, 0, size)
            case .adc: result = add(a, b, carry, size)
            case .sub: result = subtract(a, b, 0, size)
            case .sbb: result = subtract(a, b, carry, size)
            case .and: result = logic(a & b, size)
            case .or: result = logic(a | b, size)
            case .xor: result = logic(a ^ b, size)
            case .cmp:
                _ = subtract(a, b, 0, size)
                return
            case .test:
                _ = logic(a & b, size)
                return
            case .xadd:
                result = add(a, b, 0, size)
                // Destination first: with the same register twice the sum is what stays.
                if instruction.first.kind == .memory {
                    try write(result, instruction.first, instruction)
                    try write(a, instruction.second, instruction)
                } else {
                    try write(a, instruction.second, instruction)
                    try write(result, instruction.first, instruction)
                }
                return
            case .cmpxchg:
                let accumulator = readRegister(0, size)
                _ = subtract(accumulator, a, 0, size)
                if accumulator == a {
                    try write(b, instruction.first, instruction)
                } else {
                    // The destination is written in either case (Intel SDM vol. 2, CMPXCHG).
                    try write(a, instruction.first, instruction)
                    writeRegister(0, size, a)
                }
                return
            default: throw .unsupported("operation \(instruction.operation)")
            }
        }
        try write(result, instruction.first, instruction)
    }

    /// CMPXCHG8B m64.
    func compareExchange8(_ instruction: Instruction) throws(Interruption) {
        let current = try read(instruction.first, instruction)
        let expected = registers[2] << 32 | registers[0] & 0xFFFF_FFFF
        if current == expected {
            try write(registers[1] << 32 | registers[3] & 0xFFFF_FFFF, instruction.first, instruction)
        } else {
            try write(current, instruction.first, instruction)
            writeRegister(0, 4, current)
            writeRegister(2, 4, current >> 32)
        }
        setFlag(Flag.zero, current == expected)
    }

    // MARK: Multiplication and division

    func executeMultiply(_ instruction: Instruction) throws(Interruption) {
        let size = Int(instruction.first.size)
        let bits = UInt64(8 * size)
        if instruction.operation == .imul, instruction.count > 1 {
            // Two operands: the first times the second; three: the second times the third.
            let pair =
                instruction.count == 2
                ? (instruction.first, instruction.second) : (instruction.second, instruction.third)
            let a = Self.signExtend(try read(pair.0, instruction), size)
            let b = Self.signExtend(try read(pair.1, instruction), size)
            let product = Int64(bitPattern: a).multipliedFullWidth(by: Int64(bitPattern: b))
            let isExact =
                Self.signExtend(product.low, size) == product.low
                && product.high == (Int64(bitPattern: product.low) < 0 ? -1 : 0)
            setFlag(Flag.carry | Flag.overflow, !isExact)
            try write(product.low, instruction.first, instruction)
            return
        }
        let factor = try read(instruction.first, instruction)
        let accumulator = readRegister(0, size)
        let low: UInt64
        let high: UInt64
        if instruction.operation == .mul {
            let product = accumulator.multipliedFullWidth(by: factor)
            low = product.low
            high = size == 8 ? product.high : product.low >> bits
            setFlag(Flag.carry | Flag.overflow, high & Self.mask(size) != 0)
        } else {
            let product = Int64(bitPattern: Self.signExtend(accumulator, size))
                .multipliedFullWidth(by: Int64(bitPattern: Self.signExtend(factor, size)))
            low = product.low
            high = size == 8 ? UInt64(bitPattern: product.high) : product.low >> bits
            let sign = Self.signExtend(low, size) >> 63 == 0 ? 0 : Self.mask(size)
            setFlag(Flag.carry | Flag.overflow, high & Self.mask(size) != sign)
        }
        writeProduct(low, high, size)
    }

    private func writeProduct(_ low: UInt64, _ high: UInt64, _ size: Int) {
        if size == 1 {
            writeRegister(0, 2, low & 0xFF | (high & 0xFF) << 8)
        } else {
            writeRegister(0, size, low)
            writeRegister(2, size, high)
        }
    }

    func executeDivide(_ instruction: Instruction) throws(Interruption) {
        let size = Int(instruction.first.size)
        let bits = UInt64(8 * size)
        let divisor = try read(instruction.first, instruction)
        guard divisor != 0 else { throw .exception(.divideError) }
        let high = size == 1 ? registers[0] >> 8 & 0xFF : readRegister(2, size)
        let low = readRegister(0, size)
        let quotient: UInt64
        let remainder: UInt64
        if instruction.operation == .div {
            guard high < divisor else { throw .exception(.divideError) }
            (quotient, remainder) =
                size == 8
                ? divisor.dividingFullWidth((high, low))
                : (high << bits | low).quotientAndRemainder(dividingBy: divisor)
        } else {
            let signedDivisor = Int64(bitPattern: Self.signExtend(divisor, size))
            // Magnitudes divide; the quotient's sign is the product's, the remainder's the dividend's.
            let isNegative = high & Self.signBit(size) != 0
            var magnitude = (high: Self.signExtend(high, size), low: size == 8 ? low : 0)
            if size < 8 {
                let dividend = Self.signExtend(high << bits | low, 2 * size)
                magnitude = (high: 0, low: isNegative ? 0 &- dividend : dividend)
            } else if isNegative {
                let negated = 0 &- low
                magnitude = (high: ~high &+ (low == 0 ? 1 : 0), low: negated)
            }
            let divisorMagnitude = signedDivisor.magnitude
            guard magnitude.high < divisorMagnitude else { throw .exception(.divideError) }
            let result = divisorMagnitude.dividingFullWidth(magnitude)
            let quotientIsNegative = isNegative != (signedDivisor < 0)
            let limit = Self.signBit(size) &- (quotientIsNegative ? 0 : 1)
            guard result.quotient <= limit else { throw .exception(.divideError) }
            quotient = quotientIsNegative ? 0 &- result.quotient : result.quotient
            remainder = isNegative ? 0 &- result.remainder : result.remainder
        }
        writeProduct(quotient, remainder, size)
    }

    // MARK: Decimal adjustment (Intel SDM vol. 2; not in 64-bit mode)

    func executeDecimal(_ instruction: Instruction) throws(Interruption) {
        let low = readRegister(0, 1)
        let needsLow = low & 0xF > 9 || flags & Flag.adjust != 0
        switch instruction.operation {
        case .aaa, .aas:
            if needsLow {
                let ax = readRegister(0, 2)
                writeRegister(0, 2, instruction.operation == .aaa ? ax &+ 0x106 : ax &- 0x106)
            }
            setFlag(Flag.adjust | Flag.carry, needsLow)
            writeRegister(0, 1, registers[0] & 0xF)
        case .daa, .das:
            let needsHigh = low > 0x99 || carry != 0
            let isAddition = instruction.operation == .daa
            var value = low
            var carries = needsHigh
            if needsLow {
                value = isAddition ? value &+ 6 : value &- 6
                // DAS also borrows out of the low correction.
                if !isAddition && low < 6 { carries = true }
            }
            if needsHigh { value = isAddition ? value &+ 0x60 : value &- 0x60 }
            writeRegister(0, 1, value)
            flags = flags & ~Flag.arithmetic | Self.resultFlags(value, 1)
            setFlag(Flag.adjust, needsLow)
            setFlag(Flag.carry, carries)
        case .aam:
            let base = instruction.first.value & 0xFF
            guard base != 0 else { throw .exception(.divideError) }
            writeRegister(0, 2, (low / base) << 8 | low % base)
            flags = flags & ~Flag.arithmetic | Self.resultFlags(low % base, 1)
        default:
            let value = (low &+ (registers[0] >> 8 & 0xFF) &* (instruction.first.value & 0xFF)) & 0xFF
            writeRegister(0, 2, value)
            flags = flags & ~Flag.arithmetic | Self.resultFlags(value, 1)
        }
    }
}
