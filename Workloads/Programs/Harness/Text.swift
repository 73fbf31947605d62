import Support

/// A growing line of ASCII text. Programs print through this and `write`, not through stdio, so that start-up costs
/// and system calls are few and the same everywhere.
struct Text {
    private(set) var bytes: [UInt8] = []

    init() {}
    init(_ text: StaticString) { append(text) }

    mutating func append(_ text: StaticString) {
        bytes.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    mutating func append(cString: UnsafePointer<CChar>) {
        var next = cString
        while next.pointee != 0 {
            bytes.append(UInt8(bitPattern: next.pointee))
            next += 1
        }
    }

    mutating func append(_ text: Text) { bytes.append(contentsOf: text.bytes) }

    mutating func append(_ number: UInt64) {
        var power: UInt64 = 1
        while number / power >= 10 { power *= 10 }
        while power > 0 {
            bytes.append(UInt8(truncatingIfNeeded: number / power % 10) + UInt8(ascii: "0"))
            power /= 10
        }
    }

    mutating func append(hexadecimal number: UInt64) {
        append("0x")
        for shift in stride(from: UInt64(60), through: 0, by: -4) {
            let digit = UInt8(truncatingIfNeeded: number >> shift & 15)
            bytes.append(digit < 10 ? digit + UInt8(ascii: "0") : digit - 10 + UInt8(ascii: "a"))
        }
    }

    mutating func append(byte: UInt8) { bytes.append(byte) }

    func equals(_ text: StaticString) -> Bool {
        bytes.elementsEqual(UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// Ends the text as C wants it, with a zero byte.
    mutating func terminate() { bytes.append(0) }

    /// The text as a C string that is never freed.
    func makeCString() -> UnsafePointer<CChar> {
        let copy = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count + 1)
        for (index, byte) in bytes.enumerated() { copy[index] = CChar(bitPattern: byte) }
        copy[bytes.count] = 0
        return UnsafePointer(copy)
    }

    /// `number` with two decimals, or four below one.
    mutating func append(decimal number: Double) {
        guard number.isFinite, number >= 0, number < 1e15 else { return append("-") }
        let decimals: UInt64 = number < 1 ? 10_000 : 100
        let scaled = UInt64(number * Double(decimals) + 0.5)
        append(scaled / decimals)
        append(".")
        var power = decimals / 10
        while power > 0 {
            bytes.append(UInt8(truncatingIfNeeded: scaled / power % 10) + UInt8(ascii: "0"))
            power /= 10
        }
    }

    /// Writes everything to `descriptor` in pieces of at most 4 KiB that end at line ends, and empties the text.
    /// - Returns: Whether all of it was written.
    mutating func write(to descriptor: Int32) -> Bool {
        defer { bytes.removeAll() }
        return bytes.withUnsafeBufferPointer { buffer in
            guard var next = buffer.baseAddress else { return true }
            let end = next + buffer.count
            while next < end {
                var piece = min(4096, end - next)
                if next + piece < end {
                    var line = piece
                    while line > 0, next[line - 1] != UInt8(ascii: "\n") { line -= 1 }
                    if line > 0 { piece = line }
                }
                let written = Support.write(descriptor, next, piece)
                if written < 0 {
                    if vb_errno() == EINTR { continue }
                    return false
                }
                next += written
            }
            return true
        }
    }
}
