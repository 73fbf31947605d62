import GuestInterface
import MachineTesting
import Testing

@testable import Machine

@Suite struct BootLoaderTests {
    private func configuration(
        initrd: [UInt8] = [], commandLine: String = "", memorySize: UInt64? = nil
    ) throws -> MachineConfiguration {
        let builder = ElfBuilder(code: [0x90, 0xF4], memorySize: memorySize)
        return MachineConfiguration(
            kernel: try KernelImage(path: "k", bytes: builder.bytes), initrd: initrd, commandLine: commandLine, seed: 42
        )
    }

    @Test func theKernelIsToldWhatIsInMemory() throws {
        let memory = try GuestMemory(bytes: 16 << 20)
        let initrd = (0..<5000).map { UInt8(truncatingIfNeeded: $0) }
        let state = try BootLoader.load(
            configuration(initrd: initrd, commandLine: "log=1 -- /bin/x"), into: memory, tscHertz: 2_000_000_000,
            apicTimerHertz: 1_000_000_000, quirks: BootQuirks.noSysret, bootTSC: 77)
        #expect(MemoryLayout<BootInfo>.size == 160)
        #expect(state.rip == 0x20_0000)
        #expect(state.rdi == BootLayout.bootInfo)
        let info = try memory.read(BootInfo.self, at: GuestPhysicalAddress(state.rdi))
        #expect(info.magic == BootInfo.magicValue)
        #expect(info.lowMemoryBytes == 16 << 20)
        #expect(info.initrdAddress == (16 << 20) - 8192)
        #expect(try memory.readBytes(at: GuestPhysicalAddress(info.initrdAddress), count: info.initrdBytes) == initrd)
        #expect(
            try memory.readBytes(at: GuestPhysicalAddress(info.commandLineAddress), count: info.commandLineBytes)
                == Array("log=1 -- /bin/x".utf8))
        #expect(info.tscHertz == 2_000_000_000)
        #expect(info.bootTSC == 77)
        #expect(info.quirks == BootQuirks.noSysret)
        #expect(info.randomSeed0 != info.randomSeed1)
        #expect(try memory.readBytes(at: GuestPhysicalAddress(0x20_0000), count: 2) == [0x90, 0xF4])
        #expect(try memory.read(UInt64.self, at: GuestPhysicalAddress(state.gdtBase + 0x10)) == 0x00AF_9B00_0000_FFFF)
        #expect(state.gdtLimit == 31)
    }

    @Test func fourGiBAreMappedToThemselves() throws {
        let memory = try GuestMemory(bytes: 16 << 20)
        let state = try BootLoader.load(
            configuration(), into: memory, tscHertz: 1, apicTimerHertz: 1, quirks: 0)
        for address: UInt64 in [0, 0x20_0000, 0x7FFF_FFFF, 0xFEE0_0000, (4 << 30) - 1] {
            #expect(GuestPageWalk(memory: memory, root: state.cr3).translate(address)?.rawValue == address)
        }
        #expect(GuestPageWalk(memory: memory, root: state.cr3).translate(4 << 30) == nil)
    }

    @Test func sameSeedSameGuest() throws {
        let infos = try (0..<2).map { _ in
            let memory = try GuestMemory(bytes: 16 << 20)
            _ = try BootLoader.load(configuration(), into: memory, tscHertz: 1, apicTimerHertz: 1, quirks: 0)
            return try memory.read(BootInfo.self, at: GuestPhysicalAddress(BootLayout.bootInfo))
        }
        #expect(infos[0].randomSeed0 == infos[1].randomSeed0)
        #expect(infos[0].randomSeed1 == infos[1].randomSeed1)
    }

    @Test func whatDoesNotFitIsRefusedWithFigures() throws {
        let memory = try GuestMemory(bytes: 4 << 20)
        func message(_ configuration: MachineConfiguration) -> String {
            do {
                _ = try BootLoader.load(configuration, into: memory, tscHertz: 1, apicTimerHertz: 1, quirks: 0)
                return "loaded"
            } catch { return "\(error)" }
        }
        #expect(try message(configuration(memorySize: 6 << 20)).contains("needs 8 MiB, it has 4 MiB"))
        let large = [UInt8](repeating: 1, count: 3 << 20)
        #expect(try message(configuration(initrd: large)).contains("needs 6 MiB, it has 4 MiB"))
        let line = String(repeating: "x", count: 4097)
        #expect(try message(configuration(commandLine: line)).contains("4097 bytes"))
        #expect(try message(configuration(commandLine: String(line.dropLast()))) == "loaded")
    }
}
