import Results
import Testing

@testable import Lab

@Suite("Checks of a trial")
struct TrialCheckTests {
    private func output(_ text: String) -> OutputDigest {
        var digest = OutputDigest()
        digest.bytes = UInt64(text.utf8.count)
        digest.sha256 = "digest of \(text)"
        digest.head = text
        return digest
    }

    private func result(_ status: TrialStatus, _ text: String = "out") -> TrialResult {
        var result = TrialResult(status: status)
        result.standardOutput = output(text)
        return result
    }

    private func check(_ expectation: SuiteExpectation, native: Swift.Result<OutputDigest, TrialFailure>? = nil)
        -> TrialCheck
    {
        TrialCheck(expectation: expectation, native: native)
    }

    @Test("The expected exit code passes and leaves the result as it is")
    func passes() {
        let good = result(.exited(code: 3))
        #expect(check(SuiteExpectation(exitCode: 3)).apply(to: good) == good)
    }

    @Test("Another exit code, or a signal, is a wrong result that shows the output")
    func wrongEnd() {
        let wrong = check(SuiteExpectation()).apply(to: result(.exited(code: 2), "oops\n"))
        guard case .failed(let failure) = wrong.status else { return #expect(Bool(false)) }
        #expect(failure.kind == .wrongResult)
        #expect(failure.diagnosis == ["stdout: oops"])
        #expect(check(SuiteExpectation()).apply(to: result(.signaled(signal: 11))).failureKind == .wrongResult)
    }

    @Test("Output is held against the native one")
    func native() {
        let same = check(SuiteExpectation(outputMatchesNative: true), native: .success(output("out")))
        #expect(same.apply(to: result(.exited(code: 0))).failureKind == nil)
        #expect(same.apply(to: result(.exited(code: 0), "other")).failureKind == .wrongResult)
    }

    @Test("Without a native output nothing passes")
    func noNative() {
        let failure = TrialFailure(kind: .timeout, message: "took too long")
        let lost = check(SuiteExpectation(outputMatchesNative: true), native: .failure(failure))
        #expect(lost.apply(to: result(.exited(code: 0))).failureKind == .wrongResult)
    }

    @Test("A given digest is required")
    func digest() {
        let known = check(SuiteExpectation(sha256: "digest of out"))
        #expect(known.apply(to: result(.exited(code: 0))).failureKind == nil)
        #expect(known.apply(to: result(.exited(code: 0), "x")).failureKind == .wrongResult)
    }

    @Test("A trial that failed keeps its own reason")
    func keepsReason() {
        let timeout = TrialResult.failure(.timeout, "too long")
        #expect(check(SuiteExpectation(exitCode: 9)).apply(to: timeout) == timeout)
    }
}
