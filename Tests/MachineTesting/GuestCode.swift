/// Hand-made guest code: instructions as bytes, in the few forms the tests need.
public struct GuestCode {
    public private(set) var bytes: [UInt8] = []

    public init() {}

    /// Instruction bytes as they are.
    public mutating func raw(_ code: [UInt8]) { bytes += code }
    public mutating func raw(_ instruction: UInt8...) { bytes += instruction }

    /// mov eax, value
    public mutating func eax(_ value: UInt32) { bytes += [0xB8] + ElfBuilder.little(value) }
    /// mov ecx, value
    public mutating func ecx(_ value: UInt32) { bytes += [0xB9] + ElfBuilder.little(value) }
    /// mov edx, value
    public mutating func edx(_ value: UInt32) { bytes += [0xBA] + ElfBuilder.little(value) }
    /// mov rbx, value
    public mutating func rbx(_ value: UInt64) { bytes += [0x48, 0xBB] + ElfBuilder.little(value) }
    /// out dx, al — with port and value loaded first
    public mutating func out8(_ port: UInt16, _ value: UInt8) {
        edx(UInt32(port))
        raw(0xB0, value, 0xEE)
    }
    /// out dx, eax — with port and value loaded first
    public mutating func out32(_ port: UInt16, _ value: UInt32) {
        edx(UInt32(port))
        eax(value)
        raw(0xEF)
    }
    /// Every byte of `text` to the serial port.
    public mutating func print(_ text: String) { for byte in text.utf8 { out8(0x3F8, byte) } }
    /// Ends the machine with the value in EAX.
    public mutating func exitWithEAX() {
        edx(0xF4)
        raw(0xEF)
    }
    /// Ends the machine.
    public mutating func exit(_ code: UInt32) { out32(0xF4, code) }
    /// Runs `body` `count` times, counting in R15 (a short loop: `body` under 120 bytes).
    public mutating func loop(_ count: UInt32, _ body: (inout GuestCode) -> Void) {
        bytes += [0x41, 0xBF] + ElfBuilder.little(count)  // mov r15d, count
        var inner = GuestCode()
        body(&inner)
        bytes += inner.bytes
        raw(0x41, 0xFF, 0xCF)  // dec r15d
        raw(0x75, UInt8(bitPattern: Int8(-(inner.bytes.count + 5))))  // jnz
    }
}
