/// Registers, vector state and data to start from, made from a seed.
package struct InitialState {
    package var state: GuestState
    package var data: [UInt8]

    package init(_ layout: TestLayout, seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var state = GuestState()
        let middle = layout.data + UInt64(TestLayout.dataBytes / 2)
        for index in 0..<16 {
            switch random.next() % 10 {
            // RSP always points into the data.
            case _ where index == 4, 0...4: state.registers[index] = middle &- 1024 &+ (random.next() % 2048 & ~15)
            case 5...7: state.registers[index] = random.next() % 32
            case 8: state.registers[index] = random.next()
            // Below 2^40, so that nothing of the process is hit.
            default: state.registers[index] = random.next() >> 24
            }
        }
        state.flags = random.next() & 0x8D5 | 2
        if random.chance(12) { state.flags |= 1 << 10 }
        state.rip = layout.code
        state.fsBase = random.pick([0x100, 0, middle])
        state.gsBase = random.pick([0x40, middle, middle &- 0x7000_0000])
        state.vector = Self.vector(&random, VectorImage.bytes)
        self.state = state
        data = Self.patterns[random.below(Self.patterns.count)]
    }

    /// An XSAVE image with every component present.
    private static func vector(_ random: inout SeededGenerator, _ bytes: Int) -> [UInt8] {
        var image = [UInt8](repeating: 0, count: bytes)
        let kind = random.below(4)
        for index in stride(from: 160, to: bytes, by: 8) where index < 416 || index >= 576 {
            let word: UInt64 =
                switch kind {
                case 0: random.next() % 64 | random.next() % 64 << 32
                case 1: UInt64(Float(Int64(bitPattern: random.next()) >> 40).bitPattern) << 32 | 0x3F80_0000
                case 2: (Double(Int64(bitPattern: random.next()) >> 20) / 3).bitPattern
                default: random.next()
                }
            for byte in 0..<min(8, bytes - index) {
                image[index + byte] = UInt8(truncatingIfNeeded: word >> (8 * UInt64(byte)))
            }
        }
        // x87: masked exceptions mostly, random rounding; the registers hold normal numbers, or are empty.
        let control: UInt16 = random.chance(80) ? 0x37F : UInt16(truncatingIfNeeded: random.next()) & 0xF3F | 0x40
        image[0] = UInt8(truncatingIfNeeded: control)
        image[1] = UInt8(truncatingIfNeeded: control >> 8)
        image[4] = random.pick([0, 0xFF, 0xF0])
        for register in 0..<8 {
            let start = 32 + 16 * register
            for byte in 0..<8 { image[start + byte] = random.byte() }
            image[start + 7] |= 0x80
            image[start + 8] = UInt8(0xF0 + random.below(16))
            image[start + 9] = random.pick([0x3F, 0xBF])
        }
        let mxcsr: UInt32 = random.chance(75) ? 0x1F80 : UInt32(truncatingIfNeeded: random.next()) & 0xFFC0
        for byte in 0..<4 { image[24 + byte] = UInt8(truncatingIfNeeded: mxcsr >> (8 * UInt32(byte))) }
        var components: UInt64 = 0b111
        if bytes > 832 { components |= 0b1110_0000 }
        for byte in 0..<8 { image[512 + byte] = UInt8(truncatingIfNeeded: components >> (8 * UInt64(byte))) }
        return image
    }

    /// Contents of the data: words that are small numbers or addresses nothing is at; random bytes; doubles; zeros.
    private static let patterns: [[UInt8]] = {
        var random = SeededGenerator(seed: 7)
        func words(_ next: (Int) -> UInt64) -> [UInt8] {
            (0..<TestLayout.dataBytes / 8).flatMap { index in
                let word = next(index)
                return (0..<8).map { UInt8(truncatingIfNeeded: word >> (8 * UInt64($0))) }
            }
        }
        return [
            words { UInt64($0 &* 0x9E37_79B9) & 0xFF_FFFF_FFFF },
            words { _ in random.next() },
            words { (Double($0) * 1.5 - 300).bitPattern },
            words { _ in 0 },
        ]
    }()
}
