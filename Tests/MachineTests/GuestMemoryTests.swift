import Glibc
import Testing

@testable import Machine

@Suite struct GuestMemoryTests {
    @Test func lowMemoryIsContiguousAndZero() throws {
        let memory = try GuestMemory(bytes: 8 << 20)
        #expect(memory.lowBytes == 8 << 20)
        #expect(memory.highBytes == 0)
        #expect(try memory.readBytes(at: GuestPhysicalAddress(0), count: 16) == [UInt8](repeating: 0, count: 16))
    }

    @Test func memoryAboveThreeGiBContinuesAtFourGiB() throws {
        let memory = try GuestMemory(bytes: 5 << 30)
        #expect(memory.lowBytes == 3 << 30)
        #expect(memory.highBytes == 2 << 30)
        #expect(memory.fileOffset(of: GuestPhysicalAddress(3 << 30)) == nil)
        #expect(memory.fileOffset(of: GuestPhysicalAddress((4 << 30) - 1)) == nil)
        #expect(memory.fileOffset(of: GuestPhysicalAddress(4 << 30)) == 3 << 30)
        #expect(memory.fileOffset(of: GuestPhysicalAddress((6 << 30) - 1)) == (5 << 30) - 1)
        #expect(memory.fileOffset(of: GuestPhysicalAddress(6 << 30)) == nil)
        try memory.write(UInt32(0x1234_5678), at: GuestPhysicalAddress((6 << 30) - 4))
        #expect(try memory.read(UInt32.self, at: GuestPhysicalAddress((6 << 30) - 4)) == 0x1234_5678)
    }

    @Test(arguments: [
        (UInt64(0x20_0000), UInt64(1)), (0x1F_FFFF, 2), (0, 0x20_0001), (.max, 1), (.max, .max), (8, .max),
    ])
    func accessesOutsideRAMAreRefused(address: UInt64, count: UInt64) throws {
        let memory = try GuestMemory(bytes: 2 << 20)
        #expect(memory.pointer(to: GuestPhysicalAddress(address), count: count) == nil)
        #expect(throws: MachineError.badGuestAddress(GuestPhysicalAddress(address), bytes: count)) {
            try memory.readBytes(at: GuestPhysicalAddress(address), count: count)
        }
    }

    @Test func accessAcrossTheHoleIsRefused() throws {
        let memory = try GuestMemory(bytes: 4 << 30)
        #expect(memory.pointer(to: GuestPhysicalAddress((3 << 30) - 8), count: 8) != nil)
        #expect(memory.pointer(to: GuestPhysicalAddress((3 << 30) - 8), count: 9) == nil)
    }

    @Test func theFileIsTheMemoryAndItsSizeIsSealed() throws {
        let memory = try GuestMemory(bytes: 2 << 20)
        try memory.write(UInt64(0xDEAD_BEEF), at: GuestPhysicalAddress(0x1000))
        var word: UInt64 = 0
        #expect(pread(memory.fileDescriptor, &word, 8, 0x1000) == 8)
        #expect(word == 0xDEAD_BEEF)
        #expect(ftruncate(memory.fileDescriptor, 4096) == -1)
        #expect(fcntl(memory.fileDescriptor, F_GETFD) & FD_CLOEXEC != 0)
    }

    @Test(arguments: [UInt64(0), 1, 4097, 1 << 62])
    func impossibleSizesAreRefused(bytes: UInt64) {
        #expect(throws: MachineError.self) { try GuestMemory(bytes: bytes) }
    }

    @Test func numaPlacementWorksOnNodeZeroAndNamesMissingNodes() throws {
        let memory = try GuestMemory(bytes: 2 << 20, numaNode: 0)
        try memory.write(UInt8(1), at: GuestPhysicalAddress(0))
        #expect { try GuestMemory(bytes: 2 << 20, numaNode: 4000) } throws: { error in
            "\(error)".contains("4000")
        }
    }

    @Test func descriptorsAreReleased() throws {
        let before = try descriptors()
        for _ in 0..<32 { _ = try GuestMemory(bytes: 2 << 20) }
        #expect(try descriptors() < before + 32)
    }

    private func descriptors() throws -> Int {
        let directory = try #require(opendir("/proc/self/fd"))
        defer { closedir(directory) }
        var count = 0
        while readdir(directory) != nil { count += 1 }
        return count
    }
}
