/// MOVS, CMPS, SCAS, STOS, LODS, INS and OUTS, with their repetitions.
extension Interpreter {
    func executeString(_ instruction: Instruction) throws(Interruption) {
        let address = Int(instruction.addressWidth)
        let isRepeated = instruction.repeats != .none
        while true {
            if isRepeated {
                guard readRegister(1, address) != 0 else { return }
            }
            let compares = try executeElement(instruction)
            if isRepeated {
                writeRegister(1, address, readRegister(1, address) &- 1)
                keepProgress()
                let wantsEqual = instruction.repeats == .whileEqual
                if compares && (flags & Flag.zero != 0) != wantsEqual { return }
                guard readRegister(1, address) != 0 else { return }
                // The rest comes after whoever is waiting has been served: RIP stays.
                if attention.pointee != 0 || pendingEvent != nil {
                    next = rip
                    return
                }
            } else {
                return
            }
        }
    }

    /// One element. Returns whether its flags can end a repetition.
    private func executeElement(_ instruction: Instruction) throws(Interruption) -> Bool {
        let address = Int(instruction.addressWidth)
        let size = Int(instruction.width)
        let source = readRegister(6, address)
        let destination = readRegister(7, address)
        let segment = Int(instruction.sourceSegment)
        switch instruction.operation {
        case .movs:
            try store(try load(segment, source, size), 0, destination, size)
            advance(6, size, address)
            advance(7, size, address)
        case .cmps:
            let a = try load(segment, source, size)
            _ = subtract(a, try load(0, destination, size), 0, size)
            advance(6, size, address)
            advance(7, size, address)
            return true
        case .scas:
            _ = subtract(readRegister(0, size), try load(0, destination, size), 0, size)
            advance(7, size, address)
            return true
        case .stos:
            try store(readRegister(0, size), 0, destination, size)
            advance(7, size, address)
        case .lods:
            writeRegister(0, size, try load(segment, source, size))
            advance(6, size, address)
        case .ins:
            // The destination must take it before the device gives it.
            _ = try translate(try linear(0, destination, size, write: true), write: true)
            let value = bus.readPort(UInt16(truncatingIfNeeded: registers[2]), size: size)
            pendingEvent = .device(.port)
            try store(UInt64(value), 0, destination, size)
            advance(7, size, address)
        default:
            let value = try load(segment, source, size)
            bus.writePort(
                UInt16(truncatingIfNeeded: registers[2]), size: size, value: UInt32(truncatingIfNeeded: value))
            pendingEvent = .device(.port)
            advance(6, size, address)
        }
        return false
    }

    private func advance(_ register: Int, _ size: Int, _ address: Int) {
        let step = flags & Flag.direction == 0 ? UInt64(size) : 0 &- UInt64(size)
        writeRegister(register, address, readRegister(register, address) &+ step)
    }
}
