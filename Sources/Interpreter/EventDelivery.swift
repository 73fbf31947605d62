import Machine

/// Exceptions and interrupts on their way to the guest's handlers, at CPL 0: through the real-mode table, 16- and 32-bit gates, and
/// the 64-bit gates that serve compatibility mode (Intel SDM vol. 3, 6.10 to 6.14, 20.1.4).
extension Interpreter {
    /// Delivers an external interrupt. The caller has made sure that IF is set.
    public func interrupt(_ vector: UInt8) -> Event? {
        keepProgress()
        do throws(Interruption) {
            try enterHandler(vector, errorCode: nil, returnTo: rip, isSoftware: false)
            rip = next
            return takeEvent()
        } catch {
            rollBack()
            switch error {
            case .exception(let exception): return raise(exception)
            case .unsupported(let what): return .unsupported(what)
            }
        }
    }

    /// Delivers an exception; one that arises on the way becomes a double fault, a third a shutdown.
    func raise(_ exception: ProcessorException) -> Event? {
        if let address = exception.address { cr2 = address }
        for (vector, code) in [(exception.vector, exception.errorCode), (ProcessorException.doubleFaultVector, 0)] {
            keepProgress()
            do throws(Interruption) {
                try enterHandler(vector, errorCode: code, returnTo: rip, isSoftware: false)
                rip = next
                return takeEvent()
            } catch {
                rollBack()
                if case .unsupported(let what) = error { return .unsupported(what) }
                if vector == ProcessorException.doubleFaultVector { return .tripleFault }
            }
        }
        return .tripleFault
    }

    private func takeEvent() -> Event? {
        let event = pendingEvent
        pendingEvent = nil
        return event
    }

    /// Builds the handler's frame and goes to it. Nothing but memory has changed when it throws.
    func enterHandler(
        _ vector: UInt8, errorCode: UInt32?, returnTo address: UInt64, isSoftware: Bool
    ) throws(Interruption) {
        if !isProtected {
            try enterRealModeHandler(vector, returnTo: address)
        } else if isLongModeActive {
            try enterLongModeHandler(vector, errorCode: errorCode, returnTo: address)
        } else {
            try enterProtectedModeHandler(vector, errorCode: errorCode, returnTo: address, isSoftware: isSoftware)
        }
    }

    private func enterRealModeHandler(_ vector: UInt8, returnTo address: UInt64) throws(Interruption) {
        let offset = UInt64(vector) * 4
        guard offset + 3 <= UInt64(idtLimit) else { throw .protection() }
        let entry = try load((idtBase &+ offset) & 0xFFFF_FFFF, 4)
        try push(flags & 0xFFFF, 2)
        try push(UInt64(segments[1].selector), 2)
        try push(address & 0xFFFF, 2)
        try loadCode(UInt16(entry >> 16), offset: entry & 0xFFFF)
        flags &= ~(Flag.interrupt | Flag.trap | Flag.alignmentCheck)
    }

    private func enterProtectedModeHandler(
        _ vector: UInt8, errorCode: UInt32?, returnTo address: UInt64, isSoftware: Bool
    ) throws(Interruption) {
        // Error code of faults on the way: the vector, IDT, and EXT unless the program asked for it.
        let code = UInt32(vector) << 3 | 2 | (isSoftware ? 0 : 1)
        let fault = Interruption.exception(ProcessorException(vector: 13, errorCode: code))
        guard UInt64(vector) * 8 + 7 <= UInt64(idtLimit) else { throw fault }
        let gate = try load(tableAddress(idtBase &+ UInt64(vector) * 8), 8)
        let type = gate >> 40 & 31
        if type == 5 { throw .unsupported("interrupt \(vector) through a task gate") }
        guard [6, 7, 14, 15].contains(type) else { throw fault }
        guard gate & 1 << 47 != 0 else {
            throw .exception(ProcessorException(vector: 11, errorCode: code))
        }
        let size = type >= 14 ? 4 : 2
        let offset = size == 4 ? gate & 0xFFFF | gate >> 32 & 0xFFFF_0000 : gate & 0xFFFF
        try push(flags, size)
        try push(UInt64(segments[1].selector), size)
        try push(address, size)
        if let errorCode { try push(UInt64(errorCode), size) }
        try loadCode(UInt16(truncatingIfNeeded: gate >> 16) & ~3, offset: offset)
        flags &= ~(Flag.trap | Flag.nestedTask | Flag.resume | (type & 1 == 0 ? Flag.interrupt : 0))
    }

    private func enterLongModeHandler(
        _ vector: UInt8, errorCode: UInt32?, returnTo address: UInt64
    ) throws(Interruption) {
        let fault = Interruption.exception(ProcessorException(vector: 13, errorCode: UInt32(vector) << 3 | 2))
        guard UInt64(vector) * 16 + 15 <= UInt64(idtLimit) else { throw fault }
        let low = try load(idtBase &+ UInt64(vector) * 16, 8)
        let high = try load(idtBase &+ UInt64(vector) * 16 &+ 8, 8)
        let type = low >> 40 & 31
        guard type == 14 || type == 15 else { throw fault }
        guard low & 1 << 47 != 0 else {
            throw .exception(ProcessorException(vector: 11, errorCode: UInt32(vector) << 3 | 2))
        }
        let selector = UInt16(truncatingIfNeeded: low >> 16) & ~3
        guard SegmentRegister(selector: selector, descriptor: try descriptor(selector).value).isLong else {
            throw .protection(selector)
        }
        // Bits 2:0 choose a stack of the task-state segment; IST1 is at 36.
        let stackIndex = low >> 32 & 7
        var stack = registers[4] & stackMask
        if stackIndex > 0 { stack = try load(task.base &+ 36 &+ (stackIndex - 1) * 8, 8) }
        stack &= ~15
        var frame = [UInt64(segments[2].selector), registers[4], flags, UInt64(segments[1].selector), address]
        if let errorCode { frame.append(UInt64(errorCode)) }
        for word in frame {
            stack &-= 8
            try store(word, stack, 8)
        }
        try loadCode(selector, offset: low & 0xFFFF | low >> 32 & 0xFFFF_0000 | high << 32)
        registers[4] = stack
        flags &= ~(Flag.trap | Flag.nestedTask | Flag.resume | (type == 14 ? Flag.interrupt : 0))
    }
}
