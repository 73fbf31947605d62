import GuestInterface
import MachineTesting
import Testing

@testable import Machine

@Suite struct BootProtocolTests {
    /// A multiboot header with address fields when there are any.
    private func header(flags: UInt32, addresses: [UInt32] = []) -> [UInt8] {
        let words = [0x1BAD_B002, flags, 0 &- (0x1BAD_B002 &+ flags)] + addresses
        return words.flatMap(ElfBuilder.little)
    }

    private func reason(_ bytes: [UInt8], _ bootProtocol: BootProtocol) -> String {
        do {
            _ = try KernelImage(path: "k", bytes: bytes).plan(for: bootProtocol)
            return "accepted"
        } catch { return "\(error)" }
    }

    @Test func aMultibootKernelMayBeA32BitELF() throws {
        var builder = ElfBuilder(code: header(flags: 3) + [0xF4], at: 0x10_0000)
        builder.machine = 3
        builder.entry = 0x10_000C
        let image = try KernelImage(path: "k", bytes: builder.bytes32)
        #expect(image.preferredProtocol == .multiboot)
        #expect(try image.plan(for: .multiboot).entry == GuestPhysicalAddress(0x10_000C))
        #expect(reason(builder.bytes32, .vbench).contains("64-bit mode"))
        #expect(reason(builder.bytes32, .pvh).contains("no PVH entry point"))
    }

    @Test func aFileWithAddressesInItsHeaderNeedNotBeAnELF() throws {
        let code: [UInt8] = [UInt8](repeating: 0x90, count: 32)
        // Header at 0x10_0020, file loaded from 0x10_0000 on, bss behind it.
        let file = code + header(flags: 1 << 16, addresses: [0x10_0020, 0x10_0000, 0, 0x10_2000, 0x10_0004]) + code
        let image = try KernelImage(path: "k", bytes: file)
        let plan = try image.plan(for: .multiboot)
        #expect(plan.entry == GuestPhysicalAddress(0x10_0004))
        #expect(plan.segments.count == 1)
        #expect(plan.segments[0].fileRange == 0..<file.count)
        #expect(plan.endAddress == GuestPhysicalAddress(0x10_2000))
        #expect(reason(file, .vbench).contains("64-bit mode"))
    }

    @Test(arguments: [
        ([0x10_0000, 0x10_0020, 0, 0, 0x10_0004] as [UInt32], "not in the file"),
        ([0x10_0020, 0x10_0000, 0x20_0000, 0, 0x10_0004], "more loaded than the file has"),
        ([0x10_0020, 0x10_0000, 0, 0x10_0010, 0x10_0004], "ends inside the data"),
        ([0x10_0020, 0x10_0000, 0, 0, 0x20_0000], "entry point 0x200000"),
        ([0x1020, 0x1000, 0, 0, 0x1000], "0x1000"),
    ])
    func wrongAddressesAreNamed(addresses: [UInt32], message: String) {
        let code: [UInt8] = [UInt8](repeating: 0x90, count: 32)
        #expect(reason(code + header(flags: 1 << 16, addresses: addresses), .multiboot).contains(message))
    }

    @Test func requirementsThatAreNotKnownAreRefused() {
        var builder = ElfBuilder(code: header(flags: 1 << 7) + [0xF4], at: 0x10_0000)
        builder.entry = 0x10_000C
        #expect(reason(builder.bytes, .multiboot).contains("flags 0x80"))
        // Bad checksums make no header.
        var bytes = header(flags: 0)
        bytes[8] ^= 1
        #expect(MultibootHeader(in: bytes) == nil)
        #expect(MultibootHeader(in: header(flags: 0)) != nil)
        #expect(MultibootHeader(in: [UInt8](repeating: 0, count: 8188) + header(flags: 0)) == nil)
    }

    @Test func theFileSaysWhichProtocolItWants() throws {
        func preferred(_ notes: [UInt8]) throws -> BootProtocol {
            let builder = ElfBuilder(
                entry: 0x20_0000,
                segments: [
                    .init(at: 0x20_0000, contents: [UInt8](repeating: 0x90, count: 64)),
                    .init(at: 0x30_0000, contents: notes, type: 4),
                ])
            return try KernelImage(path: "k", bytes: builder.bytes).preferredProtocol
        }
        let vbench =
            [7, 4, 1].flatMap { ElfBuilder.little(UInt32($0)) } + Array("vbench\0\0".utf8)
            + ElfBuilder.little(UInt32(1))
        #expect(try preferred([]) == .vbench)
        #expect(try preferred(ElfBuilder.pvhNote(entry: 0x20_0020)) == .pvh)
        #expect(try preferred(ElfBuilder.pvhNote(entry: 0x20_0020) + vbench) == .vbench)
    }

    @Test func protectedModeKernelsAreEnteredFlatAndUnpaged() throws {
        let memory = try GuestMemory(bytes: 16 << 20)
        let builder = ElfBuilder(
            entry: 0x20_0000,
            segments: [
                .init(at: 0x20_0000, contents: [UInt8](repeating: 0x90, count: 64)),
                .init(at: 0x30_0000, contents: ElfBuilder.pvhNote(entry: 0x20_0020), type: 4),
            ])
        let state = try BootLoader.load(
            MachineConfiguration(
                kernel: KernelImage(path: "k", bytes: builder.bytes), bootProtocol: .pvh, commandLine: "x=1"),
            into: memory, tscHertz: 1, apicTimerHertz: 1, quirks: 0)
        #expect(state.rip == 0x20_0020)
        #expect(state.cr0 == 0x11)
        #expect(state.efer == 0)
        #expect(!state.isLongMode)
        #expect(state.code.isBig && !state.code.isLong && state.code.limit == .max)
        let commandLine: UInt64 = try memory.read(at: GuestPhysicalAddress(state.rbx + 24))
        #expect(try memory.readBytes(at: GuestPhysicalAddress(commandLine), count: 4) == Array("x=1\0".utf8))
        // A range of RAM from 1 MiB to the end of memory is in the map.
        let map: UInt64 = try memory.read(at: GuestPhysicalAddress(state.rbx + 40))
        let entries: UInt32 = try memory.read(at: GuestPhysicalAddress(state.rbx + 48))
        let starts = try (0..<UInt64(entries)).map {
            try memory.read(UInt64.self, at: GuestPhysicalAddress(map + 24 * $0))
        }
        let index = try #require(starts.firstIndex(of: 1 << 20))
        #expect(
            try memory.read(UInt64.self, at: GuestPhysicalAddress(map + 24 * UInt64(index) + 8)) == 15 << 20)
    }
}
