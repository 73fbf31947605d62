import Synchronization

/// Tests that take this process's fault handlers and low addresses run one at a time, whatever suite they are in.
public enum ExclusiveProcess {
    private static let lock = Mutex(())

    /// Runs `body` while no other such test runs.
    public static func run<T>(_ body: () throws -> T) rethrows -> T {
        try lock.withLock { _ in try body() }
    }
}
