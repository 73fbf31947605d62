import Machine
import MachineTesting
import SoftwareVMM
import Testing

/// Kernels that begin in 32-bit protected mode. QEMU's emulator runs the same files as the referee.
@Suite(.serialized, .enabled(if: softwareWorks, "this host lacks what the software VMM builds on"))
struct LegacyBootTests {
    private func run(
        _ kernel: TestKernel, by bootProtocol: BootProtocol, commandLine: String = "", module: [UInt8] = []
    ) throws -> (MachineOutcome, serial: String) {
        let image = try KernelImage(path: kernel.rawValue, bytes: kernel.contents())
        let observer = RecordingObserver()
        let outcome = try ExclusiveProcess.run {
            var configuration = MachineConfiguration(
                kernel: image, bootProtocol: bootProtocol, initrd: module, commandLine: commandLine,
                memoryBytes: 64 << 20, timeLimit: 20)
            configuration.hasPlatformDevices = true
            return try SoftwareMachine(configuration: configuration).run(observer: observer)
        }
        return (outcome, observer.serialText)
    }

    @Test(.enabled(if: Referee.emulator != nil, "qemu-system-x86_64 is not installed"))
    func processorModesAreThoseOfTheReferee() throws {
        let expected = try Referee.run(kernel: TestKernel.modes.contents())
        #expect(expected.exitCode == 0x22)
        for bootProtocol in [BootProtocol.multiboot, .pvh] {
            let (outcome, serial) = try run(.modes, by: bootProtocol)
            #expect(outcome.end == .debugExit(code: 0x22), "\(outcome.diagnosis.joined(separator: "\n"))")
            #expect(serial == expected.serial)
        }
    }

    @Test func limitsAndRightsOfSegmentsHold() throws {
        let (outcome, serial) = try run(.segments, by: .multiboot)
        #expect(outcome.end == .debugExit(code: 0x23), "\(outcome.diagnosis.joined(separator: "\n"))")
        #expect(serial == segmentsOutput)
    }

    @Test(.enabled(if: Referee.emulator != nil, "qemu-system-x86_64 is not installed"))
    func multibootTellsWhatTheRefereeTells() throws {
        let module = Array("what the module holds".utf8)
        let expected = try Referee.run(
            kernel: TestKernel.bootInformation.contents(), commandLine: "a=1 b", module: module)
        #expect(expected.exitCode == 0x21)
        let (outcome, serial) = try run(
            .bootInformation, by: .multiboot, commandLine: "a=1 b", module: module)
        #expect(outcome.end == .debugExit(code: 0x21), "\(outcome.diagnosis.joined(separator: "\n"))")
        #expect(serial == expected.serial)
        #expect(serial.contains("command line: a=1 b\nmodules=00000001\n"))
    }

    @Test func pvhTellsItAll() throws {
        let (outcome, serial) = try run(
            .bootInformation, by: .pvh, commandLine: "a=1 b", module: Array("module".utf8))
        #expect(outcome.end == .debugExit(code: 0x21), "\(outcome.diagnosis.joined(separator: "\n"))")
        #expect(
            serial == """
                PE, PG=00000001
                PVH
                magic=336ec578
                modules=00000001
                command line: a=1 b
                module bytes=00000006
                module: module
                RAM from 1 MiB, MiB, at least=0000000e

                """)
    }

    @Test(.enabled(if: Referee.emulator != nil, "qemu-system-x86_64 is not installed"))
    func interruptsAndDevicesAreThoseOfTheReferee() throws {
        let expected = try Referee.run(kernel: TestKernel.interrupts.contents())
        #expect(expected.serial.hasSuffix("reset\n"))
        let (outcome, serial) = try run(.interrupts, by: .multiboot)
        #expect(outcome.end == .reset, "\(outcome.diagnosis.joined(separator: "\n"))")
        #expect(serial == expected.serial)
    }

    @Test func deviceMemoryTakesAllKindsOfInstructions() throws {
        let (outcome, serial) = try run(.deviceMemory, by: .vbench)
        #expect(outcome.end == .debugExit(code: 0x24), "\(outcome.diagnosis.joined(separator: "\n"))")
        #expect(serial == deviceMemoryOutput)
        #expect(outcome.exits.contains { $0.reason == .mmio && $0.count > 30 })
    }

    @Test func ring3OutsideLongModeIsRefusedInWords() throws {
        let (outcome, _) = try run(.compatibilityUser, by: .pvh)
        guard case .emulationFailure(let message) = outcome.end else {
            Issue.record("ended with \(outcome.end)")
            return
        }
        #expect(message.contains("ring-3 code outside 64-bit mode"))
        #expect(outcome.diagnosis.contains { $0.contains("iret") })
    }
}
