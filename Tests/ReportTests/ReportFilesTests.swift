import Foundation
import Results
import SchemaTesting
import Testing

@testable import Report

struct ReportFilesTests {
    /// Reads RFC 4180 strictly: every line ends in CRLF and has as many fields as the header.
    private func parse(_ text: String) throws -> [[String: String]] {
        var rows: [[String]] = []
        var row: [String] = []
        var field = ""
        var quoted = false
        var scalars = Array(text.unicodeScalars)[...]
        while let scalar = scalars.popFirst() {
            if quoted {
                if scalar != "\"" {
                    field.unicodeScalars.append(scalar)
                } else if scalars.first == "\"" {
                    field.unicodeScalars.append(scalars.removeFirst())
                } else {
                    quoted = false
                    try #require(scalars.first == "," || scalars.first == "\r")
                }
            } else if scalar == "\"" {
                try #require(field.isEmpty)
                quoted = true
            } else if scalar == "," {
                row.append(field)
                field = ""
            } else if scalar == "\r" {
                try #require(scalars.popFirst() == "\n")
                rows.append(row + [field])
                row = []
                field = ""
            } else {
                try #require(scalar != "\n")
                field.unicodeScalars.append(scalar)
            }
        }
        try #require(row.isEmpty && field.isEmpty && !quoted)
        return try rows.dropFirst().map { row in
            try #require(row.count == rows[0].count)
            return Dictionary(uniqueKeysWithValues: zip(rows[0], row))
        }
    }

    @Test func summaryHasALineForEveryCell() throws {
        let rows = try parse(CSVReports.summary(SampleReport.full()))
        #expect(rows.count == 7)
        #expect(rows[1]["workload"] == "null-syscall")
        #expect(rows[1]["backend"] == "kvm")
        #expect(rows[1]["time"] == "200")
        #expect(rows[1]["unit"] == "ns/op")
        #expect(rows[1]["slowdown"].flatMap(Double.init).map { abs($0 - 2) < 1e-12 } == true)
        #expect(rows[1]["confidence"] == "0.95")
        #expect(rows[1]["exits_per_second"] == "1000")
        #expect(rows[1]["mean_exit_ns"] == "1000")
        #expect(rows[1]["exits_reason"] == "")
    }

    @Test func whatWasNotMeasuredIsEmptyWithAReason() throws {
        let rows = try parse(CSVReports.summary(SampleReport.full()))
        #expect(rows[0]["exits_per_second"] == "")
        #expect(rows[0]["exits_reason"] == "a native program has no VM exits")
        #expect(rows[2]["time"] == "")
        #expect(rows[2]["time_reason"] == "no CPUID faulting")
        #expect(rows[5]["time_reason"] == "the guest kernel panicked: page fault at 0x10")
        #expect(rows[5]["trials_failed"] == "1")
        #expect(rows[6]["time_reason"] == "no trial was run")
    }

    @Test func samplesHaveALineForEveryRound() throws {
        let rows = try parse(CSVReports.samples(SampleReport.full()))
        // Cells: 2 × 9 rounds, 4 whole runs or failures of sort, 1 of gzip; pair: 2 alone, 2 + 2 × 2 on the same CPU.
        #expect(rows.count == 18 + 4 + 1 + 2 + 6)
        #expect(rows[4]["round"] == "1" && rows[4]["trial"] == "1" && rows[4]["nanoseconds"] == "110")
        let timeout = try #require(rows.first { $0["status"] == "timeout" })
        #expect(timeout["nanoseconds"] == "")
        #expect(timeout["reason"] == "no end after 30 s: raise \"timeLimit\"")
        let aggressors = rows.filter { $0["role"] == "aggressor" }
        #expect(aggressors.map { $0["run"] } == ["0", "1", "0", "1"])
        #expect(aggressors.allSatisfy { $0["workload"] == "spin" && $0["placement"] == "same-cpu" })
        #expect(rows.filter { $0["role"] == "victim" }.count == 4)
    }

    @Test func exitsHaveALineForEveryReason() throws {
        let rows = try parse(CSVReports.exits(SampleReport.full()))
        let kvm = rows.filter { $0["backend"] == "kvm" && $0["exit_reason"] == "port-io" }
        #expect(kvm.count == 3)
        #expect(kvm[0]["count"] == "900" && kvm[0]["mean_cycles"] == "2000" && kvm[0]["mean_ns"] == "1000")
        let native = rows.filter { $0["backend"] == "native" && $0["workload"] == "null-syscall" }
        #expect(native.count == 3)
        #expect(native[0]["count"] == "" && native[0]["unavailable"] == "a native program has no VM exits")
    }

    @Test func fieldsAreQuotedWhereTheyMustBe() throws {
        var table = CSVTable(columns: ["a", "b"])
        table.append(["x,y", "say \"hi\"\r\nthere"])
        table.append([nil, "plain"])
        #expect(table.text == "a,b\r\n\"x,y\",\"say \"\"hi\"\"\r\nthere\"\r\n,plain\r\n")
        #expect(csv(1e-7) == "1e-07" && csv(3.0) == "3" && csv(.nan) == nil && csv(0.1) == "0.1")
    }

    @Test(.enabled(if: SchemaChecker.isAvailable, "python3-jsonschema is not installed"))
    func reportsFitTheSchema() throws {
        var complete = SampleReport.empty()
        complete.complete = true
        complete.finished = complete.started
        let texts = try [SampleReport.full(), complete].map {
            String(decoding: try ReportFile.encode($0), as: UTF8.self)
        }
        #expect(try SchemaChecker.problems(schema: "report.schema.json", documents: texts) == [:])
        // And the schema is one that can say no.
        let wrong = [
            texts[0].replacing("\"schemaVersion\" : 2", with: "\"schemaVersion\" : 3"),
            texts[0].replacing("\"incompleteReason\" : \"interrupted\",", with: ""),
            texts[0].replacing("\"outcome\" : \"exited\"", with: "\"outcome\" : \"gone\""),
            texts[0].replacing("\"value\" : null", with: "\"value\" : 0"),
        ]
        #expect(
            try SchemaChecker.problems(schema: "report.schema.json", documents: wrong).keys.sorted() == [0, 1, 2, 3])
    }

    @Test func aFolderGetsAllFilesWhole() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "vbench-report-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let report = SampleReport.full()
        let paths = try ReportFolder.write(report, to: folder.path)
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() == [
                "exits.csv", "report.json", "samples.csv", "summary.csv",
            ])
        #expect(paths.last == folder.path + "/report.json")
        #expect(try ReportFile.read(folder.path + "/report.json") == report)
        let error = #expect(throws: ReportError.self) { try ReportFolder.write(report, to: folder.path + "/absent") }
        #expect(error?.description.contains("the folder does not exist") == true)
    }
}
