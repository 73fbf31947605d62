import CZydis

/// One way to encode one instruction: opcode, prefixes that select it, operand size, register or memory operand.
public struct InstructionClass: Sendable {
    enum Encoding: UInt8, Sendable { case legacy, vex, evex, xop }

    var encoding: Encoding
    /// The mandatory or operand-size prefix: 0, 0x66, 0xF2 or 0xF3; for VEX and EVEX the field pp.
    var prefix: UInt8
    /// REX.W, VEX.W or EVEX.W.
    var wide: Bool
    /// Opcode map: 0 one-byte, 1 0F, 2 0F38, 3 0F3A.
    var map: UInt8
    var opcode: UInt8
    /// ModRM as enumerated: reg and rm may extend the opcode.
    var modrm: UInt8
    /// VEX.L or EVEX.L'L.
    var length: UInt8
    public var mnemonic: UInt32
    var hasMemory: Bool
    var hasModRM: Bool

    public var name: String { String(cString: ZydisMnemonicGetString(ZydisMnemonic(rawValue: mnemonic))) }

    /// Bytes of the class up to and including ModRM, in its plainest form, and where REX or VEX, the opcode and ModRM begin.
    func head(modrm: UInt8) -> [UInt8] {
        var bytes: [UInt8] = []
        switch encoding {
        case .legacy:
            if prefix != 0 { bytes.append(prefix) }
            if wide { bytes.append(0x48) }
            if map > 0 { bytes.append(0x0F) }
            if map == 2 { bytes.append(0x38) }
            if map == 3 { bytes.append(0x3A) }
        case .vex, .xop:
            bytes += [encoding == .vex ? 0xC4 : 0x8F, 0xE0 | map, (wide ? 0x80 : 0) | 0x78 | length << 2 | prefix]
        case .evex:
            bytes += [0x62, 0xF0 | map, (wide ? 0x80 : 0) | 0x7C | prefix, length << 5 | 0x08]
        }
        return bytes + [opcode, modrm]
    }

    /// Every class that Zydis knows and that 64-bit code can express, each once. What this CPU lacks is undefined on it, natively
    /// and translated.
    public static func all(evex: Bool) -> [InstructionClass] {
        var enumeration = Enumeration()
        for prefix in [0, 0x66, 0xF2, 0xF3] as [UInt8] {
            for wide in [false, true] {
                for map in 0..<UInt8(4) { enumeration.opcodes(.legacy, prefix, wide, map, 0) }
            }
        }
        for prefix in 0..<UInt8(4) {
            for wide in [false, true] {
                for map in 1..<UInt8(4) {
                    for length in 0..<UInt8(2) { enumeration.opcodes(.vex, prefix, wide, map, length) }
                    guard evex else { continue }
                    for length in 0..<UInt8(3) { enumeration.opcodes(.evex, prefix, wide, map, length) }
                }
            }
        }
        return enumeration.classes
    }

    private struct Key: Hashable {
        var mnemonic: UInt32
        var encoding: UInt8
        var map: UInt8
        var opcode: UInt8
        var width: UInt8
        var prefix: UInt8
        var length: UInt8
        var memory: Bool
    }

    private struct Enumeration {
        var classes: [InstructionClass] = []
        private var known: Set<Key> = []
        private var decoder = ZydisDecoder()

        init() { ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64) }

        mutating func opcodes(_ encoding: Encoding, _ prefix: UInt8, _ wide: Bool, _ map: UInt8, _ length: UInt8) {
            for opcode in 0..<UInt8(255) {
                // Prefixes and escapes are no opcodes.
                if encoding == .legacy && map == 0
                    && [0x0F, 0x26, 0x2E, 0x36, 0x3E, 0x62, 0x64, 0x65, 0x66, 0x67, 0xC4, 0xC5, 0xF0, 0xF2, 0xF3]
                        .contains(opcode)
                {
                    continue
                }
                if encoding == .legacy && map == 0 && opcode & 0xF0 == 0x40 { continue }
                if encoding == .legacy && map == 1 && [0x38, 0x3A, 0x0F].contains(opcode) { continue }
                var usesModRM = false
                for register in 0..<UInt8(8) {
                    usesModRM = add(encoding, prefix, wide, map, opcode, length, register << 3) || usesModRM
                    if !usesModRM && register == 0 { break }
                    _ = add(encoding, prefix, wide, map, opcode, length, 0xC0 | register << 3)
                    // Where ModRM.rm picks the instruction: x87, 0F 01, 0F AE.
                    if (map == 0 && opcode & 0xF8 == 0xD8) || (map == 1 && [0x01, 0xAE, 0xC7, 0x1E].contains(opcode)) {
                        for rm in 1..<UInt8(8) {
                            _ = add(encoding, prefix, wide, map, opcode, length, 0xC0 | register << 3 | rm)
                        }
                    }
                }
            }
        }

        /// Returns whether more values of ModRM are worth trying: the instruction has one, or these bytes are none.
        private mutating func add(
            _ encoding: Encoding, _ prefix: UInt8, _ wide: Bool, _ map: UInt8, _ opcode: UInt8, _ length: UInt8,
            _ modrm: UInt8
        ) -> Bool {
            var found = InstructionClass(
                encoding: encoding, prefix: prefix, wide: wide, map: map, opcode: opcode, modrm: modrm, length: length,
                mnemonic: 0, hasMemory: false, hasModRM: false)
            // A SIB that gathers accept (index 1), small displacements and immediates.
            let bytes =
                found.head(modrm: modrm & 0xC0 == 0 ? modrm | 4 : modrm) + [0x08] + [UInt8](repeating: 0, count: 12)
            var info = ZydisDecodedInstruction()
            guard ZydisDecoderDecodeInstruction(&decoder, nil, bytes, ZyanUSize(bytes.count), &info) & 0x8000_0000 == 0
            else { return true }
            found.hasModRM = info.attributes & UInt64(ZYDIS_ATTRIB_HAS_MODRM) != 0
            found.hasMemory = found.hasModRM && modrm & 0xC0 != 0xC0
            found.mnemonic = info.mnemonic.rawValue
            let key = Key(
                mnemonic: found.mnemonic, encoding: encoding.rawValue, map: map, opcode: opcode,
                width: info.operand_width, prefix: prefix, length: length, memory: found.hasMemory)
            if known.insert(key).inserted { classes.append(found) }
            return found.hasModRM
        }
    }
}
