import Backends
import Results
import Testing

@Suite("Program records")
struct ProgramRecordsTests {
    private func records(_ text: String, hertz: UInt64 = 2_000_000_000) -> ProgramRecords {
        var records = ProgramRecords(tscHertz: hertz)
        Array(text.utf8).withUnsafeBytes { records.append($0) }
        return records
    }

    private func result(_ text: String, code: Int32 = 0) -> TrialResult {
        var records = records(text)
        var result = TrialResult(status: .exited(code: code))
        records.finish(into: &result)
        return result
    }

    @Test("rounds become samples in nanoseconds, values become counters")
    func samples() {
        let result = result(
            "round phase=main cycles=4000 operations=10\nround phase=b-2 cycles=2 operations=1\n"
                + "value name=vectorBytes number=32\ncheck ok\n")
        #expect(
            result.samples == [
                Sample(phase: "main", nanoseconds: 2000, operations: 10),
                Sample(phase: "b-2", nanoseconds: 1, operations: 1),
            ])
        #expect(result.counters == ["program.vectorBytes": 32])
        #expect(result.status == .exited(code: 0))
    }

    @Test("figures that could not be taken are kept with the reason")
    func unavailable() {
        let result = result("unavailable name=in reason=ring 3 has no ports\ncheck ok\n")
        #expect(result.countersUnavailable == ["program.in": "ring 3 has no ports"])
        #expect(result.status == .exited(code: 0))
    }

    @Test(
        "an unavailable figure without name or reason is a problem",
        arguments: [
            "", " name=in", " name=in reason=", " name= reason=none", " name=in reason=\u{7}", " name=a b reason=c",
        ])
    func malformedUnavailable(rest: String) {
        #expect(records("unavailable\(rest)\n").problem != nil)
    }

    @Test("lines cut anywhere are put together")
    func pieces() {
        let text = "round phase=main cycles=4000 operations=10\ncheck ok\n"
        for size in 1...text.utf8.count {
            var records = ProgramRecords(tscHertz: 1_000_000_000)
            var rest = Array(text.utf8)[...]
            while !rest.isEmpty {
                Array(rest.prefix(size)).withUnsafeBytes { records.append($0) }
                rest = rest.dropFirst(size)
            }
            #expect(records.samples == [Sample(phase: "main", nanoseconds: 4000, operations: 10)])
            #expect(records.check == .passed)
        }
    }

    @Test("a failed check is a failed trial, whatever the exit code", arguments: [0, 1] as [Int32])
    func failedCheck(code: Int32) throws {
        let result = result("check failed expected=0x1 got=0x2\ncheck ok\n", code: code)
        guard case .failed(let failure) = result.status else {
            Issue.record("status \(result.status)")
            return
        }
        #expect(failure.kind == .wrongResult)
        #expect(failure.message.contains("expected 0x1, got 0x2"))
    }

    @Test("a trial that failed otherwise keeps its reason")
    func otherFailure() {
        var records = records("check failed expected=1 got=2\n")
        let status = TrialStatus.failed(TrialFailure(kind: .timeout, message: "too slow"))
        var result = TrialResult(status: status)
        records.finish(into: &result)
        #expect(result.status == status)
    }

    @Test("a program that records nothing is none of ours, and fine")
    func silent() { #expect(result("").status == .exited(code: 0)) }

    @Test(
        "garbage is a failed trial, not a crash",
        arguments: [
            "nonsense\n", "\n", "round\n", "round phase=main cycles=1\n", "round cycles=1 phase=main operations=1\n",
            "round phase=main cycles=-1 operations=1\n", "round phase=main cycles=18446744073709551616 operations=1\n",
            "round phase= cycles=1 operations=1\n", "round phase=a/b cycles=1 operations=1\n",
            "round phase=main cycles=1 operations=1 extra=1\n", "round  phase=main cycles=1 operations=1\n",
            "value name=x number=nan\n", "value name=x number=inf\n", "value name=x number=\n", "check\n",
            "check maybe\n",
            "check failed expected=1\n", "check ok", "\u{0}\u{1}\u{2}\n",
            "round phase=a123456789b123456789c123456789d123456789e123456789f123456789g1234 cycles=1 operations=1\n",
        ])
    func garbage(text: String) {
        guard case .failed(let failure) = result(text).status else {
            Issue.record("accepted \(text.debugDescription)")
            return
        }
        #expect(failure.kind == .wrongResult)
        #expect(failure.message.contains("line 1"))
        #expect(failure.message.count < 300)
    }

    @Test("a line without end is refused before it fills memory")
    func longLine() {
        var records = ProgramRecords(tscHertz: 1)
        [UInt8](repeating: UInt8(ascii: "x"), count: 5000).withUnsafeBytes { records.append($0) }
        #expect(records.problem == "line 1: a line of more than 1024 bytes")
    }

    @Test("bytes that are no text at all are refused")
    func binary() {
        var records = ProgramRecords(tscHertz: 1)
        [0xFF, 0xFE, 0x00, 0x0A].withUnsafeBytes { (bytes: UnsafeRawBufferPointer) in records.append(bytes) }
        #expect(records.problem != nil)
    }

    @Test("what was recorded before the garbage is kept")
    func kept() {
        let result = result("round phase=main cycles=2 operations=1\nbroken\nround phase=main cycles=2 operations=1\n")
        #expect(result.samples.count == 1)
    }

    @Test("the number of samples is bounded")
    func flood() {
        var records = ProgramRecords(tscHertz: 1_000_000_000, maximumSamples: 10)
        let lines = Array(String(repeating: "round phase=m cycles=1 operations=1\n", count: 11).utf8)
        lines.withUnsafeBytes { records.append($0) }
        #expect(records.samples.count == 10)
        #expect(records.problem?.contains("more than") == true)
    }

    @Test("cycles mean nothing without a TSC frequency")
    func noFrequency() {
        #expect(records("round phase=main cycles=1 operations=1\n", hertz: 0).problem != nil)
    }
}
