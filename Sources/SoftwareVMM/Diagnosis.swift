import CZydis
import Machine

/// The last exits of a machine, in storage that is never allocated again.
final class ExitHistory {
    private static let capacity = 16
    // Invariant: `capacity` entries from init to deinit; the index is always taken modulo the capacity.
    private let entries: UnsafeMutablePointer<(reason: ExitReason, rip: UInt64)>
    private var count = 0

    init() {
        entries = .allocate(capacity: Self.capacity)
        entries.initialize(repeating: (.other, 0), count: Self.capacity)
    }

    deinit { entries.deallocate() }

    @inline(__always)
    func record(_ reason: ExitReason, rip: UInt64) {
        entries[count % Self.capacity] = (reason, rip)
        count &+= 1
    }

    func lines(describe: (UInt64) -> String) -> [String] {
        (0..<min(count, Self.capacity)).map { back in
            let entry = entries[(count - 1 - back) % Self.capacity]
            return "  \(entry.reason.name), guest went on at \(describe(entry.rip))"
        }
    }
}

extension SoftwareMachine {
    /// Registers of the guest, four a line.
    func registerLines() -> [String] {
        let names = [
            "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
            "r13", "r14", "r15",
        ]
        var values = names.enumerated().map { ($1, cpu[$0]) }
        values += [
            ("rip", cpu.rip), ("rflags", cpu.flags), ("cr0", cpu.cr0), ("cr2", cpu.cr2), ("cr3", cpu.cr3),
            ("cr4", cpu.cr4), ("fsbase", cpu.state.pointee.guest_fs_base),
            ("gsbase", cpu.state.pointee.guest_gs_base),
        ]
        return stride(from: 0, to: values.count, by: 4).map { first in
            values[first..<min(first + 4, values.count)]
                .map { name, value in
                    let digits = String(value, radix: 16)
                    return name + String(repeating: " ", count: max(0, 7 - name.count))
                        + String(repeating: "0", count: 16 - digits.count) + digits
                }
                .joined(separator: "  ")
        }
    }

    /// The first instruction of `bytes` as Intel-syntax text.
    func disassemble(_ bytes: UnsafeBufferPointer<UInt8>, at address: UInt64) -> String {
        var instruction = ZydisDisassembledInstruction()
        let status = ZydisDisassembleIntel(
            ZYDIS_MACHINE_MODE_LONG_64, address, bytes.baseAddress, ZyanUSize(min(bytes.count, 15)),
            &instruction)
        guard status & 0x8000_0000 == 0 else { return "(no valid instruction)" }
        return withUnsafeBytes(of: &instruction.text) {
            String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
    }
}
