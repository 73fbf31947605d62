import MachineTesting
import Testing

@testable import Machine

@Suite struct KernelImageTests {
    private func image(_ builder: ElfBuilder) throws -> KernelImage {
        try KernelImage(path: "test.elf", bytes: builder.bytes)
    }

    private func reason(_ builder: ElfBuilder) -> String {
        do {
            _ = try image(builder)
            return "accepted"
        } catch { return "\(error)" }
    }

    @Test func segmentsEntryNoteAndSymbolsAreRead() throws {
        var builder = ElfBuilder(
            entry: 0x20_0010,
            segments: [
                .init(at: 0x20_0000, contents: [UInt8](repeating: 0x90, count: 64), memorySize: 0x3000),
                .init(at: 0x30_0000, contents: ElfBuilder.pvhNote(entry: 0x20_0020), type: 4),
            ])
        builder.symbols = [.init("second", at: 0x20_0020, size: 16), .init("start", at: 0x20_0010, size: 8)]
        let kernel = try image(builder)
        #expect(kernel.entry == GuestPhysicalAddress(0x20_0010))
        #expect(kernel.pvhEntry == 0x20_0020)
        #expect(kernel.segments.count == 1)
        #expect(kernel.segments[0].memorySize == 0x3000)
        #expect(Array(kernel.bytes[kernel.segments[0].fileRange]) == [UInt8](repeating: 0x90, count: 64))
        #expect(kernel.endAddress == GuestPhysicalAddress(0x20_3000))
        #expect(kernel.symbol(at: 0x20_0017)?.name == "start")
        #expect(kernel.symbol(at: 0x20_0017)?.offset == 7)
        #expect(kernel.symbol(at: 0x20_0018) == nil)
        #expect(kernel.symbol(at: 0x20_0021)?.name == "second")
        #expect(kernel.symbol(at: 0x20_000F) == nil)
        #expect(kernel.describe(0x20_0012) == "0x200012 start+0x2")
    }

    @Test func wrongKindsAreNamed() {
        var builder = ElfBuilder(code: [0xF4])
        builder.machine = 3
        #expect { try KernelImage(path: "k", bytes: builder.bytes32) } throws: { "\($0)".contains("32-bit") }
        builder = ElfBuilder(code: [0xF4])
        builder.machine = 183
        #expect(reason(builder).contains("not x86-64"))
        builder = ElfBuilder(code: [0xF4])
        builder.type = 3
        #expect(reason(builder).contains("without PIE"))
        builder = ElfBuilder(code: [0xF4])
        builder.entry = 0x50_0000
        #expect(reason(builder).contains("entry point 0x500000"))
        builder = ElfBuilder(code: [0xF4])
        builder.segments.append(.init(at: 0x40_0000, contents: Array("/lib64/ld.so\0".utf8), type: 3))
        #expect(reason(builder).contains("dynamically linked"))
    }

    @Test func badSegmentsAreRefused() {
        #expect(reason(ElfBuilder(code: [1, 2, 3], memorySize: 2)).contains("more bytes in the file"))
        #expect(reason(ElfBuilder(code: [0xF4], at: 0x1000)).contains("0x1000"))
        #expect(reason(ElfBuilder(code: [0xF4], at: 0x20_0000, memorySize: .max)).contains("outside"))
        #expect(reason(ElfBuilder(code: [0xF4], at: UInt64.max)).contains("outside"))
        let overlapping = ElfBuilder(
            entry: 0x20_0000,
            segments: [
                .init(at: 0x20_0000, contents: [0xF4], memorySize: 0x2000), .init(at: 0x20_1000, contents: [0xF4]),
            ])
        #expect(reason(overlapping).contains("overlap"))
        #expect(reason(ElfBuilder(entry: 0x20_0000, segments: [])).contains("PT_LOAD"))
    }

    @Test func notAnElfFile() {
        for bytes in [[], [0x7F], Array("#!/bin/sh\n".utf8), [UInt8](repeating: 0, count: 4096)] {
            #expect(throws: MachineError.self) { try KernelImage(path: "x", bytes: bytes) }
        }
        #expect { try KernelImage(path: "/nonexistent/kernel") } throws: { "\($0)".contains("/nonexistent/kernel") }
        #expect { try KernelImage(path: "/dev/null") } throws: { "\($0)".contains("not a regular file") }
    }

    /// Every truncation and thousands of corrupted bytes give an error or an image that obeys its own invariants.
    @Test func corruptFilesNeverBreakTheInvariants() {
        var builder = ElfBuilder(
            entry: 0x20_0000,
            segments: [
                .init(at: 0x20_0000, contents: [UInt8](repeating: 0x90, count: 200), memorySize: 0x3000),
                .init(at: 0x30_0000, contents: ElfBuilder.pvhNote(entry: 0x20_0020), type: 4),
            ])
        builder.symbols = [.init("a", at: 0x20_0000, size: 16), .init("b", at: 0x20_0010, size: 8)]
        let good = builder.bytes
        for length in 0..<good.count { check(Array(good[..<length])) }
        var generator = SplitMix64(state: 7)
        for _ in 0..<4000 {
            var bad = good
            for _ in 0..<(1 + Int(generator.next() % 4)) {
                bad[Int(generator.next() % UInt64(bad.count))] = UInt8(truncatingIfNeeded: generator.next())
            }
            check(bad)
        }
    }

    private func check(_ bytes: [UInt8]) {
        guard let kernel = try? KernelImage(path: "fuzz", bytes: bytes) else { return }
        for segment in kernel.segments {
            #expect(segment.fileRange.upperBound <= bytes.count)
            #expect(UInt64(segment.fileRange.count) <= segment.memorySize)
            #expect(segment.physicalAddress.rawValue + segment.memorySize <= 3 << 30)
        }
        for bootProtocol in BootProtocol.allCases {
            guard let plan = try? kernel.plan(for: bootProtocol) else { continue }
            #expect(plan.segments.contains { $0.contains(plan.entry.rawValue) })
        }
        _ = kernel.symbol(at: 0x20_0008)
    }
}
