/// Two cascaded 8259A interrupt controllers as in a PC (Intel 8259A data sheet, order number 231468).
///
/// Fully nested mode with fixed or rotated priorities, edge- or level-triggered by the ELCR, automatic EOI, special mask mode and
/// polling. Buffered and special fully nested modes are accepted and ignored.
public struct InterruptControllerPair: Sendable {
    private struct Chip {
        var requested: UInt8 = 0
        var inService: UInt8 = 0
        var masked: UInt8 = 0xFF
        var lines: UInt8 = 0
        /// ELCR: lines that are level-triggered.
        var levelTriggered: UInt8 = 0
        var vectorBase: UInt8 = 0
        /// Line of the lowest priority; the next one has the highest.
        var lowest: UInt8 = 7
        var readsInService = false
        var automaticEOI = false
        var rotatesOnAutomaticEOI = false
        var specialMask = false
        var isPolled = false
        /// Initialization command word expected next; 0: none.
        var expected = 0
        var wantsFourth = false
        var isSingle = false

        /// Priority of the best line of a set: 0 is the highest; 8: the set is empty.
        func priority(of lines: UInt8) -> UInt8 {
            for distance in 0..<UInt8(8) where lines & 1 << ((lowest &+ 1 &+ distance) & 7) != 0 { return distance }
            return 8
        }

        func line(at priority: UInt8) -> UInt8 { (lowest &+ 1 &+ priority) & 7 }

        /// The line to interrupt for, if any.
        var pending: UInt8? {
            guard expected == 0 else { return nil }
            let wanted = priority(of: requested & ~masked)
            guard wanted < 8 else { return nil }
            let servicing = priority(of: specialMask ? inService & ~masked : inService)
            return wanted < servicing ? line(at: wanted) : nil
        }

        mutating func setLine(_ line: UInt8, _ level: Bool) {
            let bit = UInt8(1) << line
            if level {
                if levelTriggered & bit != 0 || lines & bit == 0 { requested |= bit }
                lines |= bit
            } else {
                if levelTriggered & bit != 0 { requested &= ~bit }
                lines &= ~bit
            }
        }

        mutating func acknowledge(_ line: UInt8) {
            let bit = UInt8(1) << line
            if levelTriggered & bit == 0 { requested &= ~bit }
            if automaticEOI {
                if rotatesOnAutomaticEOI { lowest = line }
            } else {
                inService |= bit
            }
        }

        mutating func command(_ value: UInt8) {
            if value & 0x10 != 0 {
                // ICW1 starts the initialization.
                let lines = self.lines
                let levelTriggered = self.levelTriggered
                self = Chip()
                self.lines = lines
                self.levelTriggered = levelTriggered
                masked = 0
                expected = 2
                isSingle = value & 2 != 0
                wantsFourth = value & 1 != 0
            } else if value & 0x08 != 0 {
                // OCW3
                if value & 4 != 0 { isPolled = true }
                if value & 2 != 0 { readsInService = value & 1 != 0 }
                if value & 0x40 != 0 { specialMask = value & 0x20 != 0 }
            } else {
                endOfInterrupt(value)
            }
        }

        /// OCW2
        private mutating func endOfInterrupt(_ value: UInt8) {
            let named = value & 7
            let best = priority(of: inService)
            switch value >> 5 {
            case 0, 4: rotatesOnAutomaticEOI = value >> 5 == 4
            case 1, 5:
                guard best < 8 else { return }
                let line = line(at: best)
                inService &= ~(1 << line)
                if value >> 5 == 5 { lowest = line }
            case 3, 7:
                inService &= ~(1 << named)
                if value >> 5 == 7 { lowest = named }
            case 6: lowest = named
            default: break
            }
        }

        mutating func data(_ value: UInt8) {
            switch expected {
            case 0: masked = value
            case 2:
                vectorBase = value & 0xF8
                expected = isSingle ? (wantsFourth ? 4 : 0) : 3
            case 3: expected = wantsFourth ? 4 : 0
            default:
                automaticEOI = value & 2 != 0
                expected = 0
            }
        }
    }

    private var master = Chip()
    private var slave = Chip()
    private static let cascade: UInt8 = 2

    public init() {}

    /// Sets interrupt line 0…15.
    public mutating func setLine(_ line: Int, _ level: Bool) {
        if line < 8 { master.setLine(UInt8(line), level) } else { slave.setLine(UInt8(line - 8), level) }
        updateCascade()
    }

    private mutating func updateCascade() {
        let wants = slave.pending != nil
        // The slave's output is a level to the master.
        if wants {
            master.requested |= 1 << Self.cascade
        } else {
            master.requested &= ~(1 << Self.cascade)
        }
    }

    /// INTR: an interrupt waits for the processor.
    public var isPending: Bool { master.pending != nil }

    /// The processor acknowledges: the vector, which is the spurious one (line 7) when the request has gone.
    public mutating func acknowledge() -> UInt8 {
        defer { updateCascade() }
        guard let line = master.pending else { return master.vectorBase | 7 }
        master.acknowledge(line)
        guard line == Self.cascade else { return master.vectorBase | line }
        guard let second = slave.pending else { return slave.vectorBase | 7 }
        slave.acknowledge(second)
        return slave.vectorBase | second
    }

    /// Ports 0x20, 0x21, 0xA0, 0xA1, 0x4D0 and 0x4D1.
    public mutating func write(_ port: UInt16, _ value: UInt8) {
        switch port {
        case 0x20: master.command(value)
        case 0x21: master.data(value)
        case 0xA0: slave.command(value)
        case 0xA1: slave.data(value)
        // Timer, keyboard, cascade, clock and coprocessor are always edges.
        case 0x4D0: master.levelTriggered = value & 0xF8
        default: slave.levelTriggered = value & 0xDE
        }
        updateCascade()
    }

    public mutating func read(_ port: UInt16) -> UInt8 {
        switch port {
        case 0x20: return Self.readStatus(&master)
        case 0x21: return master.masked
        case 0xA0: return Self.readStatus(&slave)
        case 0xA1: return slave.masked
        case 0x4D0: return master.levelTriggered
        default: return slave.levelTriggered
        }
    }

    private static func readStatus(_ chip: inout Chip) -> UInt8 {
        guard chip.isPolled else { return chip.readsInService ? chip.inService : chip.requested }
        chip.isPolled = false
        guard let line = chip.pending else { return 0 }
        chip.acknowledge(line)
        return 0x80 | line
    }
}
