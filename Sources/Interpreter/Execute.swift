/// What each operation does.
extension Interpreter {
    func execute(_ instruction: Instruction) throws(Interruption) {
        switch instruction.operation {
        case .mov: try executeMove(instruction)
        case .movzx: try write(try read(instruction.second, instruction), instruction.first, instruction)
        case .movsx:
            let value = try read(instruction.second, instruction)
            try write(Self.signExtend(value, Int(instruction.second.size)), instruction.first, instruction)
        case .lea:
            try write(
                effectiveAddress(instruction.second, instruction.addressWidth), instruction.first, instruction)
        case .xchg:
            let a = try read(instruction.first, instruction)
            let b = try read(instruction.second, instruction)
            // Memory first: it may fault.
            if instruction.second.kind == .memory {
                try write(a, instruction.second, instruction)
                try write(b, instruction.first, instruction)
            } else {
                try write(b, instruction.first, instruction)
                try write(a, instruction.second, instruction)
            }
        case .cmov:
            // The source is read, and may fault, whatever the condition.
            let value = try read(instruction.second, instruction)
            if holds(instruction.condition) {
                try write(value, instruction.first, instruction)
            } else if instruction.first.size == 4 {
                try write(try read(instruction.first, instruction), instruction.first, instruction)
            }
        case .set: try write(holds(instruction.condition) ? 1 : 0, instruction.first, instruction)
        case .signExtendA:
            let size = Int(instruction.width)
            writeRegister(0, size, Self.signExtend(registers[0], size / 2))
        case .signExtendAD:
            let size = Int(instruction.width)
            writeRegister(2, size, readRegister(0, size) & Self.signBit(size) != 0 ? .max : 0)
        case .bswap:
            let value = try read(instruction.first, instruction)
            // With 16-bit operands the result is undefined; CPUs give zero.
            let size = instruction.first.size
            let swapped = size == 8 ? value.byteSwapped : size == 4 ? UInt64(UInt32(value).byteSwapped) : 0
            try write(swapped, instruction.first, instruction)
        case .xlat:
            let size = Int(instruction.addressWidth)
            let offset = (readRegister(3, size) &+ registers[0] & 0xFF) & Self.mask(size)
            writeRegister(0, 1, try load(Int(instruction.sourceSegment), offset, 1))
        case .loadFarPointer: try executeLoadFarPointer(instruction)

        case .push:
            try push(try read(instruction.first, instruction), Int(instruction.width))
        case .pop: try executePop(instruction)
        case .pushAll:
            let size = Int(instruction.width)
            let stack = registers[4]
            for number in 0..<8 { try push(number == 4 ? stack : registers[number], size) }
        case .popAll:
            let size = Int(instruction.width)
            for number in (0..<8).reversed() {
                let value = try pop(size)
                if number != 4 { writeRegister(number, size, value) }
            }
        case .pushFlags:
            // RF and VM read as zero.
            try push(flags & ~(Flag.resume | Flag.virtual8086), Int(instruction.width))
        case .popFlags:
            let size = Int(instruction.width)
            try setFlags(try pop(size), size)
        case .lahf: registers[0] = registers[0] & ~0xFF00 | (flags & 0xD5 | Flag.always) << 8
        case .sahf: flags = flags & ~0xD5 | registers[0] >> 8 & 0xD5
        case .enter: try executeEnter(instruction)
        case .leave:
            // RBP is popped from where it points.
            let size = Int(instruction.width)
            let top = registers[5] & stackMask
            let value = try load(2, top, size)
            setStackPointer(top &+ UInt64(size))
            writeRegister(5, size, value)

        case .add, .adc, .sub, .sbb, .and, .or, .xor, .cmp, .test, .inc, .dec, .neg, .not, .xadd, .cmpxchg:
            try executeArithmetic(instruction)
        case .cmpxchg8b: try compareExchange8(instruction)
        case .mul, .imul: try executeMultiply(instruction)
        case .div, .idiv: try executeDivide(instruction)
        case .aaa, .aas, .aam, .aad, .daa, .das: try executeDecimal(instruction)
        case .shl, .shr, .sar, .rol, .ror, .rcl, .rcr: try executeShift(instruction)
        case .shld, .shrd: try executeDoubleShift(instruction)
        case .bt, .bts, .btr, .btc: try executeBitTest(instruction)
        case .bsf, .bsr, .tzcnt, .lzcnt, .popcnt: try executeBitScan(instruction)
        case .movs, .cmps, .scas, .stos, .lods, .ins, .outs: try executeString(instruction)

        case .jmp, .jcc, .jcxz, .loop, .loope, .loopne, .call, .ret, .iret, .int, .int3, .into:
            try executeTransfer(instruction)
        case .nop, .cacheControl: break
        case .undefined: throw .undefined
        case .cld: flags &= ~Flag.direction
        case .std: flags |= Flag.direction
        case .clc: flags &= ~Flag.carry
        case .stc: flags |= Flag.carry
        case .cmc: flags ^= Flag.carry
        case .cli: flags &= ~Flag.interrupt
        case .sti:
            if flags & Flag.interrupt == 0 {
                flags |= Flag.interrupt
                interruptShadow = true
            }
        case .hlt: pendingEvent = .halted
        case .in, .out, .lgdt, .lidt, .sgdt, .sidt, .lldt, .sldt, .ltr, .str, .lmsw, .smsw, .clts, .invlpg, .rdmsr,
            .wrmsr, .rdtsc, .rdtscp, .cpuid, .fninit, .lar, .lsl, .verr, .verw:
            try executeSystem(instruction)
        }
    }

    private func executeMove(_ instruction: Instruction) throws(Interruption) {
        switch (instruction.first.kind, instruction.second.kind) {
        case (.segment, _):
            let selector = UInt16(truncatingIfNeeded: try read(instruction.second, instruction))
            try loadSegment(Int(instruction.first.register), selector)
            if instruction.first.register == 2 { interruptShadow = true }
        case (.memory, .segment):
            // To memory always 16 bits.
            try store(
                try read(instruction.second, instruction), Int(instruction.first.segment),
                effectiveAddress(instruction.first, instruction.addressWidth), 2)
        case (.control, _):
            try writeControl(instruction.first.register, registers[Int(instruction.second.register)])
        case (_, .control):
            try write(try readControl(instruction.second.register), instruction.first, instruction)
        case (.debug, _):
            let number = Int(instruction.first.register)
            let value = registers[Int(instruction.second.register)]
            guard number < 8 else { throw .undefined }
            if number == 7 && value & 0xFF != 0 { throw .unsupported("hardware breakpoints (DR7)") }
            debugRegisters[number] = value
        case (_, .debug):
            let number = Int(instruction.second.register)
            guard number < 8 else { throw .undefined }
            try write(debugRegisters[number], instruction.first, instruction)
        default: try write(try read(instruction.second, instruction), instruction.first, instruction)
        }
    }

    private func executePop(_ instruction: Instruction) throws(Interruption) {
        let size = Int(instruction.width)
        if instruction.first.kind == .segment {
            let selector = UInt16(truncatingIfNeeded: try load(2, registers[4] & stackMask, size))
            let stack = registers[4]
            setStackPointer(stack &+ UInt64(size))
            try loadSegment(Int(instruction.first.register), selector)
            if instruction.first.register == 2 { interruptShadow = true }
            return
        }
        // The address of a memory destination is computed after RSP has moved (Intel SDM vol. 2, POP).
        let value = try pop(size)
        try write(value, instruction.first, instruction)
    }

    /// ENTER; the operands are the frame's size and the nesting level.
    private func executeEnter(_ instruction: Instruction) throws(Interruption) {
        let size = Int(instruction.width)
        let level = instruction.second.value & 31
        try push(registers[5], size)
        let frame = registers[4]
        if level > 0 {
            for _ in 1..<max(level, 1) {
                registers[5] = registers[5] & ~stackMask | (registers[5] &- UInt64(size)) & stackMask
                try push(try load(2, registers[5] & stackMask, size), size)
            }
            try push(frame, size)
        }
        writeRegister(5, size, frame)
        setStackPointer(registers[4] &- instruction.first.value & 0xFFFF)
        // The new top must be writable.
        _ = try translate(try linear(2, registers[4] & stackMask, size, write: true), write: true)
    }

    /// POPF and IRET's share: what CPL 0 may change. Also tells of interrupts that may come now.
    func setFlags(_ value: UInt64, _ size: Int) throws(Interruption) {
        let writable = size == 2 ? Flag.writable & 0xFFFF : Flag.writable
        let wasEnabled = flags & Flag.interrupt != 0
        flags = flags & ~(writable | Flag.resume) | value & writable | Flag.always
        if flags & Flag.trap != 0 { throw .unsupported("single-stepping (RFLAGS.TF)") }
        if !wasEnabled && flags & Flag.interrupt != 0 { pendingEvent = .interruptWindow }
    }
}
