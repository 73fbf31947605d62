import Backends
import Results
import Suite

/// Whether a trial gave the right result: a wrong answer is a failed trial, not a fast one.
struct TrialCheck {
    let expectation: Expectation
    /// Digest that standard output must have, or why there is none, when it must match the native one.
    let native: Result<OutputDigest, TrialFailure>?

    /// The result, turned into a failure when it is not as expected. A result that failed already stays as it is.
    func apply(to result: TrialResult) -> TrialResult {
        guard let failure = failure(of: result) else { return result }
        var wrong = result
        wrong.status = .failed(failure)
        return wrong
    }

    private func failure(of result: TrialResult) -> TrialFailure? {
        switch result.status {
        case .failed: return nil
        case .signaled(let signal):
            return wrong("the program was ended by \(SignalName.of(signal))", result)
        case .exited(let code) where Int(code) != expectation.exitCode:
            return wrong("exit code \(code) instead of \(expectation.exitCode)", result)
        case .exited: break
        }
        let output = result.standardOutput
        if let sha256 = expectation.sha256, output.sha256 != sha256 {
            return wrong("standard output has SHA-256 \(output.sha256) instead of \(sha256)", result)
        }
        switch native {
        case nil: return nil
        case .failure(let failure):
            return TrialFailure(
                kind: .wrongResult, message: "no native output to compare with: \(failure.message)",
                diagnosis: failure.diagnosis)
        case .success(let reference):
            guard output.sha256 != reference.sha256 else { return nil }
            return wrong(
                "standard output differs from the native one (\(output.bytes) bytes, natively \(reference.bytes))",
                result)
        }
    }

    private func wrong(_ message: String, _ result: TrialResult) -> TrialFailure {
        func lines(_ name: String, _ digest: OutputDigest) -> [String] {
            digest.head.split(separator: "\n").prefix(10).map { "\(name): \($0)" }
        }
        return TrialFailure(
            kind: .wrongResult,
            message: [message, result.missingSystemCalls].compactMap(\.self).joined(separator: "; "),
            diagnosis: lines("stdout", result.standardOutput) + lines("stderr", result.standardError))
    }
}
