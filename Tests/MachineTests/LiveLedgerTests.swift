import Glibc
import MachineTesting
import Testing

@testable import Machine

@Suite struct LiveLedgerTests {
    /// What another process finds: the memory behind this process's descriptors of the ledger's name.
    private func snapshots() -> [LiveLedger.Snapshot] {
        (3..<512).compactMap { number in
            let path = "/proc/self/fd/\(number)"
            var buffer = [UInt8](repeating: 0, count: 128)
            let count = readlink(path, &buffer, buffer.count)
            guard count > 0,
                String(decoding: buffer[..<count], as: UTF8.self) == "/memfd:\(LiveLedger.memoryName) (deleted)"
            else { return nil }
            return LiveLedger.Snapshot(path: path)
        }
    }

    private func configuration(_ title: String) throws -> MachineConfiguration {
        var configuration = MachineConfiguration(
            kernel: try KernelImage(path: "guest", bytes: ElfBuilder(code: [0xF4]).bytes), memoryBytes: 64 << 20)
        configuration.title = title
        return configuration
    }

    @Test func countsAreSeenWhileTheyGrow() throws {
        let ledger = ExitLedger(rawReasons: ["a", "b"])
        ledger.record(.halt, cycles: 5)
        #expect(!snapshots().contains { $0.title == "growing" }, "not before it is published")
        ledger.publish(backend: "kvm", try configuration("growing"))
        ledger.record(.portIO, raw: 0, cycles: 100)
        ledger.record(.portIO, raw: 1, cycles: 20)
        func reason(_ name: String) throws -> LiveLedger.Snapshot.Reason {
            let snapshot = try #require(snapshots().first { $0.title == "growing" })
            #expect(snapshot.backend == "kvm")
            #expect(snapshot.memoryBytes == 64 << 20)
            #expect(snapshot.reasons.count == ExitReason.allCases.count)
            return try #require(snapshot.reasons.first { $0.name == name })
        }
        #expect(try reason("port-io") == .init(name: "port-io", count: 2, cycles: 120))
        #expect(try reason("halt") == .init(name: "halt", count: 1, cycles: 5))
        #expect(try reason("cpuid").count == 0)
        // Lines of another phase are added up.
        ledger.mark(.program)
        ledger.settle(exit: 1, entry: 2)
        ledger.record(.portIO, raw: 1, cycles: 3)
        #expect(try reason("port-io") == .init(name: "port-io", count: 3, cycles: 123))
    }

    @Test func theMemoryGoesWithTheLedger() throws {
        do {
            let ledger = ExitLedger()
            ledger.publish(backend: "kvm", try configuration("short-lived"))
            #expect(snapshots().contains { $0.title == "short-lived" })
        }
        #expect(!snapshots().contains { $0.title == "short-lived" })
    }

    // MARK: Hostile contents

    private func contents(_ change: (inout LiveHeader) -> Void, lines: [UInt64] = []) -> [UInt8] {
        var header = LiveHeader()
        header.magic = LiveHeader.magicValue
        header.version = LiveHeader.currentVersion
        header.reasonCount = 3
        (header.lineBytes, header.countOffset, header.cyclesOffset, header.keyOffset) = (24, 0, 8, 16)
        header.lineCount = UInt64(lines.count / 3)
        change(&header)
        var bytes = [UInt8](repeating: 0, count: LiveLedger.linesOffset)
        withUnsafeBytes(of: header) { bytes.replaceSubrange(0..<$0.count, with: $0) }
        for line in lines { bytes += withUnsafeBytes(of: line) { Array($0) } }
        return bytes
    }

    @Test func aWellFormedCopyIsRead() throws {
        let snapshot = try #require(LiveLedger.Snapshot(contents: contents({ _ in }, lines: [4, 400, 1, 2, 30, 4])))
        #expect(snapshot.reasons.map(\.count) == [0, 6, 0], "keys modulo the number of reasons")
        #expect(snapshot.reasons.map(\.cycles) == [0, 430, 0])
    }

    @Test func whatIsNoLedgerIsNotRead() {
        #expect(LiveLedger.Snapshot(contents: []) == nil)
        #expect(LiveLedger.Snapshot(contents: [UInt8](repeating: 0, count: 8192)) == nil)
        #expect(LiveLedger.Snapshot(contents: [UInt8](repeating: 0xFF, count: 8192)) == nil)
        #expect(LiveLedger.Snapshot(contents: contents { $0.version = 2 }) == nil)
        #expect(LiveLedger.Snapshot(contents: contents { $0.reasonCount = 0 }) == nil)
        #expect(LiveLedger.Snapshot(contents: contents { $0.reasonCount = .max }) == nil)
        #expect(LiveLedger.Snapshot(contents: contents { $0.lineBytes = 0 }) == nil)
        #expect(LiveLedger.Snapshot(contents: contents { $0.keyOffset = 17 }) == nil)
        #expect(LiveLedger.Snapshot(contents: contents { $0.countOffset = .max }) == nil)
        #expect(LiveLedger.Snapshot(path: "/nowhere") == nil)
        #expect(LiveLedger.Snapshot(path: "/dev/null") == nil)
    }

    @Test func linesThatAreNotThereAreNotCounted() throws {
        let bytes = contents({ $0.lineCount = .max }, lines: [4, 400, 1, 9])
        #expect(try #require(LiveLedger.Snapshot(contents: bytes)).reasons.map(\.count) == [0, 4, 0])
    }

    @Test func controlSequencesDoNotReachTheTerminal() throws {
        var bytes = contents { _ in }
        bytes.replaceSubrange(
            LiveLedger.titleOffset..<LiveLedger.titleOffset + 6, with: [0x1B, 0x5B, 0x32, 0x4A, 0xFF, 0x41])
        #expect(try #require(LiveLedger.Snapshot(contents: bytes)).title == "?[2J?A")
    }
}
