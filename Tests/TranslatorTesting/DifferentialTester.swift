import Translator

/// Compares cases between the CPU and the translator, shrinks what differs and keeps count of what was reached.
public final class DifferentialTester {
    public struct Failure: CustomStringConvertible {
        public var test: TestCase
        public var reason: String

        package init(test: TestCase, reason: String) {
            self.test = test
            self.reason = reason
        }

        public var description: String {
            (["\(test)  # \(reason)"] + test.disassembly.map { "    \($0)" }).joined(separator: "\n")
        }
    }

    public let harness: DifferentialHarness
    /// Cases compared, and those that could not be (traces too long, system calls).
    public private(set) var compared = 0
    public private(set) var unfit = 0

    public init(_ privilege: TranslationOptions.Privilege) {
        harness = DifferentialHarness(privilege: privilege)
    }

    /// The first difference, nil when the translator agrees with the CPU.
    public func difference(in test: TestCase) -> String? {
        let start = InitialState(test.layout, seed: test.seed)
        harness.runNatively(test, start.state, data: start.data)
        guard harness.nativeEnding != .endless, harness.nativeEnding != .unfit else {
            unfit += 1
            return nil
        }
        compared += 1
        do throws(DifferentialHarness.Difference) {
            try harness.runTranslated(start.state, data: start.data, .whole, seed: test.seed)
            try harness.runTranslated(start.state, data: start.data, .stepping(restarts: 0), seed: test.seed)
            try harness.runTranslated(start.state, data: start.data, .stepping(restarts: 12), seed: test.seed &+ 1)
        } catch {
            return error.description
        }
        return nil
    }

    /// Whether the CPU found the last case's instructions all defined: it has them.
    public var lastWasDefined: Bool {
        if case .trap(6, _, _) = harness.nativeEnding { return false }
        return true
    }

    /// The case, shrunk, when it fails.
    public func check(_ test: TestCase) -> Failure? {
        guard difference(in: test) != nil else { return nil }
        let small = Shrinker { self.difference(in: $0) != nil }.shrink(test)
        return Failure(test: small, reason: difference(in: small) ?? "does not always fail")
    }
}
