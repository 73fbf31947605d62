/// An 8254 interval timer with port 0x61 as in a PC (Intel 8254 data sheet, order number 231164). Times are TSC ticks.
///
/// Channel 0 drives interrupt line 0, channel 2 the speaker, whose gate and output are at port 0x61; channel 1 counts for nobody.
/// Counting is binary even where BCD is asked for.
public struct IntervalTimer: Sendable {
    /// Input clock in Hz.
    public static let hertz: UInt64 = 1_193_182

    private struct Channel {
        var mode: UInt8 = 3
        /// 1: low byte, 2: high byte, 3: low, then high.
        var access: UInt8 = 3
        var reload: UInt64 = 0x1_0000
        /// Low byte of a count whose high byte is still to come.
        var lowByte: UInt8?
        var readsHigh = false
        var latchedCount: UInt16?
        var latchedStatus: UInt8?
        /// TSC at which counting began; nil: no count has been loaded.
        var start: UInt64?
        var gate = true
        /// Clocks counted when the gate stopped the channel.
        var stopped: UInt64 = 0
    }

    private let tscHertz: UInt64
    private var channels = [Channel(), Channel(), Channel()]
    private var speaker: UInt8 = 0
    private var refresh: UInt8 = 0
    /// TSC of the next rising edge of channel 0's output; nil when none comes.
    public private(set) var deadline: UInt64?

    /// - Parameter tscHertz: frequency of the TSC that `now` arguments come from.
    public init(tscHertz: UInt64) {
        self.tscHertz = tscHertz
        channels[2].gate = false
    }

    /// Whether channel 0's output has risen since the last call. Edges that were missed altogether merge into one.
    public mutating func poll(now: UInt64) -> Bool {
        guard let due = deadline, now >= due else { return false }
        schedule(now: now)
        return true
    }

    // MARK: Ports

    public mutating func write(_ port: UInt16, _ value: UInt8, now: UInt64) {
        switch port {
        case 0x43: command(value, now: now)
        case 0x61: setGate(value & 1 != 0, value, now: now)
        default: writeCount(Int(port - 0x40), value, now: now)
        }
    }

    public mutating func read(_ port: UInt16, now: UInt64) -> UInt8 {
        switch port {
        case 0x43: return 0
        case 0x61:
            // Bit 4 toggles with the memory refresh, bit 5 is channel 2's output.
            refresh ^= 0x10
            return speaker & 3 | refresh | (output(channels[2], now: now) ? 0x20 : 0)
        default: return readCount(Int(port - 0x40), now: now)
        }
    }

    private mutating func command(_ value: UInt8, now: UInt64) {
        let select = Int(value >> 6)
        if select == 3 {
            // Read-back: bits 3:1 choose channels; bits 5 and 4, inverted, count and status.
            for number in 0..<3 where value & 2 << UInt8(number) != 0 {
                if value & 0x20 == 0, channels[number].latchedCount == nil {
                    channels[number].latchedCount = count(channels[number], now: now)
                }
                if value & 0x10 == 0 {
                    let channel = channels[number]
                    channels[number].latchedStatus =
                        (output(channel, now: now) ? 0x80 : 0) | (channel.start == nil ? 0x40 : 0)
                        | channel.access << 4 | channel.mode << 1
                }
            }
            return
        }
        let access = value >> 4 & 3
        if access == 0 {
            if channels[select].latchedCount == nil {
                channels[select].latchedCount = count(channels[select], now: now)
            }
            return
        }
        let gate = channels[select].gate
        channels[select] = Channel()
        channels[select].gate = gate
        channels[select].access = access
        // Modes 6 and 7 are 2 and 3.
        let mode = value >> 1 & 7
        channels[select].mode = mode > 5 ? mode - 4 : mode
        if select == 0 { schedule(now: now) }
    }

    private mutating func writeCount(_ number: Int, _ value: UInt8, now: UInt64) {
        let word: UInt16
        switch channels[number].access {
        case 1: word = UInt16(value)
        case 2: word = UInt16(value) << 8
        default:
            guard let low = channels[number].lowByte else {
                channels[number].lowByte = value
                return
            }
            channels[number].lowByte = nil
            word = UInt16(value) << 8 | UInt16(low)
        }
        channels[number].reload = word == 0 ? 0x1_0000 : UInt64(word)
        channels[number].stopped = 0
        // Modes 1 and 5 wait for the gate.
        if channels[number].mode != 1 && channels[number].mode != 5 { channels[number].start = now }
        if number == 0 { schedule(now: now) }
    }

    private mutating func readCount(_ number: Int, now: UInt64) -> UInt8 {
        if let status = channels[number].latchedStatus {
            channels[number].latchedStatus = nil
            return status
        }
        let access = channels[number].access
        let value = channels[number].latchedCount ?? count(channels[number], now: now)
        let isHigh = access == 2 || (access == 3 && channels[number].readsHigh)
        if access == 3 { channels[number].readsHigh.toggle() }
        if access != 3 || isHigh { channels[number].latchedCount = nil }
        return UInt8(truncatingIfNeeded: isHigh ? value >> 8 : value)
    }

    /// Channel 2's gate: a rising edge starts modes 1, 2, 3 and 5; a low level holds the others.
    private mutating func setGate(_ level: Bool, _ value: UInt8, now: UInt64) {
        speaker = value & 3
        guard channels[2].gate != level else { return }
        let elapsed = clocks(channels[2], now: now)
        channels[2].gate = level
        switch channels[2].mode {
        case 0, 4:
            if level {
                if channels[2].start != nil { channels[2].start = now &- ticks(channels[2].stopped) }
            } else {
                channels[2].stopped = elapsed
            }
        default: if level { channels[2].start = now }
        }
    }

    // MARK: Counting

    private func ticks(_ clocks: UInt64) -> UInt64 {
        let product = clocks.multipliedFullWidth(by: tscHertz)
        return Self.hertz.dividingFullWidth(product).quotient
    }

    /// Clocks since counting began.
    private func clocks(_ channel: Channel, now: UInt64) -> UInt64 {
        guard let start = channel.start, now >= start else { return 0 }
        if !channel.gate && (channel.mode == 0 || channel.mode == 4) { return channel.stopped }
        let product = (now - start).multipliedFullWidth(by: Self.hertz)
        return tscHertz.dividingFullWidth(product).quotient
    }

    private func count(_ channel: Channel, now: UInt64) -> UInt16 {
        guard channel.start != nil else { return UInt16(truncatingIfNeeded: channel.reload) }
        let elapsed = clocks(channel, now: now)
        let value: UInt64 =
            switch channel.mode {
            case 2: channel.reload - elapsed % channel.reload
            // Square wave: by two.
            case 3: channel.reload - 2 * elapsed % channel.reload
            default: channel.reload &- elapsed
            }
        return UInt16(truncatingIfNeeded: value)
    }

    private func output(_ channel: Channel, now: UInt64) -> Bool {
        guard channel.start != nil else { return channel.mode != 0 }
        let elapsed = clocks(channel, now: now)
        return switch channel.mode {
        case 0, 1: elapsed >= channel.reload
        case 2: elapsed % channel.reload != channel.reload - 1
        case 3: elapsed % channel.reload < (channel.reload + 1) / 2
        default: elapsed != channel.reload
        }
    }

    private mutating func schedule(now: UInt64) {
        let channel = channels[0]
        guard let start = channel.start else {
            deadline = nil
            return
        }
        switch channel.mode {
        case 2, 3:
            let periods = clocks(channel, now: now) / channel.reload + 1
            // One tick later: rounding down must not give the edge that has just been.
            deadline = start &+ ticks(periods * channel.reload) &+ 1
        case 0, 4:
            let due = start &+ ticks(channel.reload) &+ 1
            deadline = due > now ? due : nil
        default: deadline = nil
        }
    }
}
