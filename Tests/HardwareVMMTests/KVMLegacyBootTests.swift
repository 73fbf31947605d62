import HardwareVMM
import Host
import Machine
import MachineTesting
import Testing

/// Kernels that begin in 32-bit protected mode, under KVM. Where KVM is not hardware-assisted it emulates them, and not all of it: then
/// the machine must say so.
@Suite(.enabled(if: kvmWorks, "there is no usable /dev/kvm here")) struct KVMLegacyBootTests {
    private func run(
        _ kernel: TestKernel, by bootProtocol: BootProtocol, commandLine: String = "", module: [UInt8] = []
    ) throws -> (MachineOutcome, serial: String) {
        var configuration = MachineConfiguration(
            kernel: try KernelImage(path: kernel.rawValue, bytes: kernel.contents()), bootProtocol: bootProtocol,
            initrd: module, commandLine: commandLine, memoryBytes: 64 << 20, timeLimit: 20)
        configuration.hasPlatformDevices = true
        let observer = RecordingObserver()
        let outcome = try KVMMachine(configuration: configuration).run(observer: observer)
        return (outcome, observer.serialText)
    }

    /// Whether it did all of `expected`, or said that this KVM cannot carry out its IRET.
    private func check(_ kernel: TestKernel, end: MachineEnd, serial expected: String) throws {
        let (outcome, serial) = try run(kernel, by: .multiboot)
        if KVMFlavour.detect().isHardwareAssisted {
            #expect(outcome.end == end, "\(outcome.diagnosis.joined(separator: "\n"))")
            #expect(serial == expected)
            return
        }
        guard outcome.end != end else { return }
        guard case .emulationFailure(let message) = outcome.end else {
            Issue.record("ended with \(outcome.end)")
            return
        }
        #expect(message.contains("emulates guest ring 0 in part"))
        #expect(outcome.diagnosis.contains { $0.contains("iret") })
    }

    @Test func bootInformationArrives() throws {
        for bootProtocol in [BootProtocol.multiboot, .pvh] {
            let (outcome, serial) = try run(
                .bootInformation, by: bootProtocol, commandLine: "a=1 b", module: Array("some module".utf8))
            #expect(outcome.end == .debugExit(code: 0x21), "\(outcome.diagnosis.joined(separator: "\n"))")
            #expect(serial.hasPrefix("PE, PG=00000001\n\(bootProtocol == .pvh ? "PVH" : "multiboot")\n"))
            #expect(serial.contains("command line: a=1 b\n"))
            #expect(serial.contains("module: some module\n"))
            #expect(serial.contains("RAM from 1 MiB, MiB, at least=0000000e\n"))
        }
    }

    @Test func deviceMemoryIsThatOfTheSoftwareVMM() throws {
        let (outcome, serial) = try run(.deviceMemory, by: .vbench)
        #expect(outcome.end == .debugExit(code: 0x24), "\(outcome.diagnosis.joined(separator: "\n"))")
        #expect(serial == deviceMemoryOutput)
    }

    /// QEMU's emulated CPU neither checks segments' limits and types nor the directory pointers that CR3 loads.
    @Test(.enabled(if: HostCPU.hypervisor != "TCGTCGTCGTCG", "QEMU's emulated CPU does not check segments"))
    func segmentsAreCheckedOrTheLackIsSaid() throws {
        try check(.segments, end: .debugExit(code: 0x23), serial: segmentsOutput)
    }

    @Test(.enabled(if: Referee.emulator != nil, "qemu-system-x86_64 is not installed"))
    func interruptsArriveOrTheLackIsSaid() throws {
        let expected = try Referee.run(kernel: TestKernel.interrupts.contents())
        try check(.interrupts, end: .reset, serial: expected.serial)
    }
}
