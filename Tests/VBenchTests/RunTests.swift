import Foundation
import Results
import Testing

@Suite("vbench run")
struct RunTests {
    private let scratch = Scratch()

    /// Native trials of a tenth of a second or so.
    private static let small = """
        {"name": "small", "backends": ["native"], "workloads": [
          {"name": "nulls", "program": "null-syscall", "arguments": ["--rounds", "3"], "trials": 2},
          {"name": "spin", "program": "spin", "arguments": ["--rounds", "3"], "trials": 2}]}
        """
    /// One trial that passes, then nothing that ends by itself.
    private static let endless = """
        {"name": "endless", "backends": ["native"], "workloads": [
          {"name": "spin", "program": "spin", "arguments": ["--forever"], "timeLimit": "600s", "trials": 5}]}
        """

    private func report(_ folder: String) throws -> RunReport { try ReportFile.read(folder + "/report.json") }

    @Test("A run writes all files and a summary, and ends with 0")
    func writes() throws {
        let suite = try scratch.write("s.json", Self.small)
        let outcome = try VBenchProcess.run(["run", suite, "--output", scratch.path + "/out"])
        #expect(outcome.code == 0, "\(outcome.errors)")
        #expect(outcome.output.contains("nulls"))
        let report = try report(scratch.path + "/out")
        #expect(report.complete)
        #expect(report.cells.map { $0.trials.count } == [2, 2])
        #expect(report.cells.flatMap(\.trials).allSatisfy { $0.result.samples.count == 3 })
        for file in ["samples.csv", "exits.csv", "summary.csv"] { #expect(scratch.exists("out/" + file)) }
        // Every trial has its own place in the order of execution.
        #expect(Set(report.cells.flatMap(\.trials).map(\.order)) == [0, 1, 2, 3])
    }

    @Test("A program that fails its check costs its trials: 1, and the rest is there")
    func failedTrials() throws {
        let suite = try scratch.write(
            "s.json",
            """
            {"name": "mixed", "backends": ["native"], "workloads": [
              {"name": "good", "program": "spin", "arguments": ["--rounds", "2"], "trials": 1},
              {"name": "bad", "program": "spin", "arguments": ["--no-such-option"], "trials": 1}]}
            """)
        let outcome = try VBenchProcess.run(["run", suite, "--output", scratch.path + "/out"])
        #expect(outcome.code == 1)
        let report = try report(scratch.path + "/out")
        #expect(report.cell(workload: "good", backend: "native")?.trials[0].result.status == .exited(code: 0))
        guard case .failed(let failure)? = report.cell(workload: "bad", backend: "native")?.trials[0].result.status
        else {
            Issue.record("a wrong exit code passed")
            return
        }
        #expect(failure.kind == .wrongResult)
    }

    @Test("A missing suite: 66; a broken or wrong one: 65 with every problem at once")
    func badSuites() throws {
        #expect(try VBenchProcess.run(["run", scratch.path + "/none.json"]).code == 66)
        let truncated = try scratch.write("truncated.json", String(Self.small.prefix(60)))
        #expect(try VBenchProcess.run(["run", truncated]).code == 65)
        let wrong = try scratch.write(
            "wrong.json", #"{"name": "x", "trails": 3, "workloads": [{"name": "a", "program": "no-such-program"}]}"#)
        let outcome = try VBenchProcess.run(["validate", wrong])
        #expect(outcome.code == 65)
        #expect(outcome.errors.contains("trails"))
        #expect(outcome.errors.contains("no-such-program"))
        #expect(try VBenchProcess.run(["validate", try scratch.write("good.json", Self.small)]).code == 0)
    }

    @Test("Options that a backend does not have are found before anything is run: 65")
    func badOptions() throws {
        let suite = try scratch.write(
            "options.json",
            """
            {"name": "x", "workloads": [{"name": "spin", "variants": [
              {"name": "a", "backends": ["software"], "options": {"userMode": "sideways"}},
              {"name": "b", "backends": ["kvm"], "options": {"codeCacheBytes": 1048576}},
              {"name": "c", "backends": ["software"], "options": {"userMode": "translate"}}]}]}
            """)
        let outcome = try VBenchProcess.run(["validate", suite])
        #expect(outcome.code == 65)
        #expect(outcome.errors.contains(":2:"))
        #expect(outcome.errors.contains("userMode=sideways"))
        #expect(outcome.errors.contains("no option codeCacheBytes"))
        #expect(outcome.errors.contains("2 problems"))
    }

    @Test("An output folder that cannot be used: 73, before anything is run")
    func badOutput() throws {
        let suite = try scratch.write("s.json", Self.endless)
        #expect(try VBenchProcess.run(["run", suite, "--output", "/dev/null/x"]).code == 73)
        #expect(try VBenchProcess.run(["run", suite, "--output", scratch.path]).code == 73)
        // The limit is below the 64 KiB that a run makes sure of.
        let limited = try VBenchProcess.shell("ulimit -f 8; exec \"$VBENCH\" run s.json --output out", in: scratch.path)
        #expect(limited.code == 73)
        #expect(!scratch.exists("out"))
    }

    @Test("A disk that fills up during the run: 74, and the results are kept elsewhere")
    func fullDisk() throws {
        // A file system of our own needs a mount namespace; without the right to one there is nothing to fill.
        guard try VBenchProcess.shell("unshare -Urm true").code == 0 else { return }
        let suite = try scratch.write(
            "s.json",
            """
            {"name": "full", "backends": ["native"], "workloads": [
              {"name": "spin", "program": "spin", "arguments": ["--rounds", "400"], "trials": 1}]}
            """)
        let outcome = try VBenchProcess.shell(
            """
            mkdir disk
            unshare -Urm sh -c '
                mount -t tmpfs -o size=256k none disk
                TMPDIR=$PWD "$VBENCH" run \(suite) --output disk/out & run=$!
                until [ -d disk/out ]; do sleep 0.01; done
                sleep 0.05
                head -c 1000000 /dev/zero >disk/filler 2>/dev/null
                wait $run; code=$?
                ls disk/out >left
                exit $code'
            """, in: scratch.path)
        #expect(outcome.code == 74, "\(outcome.errors)")
        #expect(outcome.errors.contains("disk is full"))
        let left = try scratch.text("left")
        #expect(!left.contains("report.json"))
        let rescued = try #require(
            FileManager.default.contentsOfDirectory(atPath: scratch.path).first { $0.hasPrefix("vbench-results") })
        #expect(try report(scratch.path + "/" + rescued).complete)
    }

    @Test("A required backend that is missing: 69, before anything is run")
    func required() throws {
        guard try VBenchProcess.shell("unshare -Urm true").code == 0 else { return }
        let suite = try scratch.write(
            "s.json", Self.endless.replacing(#"["native"]"#, with: #"["native", "kvm"]"#))
        let outcome = try VBenchProcess.shell(
            """
            exec unshare -Urm sh -c '
                if [ -e /dev/kvm ]; then mount --bind /dev/null /dev/kvm; fi
                exec "$VBENCH" run \(suite) --require kvm --output out'
            """, in: scratch.path)
        #expect(outcome.code == 69, "\(outcome.errors)")
        #expect(outcome.errors.contains("kvm"))
        #expect(!scratch.exists("out"))
    }

    @Test("Ctrl-C writes what there is: 130 for SIGINT, 143 for SIGTERM", arguments: [SIGINT, SIGTERM])
    func interrupt(signal: Int32) throws {
        let suite = try scratch.write("s.json", Self.endless)
        let run = try VBenchProcess.start(
            ["run", suite, "--output", scratch.path + "/out"], in: scratch.path, errors: scratch.path + "/err")
        try waitForChild(of: run)
        kill(run.processIdentifier, signal)
        run.waitUntilExit()
        #expect(run.terminationReason == .exit)
        #expect(run.terminationStatus == 128 + signal)
        let report = try report(scratch.path + "/out")
        #expect(!report.complete)
        #expect(report.incompleteReason?.contains("after 0 of 5 trials") == true)
        #expect(descendants(of: run).isEmpty)
    }

    @Test("A second Ctrl-C ends at once and leaves whole files or none")
    func secondInterrupt() throws {
        let suite = try scratch.write("s.json", Self.endless)
        let run = try VBenchProcess.start(
            ["run", suite, "--output", scratch.path + "/out"], in: scratch.path, errors: scratch.path + "/err")
        try waitForChild(of: run)
        for _ in 0..<20 {
            kill(run.processIdentifier, SIGINT)
            usleep(200)
        }
        run.waitUntilExit()
        #expect(run.terminationStatus == 130)
        let files = (try? FileManager.default.contentsOfDirectory(atPath: scratch.path + "/out")) ?? []
        #expect(files.allSatisfy { !$0.hasPrefix(".") })
        if files.contains("report.json") { #expect(throws: Never.self) { try report(scratch.path + "/out") } }
    }

    @Test("Two runs side by side write to folders of their own")
    func sideBySide() throws {
        let suite = try scratch.write("s.json", Self.small)
        let runs = try (0..<2).map {
            try VBenchProcess.start(["run", suite], in: scratch.path, errors: scratch.path + "/err\($0)")
        }
        for run in runs {
            run.waitUntilExit()
            #expect(run.terminationStatus == 0)
        }
        let folders = try FileManager.default.contentsOfDirectory(atPath: scratch.path + "/Results/runs")
        #expect(folders.count == 2)
        for folder in folders {
            #expect(try report(scratch.path + "/Results/runs/" + folder).complete)
            let files = try FileManager.default.contentsOfDirectory(atPath: scratch.path + "/Results/runs/" + folder)
            #expect(files.sorted() == ["exits.csv", "report.json", "samples.csv", "summary.csv"])
        }
    }

    @Test("A trial's process killed from outside costs that trial; the rest of the run goes on: 1")
    func childKilled() throws {
        let suite = try scratch.write(
            "s.json",
            """
            {"name": "killed", "backends": ["native"], "workloads": [
              {"name": "endless", "program": "spin", "arguments": ["--forever"], "timeLimit": "600s", "trials": 1},
              {"name": "nulls", "program": "null-syscall", "arguments": ["--rounds", "3"], "trials": 3}]}
            """)
        let run = try VBenchProcess.start(
            ["run", suite, "--output", scratch.path + "/out"], in: scratch.path, errors: scratch.path + "/err")
        // Trials come in any order: the one that stays is the endless one.
        var child: pid_t?
        let deadline = ContinuousClock.now + .seconds(20)
        while child == nil, run.isRunning, ContinuousClock.now < deadline {
            usleep(20_000)
            child = descendants(of: run).first { pid in
                let name = try? String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8)
                return name == "spin\n"
            }.flatMap(parent)
        }
        kill(try #require(child), SIGKILL)
        run.waitUntilExit()
        #expect(run.terminationStatus == 1)
        let report = try report(scratch.path + "/out")
        #expect(report.complete)
        let lost = report.cell(workload: "endless", backend: "native")?.trials.first?.result
        guard case .failed(let failure)? = lost?.status else {
            Issue.record("the killed trial did not fail: \(String(describing: lost?.status))")
            return
        }
        #expect(failure.kind == .childDied)
        #expect(failure.message.contains("SIGKILL"))
        let others = report.cell(workload: "nulls", backend: "native")?.trials ?? []
        #expect(others.map(\.result.status) == Array(repeating: .exited(code: 0), count: 3))
    }

    @Test("When the lab is killed, its children and their program die with it")
    func killed() throws {
        let suite = try scratch.write("s.json", Self.endless)
        let run = try VBenchProcess.start(
            ["run", suite, "--output", scratch.path + "/out"], in: scratch.path, errors: scratch.path + "/err")
        try waitForChild(of: run)
        let family = descendants(of: run)
        #expect(!family.isEmpty)
        kill(run.processIdentifier, SIGKILL)
        run.waitUntilExit()
        let deadline = ContinuousClock.now + .seconds(5)
        while family.contains(where: isRunning), ContinuousClock.now < deadline { usleep(20_000) }
        #expect(!family.contains(where: isRunning))
    }

    // MARK: Processes

    /// Waits until a trial's program is running.
    private func waitForChild(of run: Process) throws {
        let deadline = ContinuousClock.now + .seconds(20)
        while descendants(of: run).count < 2 {
            if ContinuousClock.now > deadline || !run.isRunning {
                Issue.record("no trial began: \(try scratch.text("err"))")
                return
            }
            usleep(20_000)
        }
    }

    private func descendants(of run: Process) -> [pid_t] {
        var parents: [pid_t: pid_t] = [:]
        for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] {
            guard let pid = pid_t(name), let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
                let end = stat.lastIndex(of: ")")
            else { continue }
            let fields = stat[stat.index(after: end)...].split(separator: " ")
            if fields[0] != "Z", let parent = pid_t(fields[1]) { parents[pid] = parent }
        }
        var family: Set<pid_t> = [run.processIdentifier]
        for _ in 0..<4 { for (pid, parent) in parents where family.contains(parent) { family.insert(pid) } }
        return family.filter { $0 != run.processIdentifier }
    }

    private func parent(of pid: pid_t) -> pid_t? {
        guard let status = try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8) else { return nil }
        let line = status.split(separator: "\n").first { $0.hasPrefix("PPid:") }
        return line.flatMap { pid_t($0.dropFirst(5).trimmingCharacters(in: .whitespaces)) }
    }

    private func isRunning(_ pid: pid_t) -> Bool {
        guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8) else { return false }
        return !stat.contains(") Z ")
    }
}
