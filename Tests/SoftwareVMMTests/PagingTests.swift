import Foundation
import Machine
import MachineTesting
import SoftwareVMM
import Testing

/// Guests/paging.c: a kernel that prints what it sees of paging, the same on every machine.
private enum PagingGuest {
    static let memory = 64

    static let tools = (clang: Emulator.find("clang"), linker: Emulator.find("ld.lld"))
    static var canBeBuilt: Bool { tools.clang != nil && tools.linker != nil }

    /// With few scattered mappings, and with 72,000: more than vm.max_map_count allows by default (65,530).
    static let small = Result { try build(scattered: 4_000) }
    static let large = Result { try build(scattered: 72_000) }

    private static func build(scattered: Int) throws -> URL {
        let sources = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Guests")
        let folder = FileManager.default.temporaryDirectory.appending(path: "paging-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let image = folder.appending(path: "paging.elf")
        let target = "--target=x86_64-unknown-none-elf"
        let objects = ["c", "S"].map { folder.appending(path: "\($0).o").path }
        let clang = try #require(tools.clang)
        try run(
            clang,
            [
                target, "-O1", "-ffreestanding", "-fno-stack-protector", "-mno-red-zone", "-mgeneral-regs-only",
                "-fno-pic", "-DSCATTERED=\(scattered)", "-c", sources.appending(path: "paging.c").path, "-o",
                objects[0],
            ])
        try run(clang, [target, "-c", sources.appending(path: "paging.S").path, "-o", objects[1]])
        try run(
            try #require(tools.linker),
            [
                "-static", "-z", "max-page-size=4096", "-z", "noexecstack", "--build-id=none", "-T",
                sources.appending(path: "paging.lds").path, "-o", image.path,
            ] + objects)
        return image
    }

    private static func run(_ program: String, _ arguments: [String]) throws {
        let process = Process()
        process.executableURL = URL(filePath: program)
        process.arguments = arguments
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "\(program) failed on the paging test kernel")
    }
}

@Suite(
    .serialized, .enabled(if: softwareWorks, "this host lacks what the software VMM builds on"),
    .enabled(if: PagingGuest.canBeBuilt, "clang and ld.lld are not installed"))
struct PagingTests {
    private func run(_ image: URL, _ userMode: UserMode, mappingLimit: Int? = nil) throws -> (
        outcome: MachineOutcome, lines: [Substring]
    ) {
        let kernel = try KernelImage(path: "paging", bytes: [UInt8](Data(contentsOf: image)))
        let observer = RecordingObserver()
        let outcome = try ExclusiveProcess.run {
            var options = SoftwareMachine.Options()
            options.userMode = userMode
            options.hostMappingLimit = mappingLimit
            let machine = try SoftwareMachine(
                configuration: MachineConfiguration(
                    kernel: kernel, memoryBytes: UInt64(PagingGuest.memory) << 20, timeLimit: 120),
                options: options)
            return machine.run(observer: observer)
        }
        return (outcome, observer.serialText.split(separator: "\n"))
    }

    /// Lines that differ, each with what QEMU printed.
    private func compare(_ lines: [Substring]) throws {
        // The same CPU features where lines depend on them: pages of 1 GiB.
        let hasGigabytePages = lines.contains { $0.hasPrefix("1g") }
        let referee = try Emulator.boot(
            kernel: try PagingGuest.small.get().path, megabytes: PagingGuest.memory,
            cpu: hasGigabytePages ? "max" : "max,-pdpe1gb")
        try #require(referee.lines.last == "end", "QEMU ended early: \(referee.console)")
        #expect(lines.count == referee.lines.count)
        for (index, (ours, theirs)) in zip(lines, referee.lines).enumerated() where ours != theirs {
            Issue.record("line \(index): “\(ours)”, in QEMU “\(theirs)”")
        }
    }

    @Test(
        .enabled(if: Emulator.isInstalled, "qemu-system-x86_64 is not installed"),
        arguments: [UserMode.direct, .translate])
    func pagingLooksAsItDoesInQEMU(_ userMode: UserMode) throws {
        let (outcome, lines) = try run(try PagingGuest.small.get(), userMode)
        #expect(outcome.end == .debugExit(code: 0x10), "\(outcome.diagnosis)")
        try compare(lines)
        // Translated, the accesses that find nothing mapped become callouts and map nothing.
        guard userMode == .direct else { return }
        // Sets of pages came back with their address spaces, and more stayed than went.
        #expect(outcome.counters["software.shadowRestored", default: 0] > 1000)
        #expect(outcome.counters["software.shadowKept", default: 0] > 1000)
    }

    private func expectRight(_ outcome: MachineOutcome, _ lines: [Substring]) {
        #expect(outcome.end == .debugExit(code: 0x10), "\(outcome.diagnosis)")
        #expect(lines.contains("scattered 0 0 0"))
        #expect(lines.contains { $0.hasPrefix("spaces 0 ") })
        #expect(!lines.contains { $0.hasPrefix("wrong") })
    }

    @Test func aGuestWithMoreMappingsThanTheHostAllowsRunsRight() throws {
        let (outcome, lines) = try run(try PagingGuest.large.get(), .adaptive)
        expectRight(outcome, lines)
        // At least until a host's vm.max_map_count is above 72,000.
        if outcome.counters["software.hostMappingsPeak", default: 0] < 72_000 {
            #expect(outcome.counters["software.shadowEvictions", default: 0] > 0)
        }
    }

    @Test func allOfItHoldsWithVeryFewHostMappings() throws {
        let (outcome, lines) = try run(try PagingGuest.small.get(), .adaptive, mappingLimit: 100)
        expectRight(outcome, lines)
        #expect(outcome.counters["software.shadowEvictions", default: 0] > 100)
        #expect(outcome.counters["software.hostMappingsPeak", default: .infinity] <= 100)
    }
}
