/// Every way to run a program that this build has: a new backend is added here and in `BackendName`.
public enum BackendRegistry {
    public static let all: [any Backend.Type] = [
        NativeBackend.self, KVMBackend.self, SoftwareBackend.self, QEMUTCGBackend.self,
        QEMUKVMBackend.self,
    ]

    /// The backend of that name, or nil when this build lacks it.
    public static func backend(_ name: BackendName) -> (any Backend.Type)? {
        all.first { $0.name == name }
    }
}
