import GuestImages
import Host
import Results

/// The program in a guest under KVM, run by QEMU: the same kernel image and files, booted by PVH. A referee for vbench's own KVM VMM:
/// the same KVM, with a VMM that others wrote.
public enum QEMUKVMBackend: Backend {
    public static let name = BackendName.qemuKVM

    /// Not every KVM carries out what QEMU asks of it: a small guest is run to see, once a process.
    public static func availability() -> Availability { probed }

    public static func problem(with options: [String: String]) -> String? {
        QEMUTrial.problem(with: options, of: name)
    }

    public static func run(_ specification: TrialSpecification, observer: any TrialObserver) -> TrialResult {
        QEMUTrial.run(specification, backend: name, accelerator: .kvm(.detect()), observer: observer)
    }

    // MARK: The probe

    private static let probed = probe()

    /// Seconds; a fraction of one suffices.
    private static let probeTimeLimit = 20.0

    private static func probe() -> Availability {
        guard let path = QEMUMachine.executable else { return QEMUMachine.missing }
        if case .unavailable(let reason, let remedy) = KVMBackend.availability() {
            return .unavailable(reason: reason, remedy: remedy)
        }
        if let problem = problemOfProbe() {
            return .unavailable(
                reason: "QEMU runs no guest under this KVM: \(problem)",
                remedy: "try another version of QEMU or of the host's kernel; the backend kvm needs no QEMU")
        }
        return .available(detail: "\(path), \(KVMFlavour.detect().detail)")
    }

    /// Why the smallest of programs did not run to its end, or nil.
    private static func problemOfProbe() -> String? {
        let program = "spin"
        let image: String?
        do { image = try GuestImages.program(named: program) } catch { return "\(error)" }
        guard let image else { return "this build has no program \(program)" }
        var specification = TrialSpecification(
            arguments: ["/bin/\(program)", "--rounds", "1", "--operations", "1"],
            files: [GuestFile(hostPath: image, guestPath: "/bin/\(program)", executable: true)])
        specification.memoryBytes = 64 << 20
        specification.timeLimitSeconds = probeTimeLimit
        switch run(specification, observer: Silence()).status {
        case .exited(code: 0): return nil
        case .exited(let code): return "its program ended with code \(code)"
        case .signaled(let signal): return "its program was ended by signal \(signal)"
        case .failed(let failure): return failure.message
        }
    }

    /// The probe's output is of no interest.
    private struct Silence: TrialObserver {
        func programStarted() {}
        func programWrote(stream: Int, bytes: UnsafeRawBufferPointer) {}
        func kernelLogged(_ line: String) {}
    }
}
