import Backends
import Host
import Results

/// The backends of a suite on this host.
public struct BackendSurvey: Sendable {
    /// In the suite's order.
    public let records: [BackendRecord]

    /// Asks each backend whether it can run here.
    public init(_ names: [String]) {
        records = names.map { name in
            guard let backend = BackendName(rawValue: name).flatMap(BackendRegistry.backend) else {
                return BackendRecord(
                    name: name, available: false, reason: "this build of vbench has no backend \(name)",
                    remedy: "take it out of the suite, or use another build")
            }
            switch backend.availability() {
            case .available(let detail):
                return BackendRecord(
                    name: name, available: true, detail: detail,
                    facts: [.kvm, .qemuKVM].contains(backend.name) ? Self.kvmFacts : [:])
            case .unavailable(let reason, let remedy):
                return BackendRecord(name: name, available: false, reason: reason, remedy: remedy)
            }
        }
    }

    /// A figure taken under KVM means little without them.
    private static var kvmFacts: [String: JSON] {
        let flavour = KVMFlavour.detect()
        return ["flavour": .string(flavour.rawValue), "hardwareAssisted": .bool(flavour.isHardwareAssisted)]
    }

    /// Why a backend cannot be used, and what to do; nil when it can.
    public func obstacle(_ name: String) -> String? {
        guard let record = records.first(where: { $0.name == name }) else { return "not a backend of this suite" }
        guard !record.available else { return nil }
        return (record.reason ?? "unavailable") + (record.remedy.map { "; \($0)" } ?? "")
    }
}
