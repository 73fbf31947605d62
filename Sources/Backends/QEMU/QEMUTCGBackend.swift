import Results

/// The program in a guest under QEMU's emulator (TCG): the same kernel image and files, booted by PVH, on a machine that no
/// code of vbench has a part in. A referee, and a base line for binary translation.
public enum QEMUTCGBackend: Backend {
    public static let name = BackendName.qemuTCG

    public static func availability() -> Availability {
        guard let path = QEMUMachine.executable else { return QEMUMachine.missing }
        return .available(detail: "\(path), emulation (TCG)")
    }

    public static func problem(with options: [String: String]) -> String? {
        QEMUTrial.problem(with: options, of: name)
    }

    public static func run(_ specification: TrialSpecification, observer: any TrialObserver) -> TrialResult {
        QEMUTrial.run(specification, backend: name, accelerator: .tcg, observer: observer)
    }
}
