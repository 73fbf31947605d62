import FoundationEssentials

/// Environment of processes that run guests.
public enum ChildEnvironment {
    /// What they take over of ours. A guest that breaks out of its machine can read what its process holds: no secrets of the
    /// user's environment.
    public static var inherited: [String: String] {
        ProcessInfo.processInfo.environment.filter { isInherited($0.key) }
            // Crash handlers of the Swift runtime and the software VMM's would get into each other's way.
            .merging(["SWIFT_BACKTRACE": "enable=no"]) { old, _ in old }
    }

    private static func isInherited(_ variable: String) -> Bool {
        ["PATH", "HOME", "LANG", "TZ"].contains(variable)
            || ["LC_", "LD_", "SWIFT_", "ASAN_", "TSAN_", "UBSAN_", "LLVM_"].contains { variable.hasPrefix($0) }
    }
}
