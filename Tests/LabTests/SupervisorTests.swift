import Backends
import Foundation
import Results
import Testing

@testable import Lab

/// A shell script stands for the child process: whatever it does, one trial is lost and nothing else.
@Suite("Supervision", .serialized)
struct SupervisorTests {
    /// Runs a trial whose child is `script`. Descriptor 3 takes events.
    private func run(_ script: String, timeLimit: Double = 20, grace: Double = 10) -> TrialResult {
        var specification = TrialSpecification(arguments: ["/program"])
        specification.timeLimitSeconds = timeLimit
        let supervisor = Supervisor(
            launcher: ChildLauncher(executable: "/bin/sh", arguments: ["-c", script]), graceSeconds: grace)
        return supervisor.run(.native, specification)
    }

    private func failure(_ result: TrialResult) throws -> TrialFailure {
        guard case .failed(let failure) = result.status else {
            Issue.record("the trial did not fail: \(result.status)")
            throw CancellationError()
        }
        return failure
    }

    @Test("A result is passed on as it came")
    func result() throws {
        var expected = TrialResult(status: .exited(code: 3))
        expected.counters = ["x": 1.5]
        let frame = try ChildProtocol.frame(.finished(expected))
        let octal = frame.map { "\\0" + String($0, radix: 8) }.joined()
        #expect(run("cat >/dev/null; printf '%b' '\(octal)' >&3") == expected)
    }

    @Test("A crash is told with its signal and the child's last words")
    func crash() throws {
        let failure = try failure(run("echo 'about to go' >&2; kill -SEGV $$"))
        #expect(failure.kind == .childDied)
        #expect(failure.message.contains("SIGSEGV (11)"))
        #expect(failure.diagnosis.contains("about to go"))
    }

    @Test("An end without a result is told with its code")
    func noResult() throws {
        let failure = try failure(run("exit 7"))
        #expect(failure.kind == .childDied)
        #expect(failure.message.contains("code 7"))
    }

    @Test("Garbage ends the child, which would have gone on for long")
    func garbage() throws {
        let start = ContinuousClock.now
        let failure = try failure(run("echo 'no frame, just text' >&3; exec sleep 1000"))
        #expect(failure.kind == .childDied)
        #expect(failure.message.contains("garbage"))
        #expect(ContinuousClock.now - start < .seconds(10))
    }

    @Test("A frame cut short by the child's end is no result")
    func cutShort() throws {
        let failure = try failure(run(#"printf '\020\000\000\000{' >&3"#))
        #expect(failure.kind == .childDied)
        #expect(failure.message.contains("cut short"))
    }

    @Test("A child that hangs is killed at its limit, with everything it started")
    func hang() throws {
        let note = FileManager.default.temporaryDirectory.appending(path: "vbench-test-\(getpid())-hang").path
        defer { try? FileManager.default.removeItem(atPath: note) }
        let failure = try failure(
            run("sleep 1000 & echo $! >\(note); wait", timeLimit: 0.3, grace: 0.2))
        #expect(failure.kind == .timeout)
        let text = try String(contentsOfFile: note, encoding: .utf8)
        let grandchild = try #require(pid_t(text.trimmingCharacters(in: .whitespacesAndNewlines)))
        #expect(kill(grandchild, 0) == -1 && errno == ESRCH)
    }

    @Test("A child killed from outside costs its trial")
    func killedFromOutside() throws {
        let note = FileManager.default.temporaryDirectory.appending(path: "vbench-test-\(getpid())-kill").path
        defer { try? FileManager.default.removeItem(atPath: note) }
        // A thread of its own: this one waits, and the test's pool may have no other.
        Thread.detachNewThread {
            while !FileManager.default.fileExists(atPath: note) { usleep(20_000) }
            let text = (try? String(contentsOfFile: note, encoding: .utf8)) ?? ""
            if let pid = pid_t(text.trimmingCharacters(in: .whitespacesAndNewlines)) { kill(pid, SIGKILL) }
        }
        let failure = try failure(run("echo $$ >\(note).tmp; mv \(note).tmp \(note); exec sleep 1000"))
        #expect(failure.kind == .childDied)
        #expect(failure.message.contains("SIGKILL (9)"))
    }

    @Test("A child that closes its event descriptor and lives on is waited for without spinning")
    func closedEvents() throws {
        // CPU time of this thread, which does the waiting: other tests run beside it.
        func used() -> Double {
            var time = timespec()
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
            return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
        }
        let before = used()
        let failure = try failure(run("exec 3>&-; exec 2>&-; sleep 0.7"))
        #expect(failure.kind == .childDied)
        #expect(used() - before < 0.4)
    }

    @Test("An executable that cannot be started is an internal error, not a crash")
    func noExecutable() throws {
        let supervisor = Supervisor(launcher: ChildLauncher(executable: "/nonexistent/vbench", arguments: []))
        let failure = try failure(supervisor.run(.native, TrialSpecification(arguments: ["/program"])))
        #expect(failure.kind == .internalError)
        #expect(failure.message.contains("/nonexistent/vbench"))
    }
}
