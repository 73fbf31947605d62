import Foundation
import Testing

@testable import Results

struct ReportFileTests {
    private func report() -> RunReport {
        var report = RunReport(
            generator: Generator(version: "0.1", commit: "abc"), started: Date(timeIntervalSince1970: 1_700_000_000.75),
            seed: (1 << 53) - 1,
            host: HostRecord(
                tscHertz: 2.1e9, facts: ["cpu": "x", "cpus": 2, "load": 0.5, "flags": ["a", nil, true]],
                capabilities: [.init(name: "kvm", present: false, detail: "no /dev/kvm")]),
            suite: SuiteRecord(name: "s", path: "a/b.json", resolved: ["name": "s", "workloads": []]))
        var result = TrialResult(status: .exited(code: 3))
        result.samples = [Sample(phase: "main", nanoseconds: 12.5, operations: 4)]
        result.exits = [
            ExitRecord(
                phase: "main", reason: "port-io", rawReason: "KVM_EXIT_IO", count: .max,
                times: ExitTimes(
                    totalCycles: 2, minimumCycles: 3, maximumCycles: 4, medianCycles: 5, p99Cycles: 6)),
            ExitRecord(
                phase: "boot", reason: "system-call", rawReason: "trampoline", handler: .inline, count: 2, times: nil,
                timesUnavailable: "not timed"),
        ]
        result.phases = [PhaseRecord(name: "main", timed: true, entries: 3, cycles: 90, guestCycles: 80)]
        var cell = CellRecord(workload: "w", backend: "kvm", plannedTrials: 3)
        cell.trials = [TrialRecord(index: 0, order: 2, cpu: nil, startedSeconds: 0.25, result: result)]
        for status in [
            TrialStatus.signaled(signal: 11), .failed(TrialFailure(kind: .timeout, message: "m", diagnosis: ["d"])),
        ] {
            cell.trials.append(
                TrialRecord(index: 1, order: 3, cpu: 1, startedSeconds: 1, result: TrialResult(status: status)))
        }
        report.cells = [cell]
        report.incompleteReason = "interrupted"
        return report
    }

    @Test func ledgersOfVersion1AreOfTheWholeRun() throws {
        let text = """
            {"reason": "halt", "count": 2, "totalCycles": 9, "minimumCycles": 3, "maximumCycles": 6, "medianCycles": 4,
             "p99Cycles": 6}
            """
        let record = try JSONDecoder().decode(ExitRecord.self, from: Data(text.utf8))
        let times = ExitTimes(totalCycles: 9, minimumCycles: 3, maximumCycles: 6, medianCycles: 4, p99Cycles: 6)
        #expect(record == ExitRecord(reason: "halt", handler: .vmm, count: 2, times: times))
    }

    @Test func readsBackWhatItWrote() throws {
        let report = report()
        let data = try ReportFile.encode(report)
        #expect(try ReportFile.decode(data, name: "r") == report)
        // Stable under diff: the same report is the same text.
        #expect(try ReportFile.encode(ReportFile.decode(data, name: "r")) == data)
        let text = String(decoding: data, as: UTF8.self)
        #expect(text.contains(#""started" : "2023-11-14T22:13:20Z""#))
        #expect(text.contains(#""path" : "a/b.json""#))
        #expect(text.contains("\"outcome\" : \"exited\""))
        #expect(text.hasSuffix("}\n"))
    }

    @Test func figuresAreNullWithAReason() throws {
        func text(_ figure: Figure) throws -> String {
            let encoder = JSONEncoder()
            encoder.outputFormatting = .sortedKeys
            return String(decoding: try encoder.encode(figure), as: UTF8.self)
        }
        #expect(try text(.unavailable(reason: "no PMU")) == #"{"reason":"no PMU","value":null}"#)
        #expect(try text(Figure(2)) == #"{"value":2}"#)
        #expect(Figure(.nan).value == nil)
        #expect(Figure(.infinity).reason != nil)
        let measured = Figure.measured(
            Estimate(
                value: 1.5, interval: .init(lower: 1, upper: 2, confidence: 0.95, method: "log-student-t")))
        #expect(
            try text(measured) == #"{"confidence":0.95,"lower":1,"method":"log-student-t","upper":2,"value":1.5}"#)
        for figure in [measured, Figure(2), .unavailable(reason: "r")] {
            #expect(try JSONDecoder().decode(Figure.self, from: JSONEncoder().encode(figure)) == figure)
        }
    }

    @Test func aNumberThatJSONCannotCarryIsRefusedByPath() {
        var report = report()
        report.cells[0].trials[0].result.samples[0].nanoseconds = .nan
        let error = #expect(throws: ReportError.self) { try ReportFile.encode(report) }
        #expect(
            error?.description
                == "the report cannot be written as JSON: $.cells[0].trials[0].result.samples[0].nanoseconds: nan")
    }

    @Test func anotherVersionIsSaid() throws {
        let newer = #expect(throws: ReportError.self) {
            try ReportFile.decode(Data(#"{"schemaVersion": 99}"#.utf8), name: "new.json")
        }
        #expect(
            newer?.description == "new.json has schema version 99, this vbench reads 1 to 2; use a newer vbench")
        let older = #expect(throws: ReportError.self) {
            try ReportFile.decode(Data(#"{"schemaVersion": 0}"#.utf8), name: "old.json")
        }
        #expect(older?.description.hasSuffix("write it anew with this vbench") == true)
    }

    @Test(arguments: [
        ("", "r.json is not a vbench report: the file is empty"),
        ("{}", #"r.json is not a vbench report: $: "schemaVersion" is missing"#),
        (#"{"schemaVersion": 1}"#, #"r.json is not a vbench report: $: ""#),
        (#"{"schemaVersion": "1"}"#, "r.json is not a vbench report: $.schemaVersion: "),
        ("[1, 2", "r.json is not a vbench report: $: "),
    ])
    func whatIsNoReportIsRefused(text: String, beginning: String) {
        let error = #expect(throws: ReportError.self) { try ReportFile.decode(Data(text.utf8), name: "r.json") }
        #expect(error?.description.hasPrefix(beginning) == true, "\(error?.description ?? "")")
    }

    @Test func everyTruncationIsRefused() throws {
        let data = try ReportFile.encode(report())
        for length in stride(from: 0, to: data.count - 2, by: 17) {
            #expect(throws: ReportError.self) { try ReportFile.decode(data.prefix(length), name: "r") }
        }
    }

    @Test func aMissingOrUnreadableFileIsSaid() {
        let missing = #expect(throws: ReportError.self) { try ReportFile.read("/nowhere/r.json") }
        #expect(missing?.description == "cannot read /nowhere/r.json: No such file or directory; check the path")
        let folder = #expect(throws: ReportError.self) { try ReportFile.read("/tmp") }
        #expect(folder?.description == "cannot read /tmp: Is a directory; name a file, not a folder")
    }

    @Test func writesAndReadsFiles() throws {
        let path = FileManager.default.temporaryDirectory.appending(path: "vbench-\(UUID().uuidString).json").path
        defer { unlink(path) }
        try ReportFile.write(report(), to: path)
        #expect(try ReportFile.read(path) == report())
        #expect(throws: ReportError.unwritable(FileError(path: "/nowhere/r.json", action: "write", code: ENOENT))) {
            try ReportFile.write(report(), to: "/nowhere/r.json")
        }
    }
}

struct JSONTests {
    @Test func keepsTypesThroughText() throws {
        let value: JSON = ["a": [1, 2.5, true, nil, "x", -9_007_199_254_740_993], "b": ["c": "d"]]
        #expect(try JSONDecoder().decode(JSON.self, from: JSONEncoder().encode(value)) == value)
        #expect(value["b"]?["c"]?.stringValue == "d")
        #expect(value["z"] == nil)
    }

    @Test func takesAnyEncodableValue() throws {
        struct Point: Encodable {
            var x = 1
            var label: String? = "p"
        }
        #expect(try JSON(encoding: Point()) == ["x": 1, "label": "p"])
        #expect(throws: (any Error).self) { try JSON(encoding: [Double.nan]) }
    }
}
