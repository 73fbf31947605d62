import CZydis
import Machine

/// A decoded instruction and the bytes it was decoded from, by which it is known to be still right.
struct CachedInstruction {
    var address: UInt64 = .max
    var low: UInt64 = 0
    var high: UInt64 = 0
    var mode = Decoder.Mode.real16
    var instruction = Instruction(
        operation: .nop, length: 0, width: 0, addressWidth: 0, repeats: .none, condition: 0, isFar: false,
        sourceSegment: 3, count: 0)
}

extension Interpreter {
    static let decodedCapacity = 2048

    /// The instruction at CS:RIP. Valid until the next fetch.
    func fetch() throws(Interruption) -> UnsafeMutablePointer<CachedInstruction> {
        let code = segments[1]
        let linear = mode == .long64 ? rip : (code.base &+ rip) & 0xFFFF_FFFF
        let page = try translate(linear, write: false, execute: true)
        guard let host = page.pointee.host else {
            throw .unsupported("code at guest-physical \(hex(page.pointee.physical)), where there is no RAM")
        }
        let offset = Int(linear & 0xFFF)
        let entry = decoded + Int(linear & UInt64(Self.decodedCapacity - 1))
        if offset <= 4096 - 16 {
            let low = (host + offset).loadUnaligned(as: UInt64.self)
            let high = (host + offset + 8).loadUnaligned(as: UInt64.self)
            if entry.pointee.address != linear || entry.pointee.low != low || entry.pointee.high != high
                || entry.pointee.mode != mode
            {
                entry.pointee.address = .max
                let bytes = UnsafeBufferPointer(start: (host + offset).assumingMemoryBound(to: UInt8.self), count: 16)
                entry.pointee.instruction = try decode(bytes)
                entry.pointee.low = low
                entry.pointee.high = high
                entry.pointee.mode = mode
                entry.pointee.address = linear
            }
        } else {
            entry.pointee.address = .max
            entry.pointee.instruction = try decodeAtBorder(linear, host + offset, 4096 - offset)
        }
        let length = UInt64(entry.pointee.instruction.length)
        guard mode == .long64 || rip &+ length &- 1 <= UInt64(code.limit) else { throw .protection() }
        return entry
    }

    private func decode(_ bytes: UnsafeBufferPointer<UInt8>) throws(Interruption) -> Instruction {
        do throws(Decoder.Failure) {
            return try decoder.decode(bytes, mode)
        } catch {
            throw failure(error, bytes)
        }
    }

    /// The second page is only touched when the instruction reaches it.
    private func decodeAtBorder(
        _ linear: UInt64, _ host: UnsafeMutableRawPointer, _ count: Int
    ) throws(Interruption) -> Instruction {
        straddling.update(from: host.assumingMemoryBound(to: UInt8.self), count: count)
        do throws(Decoder.Failure) {
            return try decoder.decode(UnsafeBufferPointer(start: straddling, count: count), mode)
        } catch {
            guard error == .truncated else {
                throw failure(error, UnsafeBufferPointer(start: straddling, count: count))
            }
        }
        var following = (linear & ~0xFFF) &+ 4096
        if mode != .long64 { following &= 0xFFFF_FFFF }
        let page = try translate(following, write: false, execute: true)
        guard let second = page.pointee.host else {
            throw .unsupported("code at guest-physical \(hex(page.pointee.physical)), where there is no RAM")
        }
        (straddling + count).update(from: second.assumingMemoryBound(to: UInt8.self), count: 16 - count)
        return try decode(UnsafeBufferPointer(start: straddling, count: 16))
    }

    private func failure(_ error: Decoder.Failure, _ bytes: UnsafeBufferPointer<UInt8>) -> Interruption {
        switch error {
        case .invalid, .truncated: .undefined
        case .unsupported: .unsupported("this instruction: \(disassembly(bytes))")
        }
    }

    /// Intel-syntax text of the first instruction of `bytes` in the current mode.
    func disassembly(_ bytes: UnsafeBufferPointer<UInt8>) -> String {
        let machineMode =
            switch mode {
            case .real16: ZYDIS_MACHINE_MODE_REAL_16
            case .real32, .legacy32: ZYDIS_MACHINE_MODE_LEGACY_32
            case .legacy16: ZYDIS_MACHINE_MODE_LEGACY_16
            case .compatibility16: ZYDIS_MACHINE_MODE_LONG_COMPAT_16
            case .compatibility32: ZYDIS_MACHINE_MODE_LONG_COMPAT_32
            case .long64: ZYDIS_MACHINE_MODE_LONG_64
            }
        var text = ZydisDisassembledInstruction()
        let status = ZydisDisassembleIntel(
            machineMode, rip, bytes.baseAddress, ZyanUSize(min(bytes.count, 15)), &text)
        guard status & 0x8000_0000 == 0 else { return "(no valid instruction)" }
        return withUnsafeBytes(of: &text.text) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    /// Intel-syntax text of the instruction at RIP, nil where it cannot be read.
    public func disassembleCurrent() -> String? {
        let linear = mode == .long64 ? rip : (segments[1].base &+ rip) & 0xFFFF_FFFF
        guard let page = try? translate(linear, write: false, execute: true), let host = page.pointee.host else {
            return nil
        }
        let offset = Int(linear & 0xFFF)
        return disassembly(
            UnsafeBufferPointer(
                start: (host + offset).assumingMemoryBound(to: UInt8.self), count: min(15, 4096 - offset)))
    }
}

func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
