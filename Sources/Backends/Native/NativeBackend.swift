import CLinux
import Glibc
import GuestInterface
import Host
import Results

/// The program as an ordinary Linux process: the base line of every comparison.
///
/// It gets the same arguments, environment and file tree as in a VM, is pinned to the same CPU, and is timed from its
/// first instruction (a traced exec stops there) to its end.
public enum NativeBackend: Backend {
    public static let name = BackendName.native

    public static func availability() -> Availability {
        .available(detail: "Linux process; \(NativeRoot.best(for: "/").description)")
    }

    public static func problem(with options: [String: String]) -> String? {
        do throws(TrialFailure) { _ = try EventCounting(options: options) } catch { return error.message }
        return nil
    }

    public static func run(_ specification: TrialSpecification, observer: any TrialObserver) -> TrialResult {
        do {
            return try NativeTrial(specification, observer).run()
        } catch let failure as TrialFailure {
            return TrialResult(status: .failed(failure))
        } catch {
            return TrialResult(status: .failed(TrialFailure(kind: .internalError, message: "native: \(error)")))
        }
    }
}

extension TrialFailure: Error {}

/// One run of the native backend.
private struct NativeTrial {
    private let specification: TrialSpecification
    private let observer: any TrialObserver
    private let tree: ScratchTree
    private let mode: NativeRoot
    private let rewriter: PathRewriter
    private let program: String
    private let counting: EventCounting

    private static let recordsPath = "\(Job.recordsPath)"
    private static let standardInputPath = "\(Job.standardInputPath)"

    init(_ specification: TrialSpecification, _ observer: any TrialObserver) throws {
        guard let program = specification.arguments.first else {
            throw TrialFailure(kind: .invalid, message: "native: no program given")
        }
        guard let file = specification.program else {
            throw TrialFailure(kind: .invalid, message: "native: \(program) is not in the program's file tree")
        }
        do { _ = try ProgramFile(checking: file.hostPath) } catch {
            throw TrialFailure(kind: .invalid, message: "\(error)")
        }
        counting = try EventCounting(options: specification.options)
        self.specification = specification
        self.observer = observer
        self.program = program
        do {
            tree = try ScratchTree(
                files: specification.files, workingDirectory: specification.workingDirectory, program: file.guestPath)
        } catch {
            throw TrialFailure(kind: .invalid, message: "native: cannot lay out the program's files: \(error)")
        }
        try tree.createFile(Self.recordsPath)
        mode = NativeRoot.best(for: tree.root)
        var paths = [(guest: Self.recordsPath, host: tree.hostPath(Self.recordsPath))]
        for file in specification.files { paths.append((file.guestPath, tree.hostPath(file.guestPath))) }
        rewriter = PathRewriter(mode == .rewrittenPaths ? paths : [])
    }

    func run() throws -> TrialResult {
        let input = try Descriptor(
            opening: specification.files.contains { $0.guestPath == Self.standardInputPath }
                ? tree.hostPath(Self.standardInputPath) : "/dev/null", flags: O_RDONLY)
        defer { input.close() }
        let output = try Pipe()
        let error = try Pipe()
        let variable = "\(Job.recordsVariable)"
        let environment =
            specification.environment.filter { !$0.hasPrefix(variable + "=") } + ["\(variable)=\(Self.recordsPath)"]

        let start = MonotonicClock.now()
        var process: NativeProcess
        do {
            process = try NativeProcess(
                program: mode == .rewrittenPaths ? tree.hostPath(program) : program,
                arguments: specification.arguments.map(rewriter.rewrite),
                environment: environment.map(rewriter.rewrite), root: tree.root,
                workingDirectory: mode == .rewrittenPaths
                    ? tree.hostPath(specification.workingDirectory) : specification.workingDirectory,
                mode: mode, input: input.number, output: output.writing.number, error: error.writing.number,
                cpu: specification.cpu)
        } catch {
            throw TrialFailure(
                kind: error.stage == clinux_stage_exec ? .invalid : .internalError,
                message: "native: \(program): \(error)")
        }
        // Named here so that it lives until the child has its copy: the last use of a value may be its end.
        input.close()
        output.writing.close()
        error.writing.close()
        if let cpu = specification.cpu { Placement.leave(cpu: cpu) }
        let events = process.stoppedAtEntry ? counting.counters(of: process.pid) : nil
        observer.programStarted()
        events?.start()
        let programStart = MonotonicClock.now()
        process.release()

        var streams = ProgramOutput(observer: observer)
        let timedOut = try wait(
            for: process, output: output.reading, error: error.reading, start: start, streams: &streams)
        if timedOut { process.kill() }
        let (status, usage) = process.reap()
        let end = MonotonicClock.now()
        // Processes that the program left behind must not run into the next trial. Only in a trial's child, which leads
        // a session of its own, is everything in the session the program's.
        if getsid(0) == getpid() { ProcessSession.killAll(session: getpid(), childrenOf: getpid()) }

        var result = TrialResult(status: Self.status(status))
        if timedOut {
            result.status = .failed(
                TrialFailure(
                    kind: .timeout,
                    message: "\(program) did not end within its time limit of \(specification.timeLimitSeconds) s"))
        }
        result.programNanoseconds = end - programStart
        result.totalNanoseconds = end - start
        result.exitsUnavailable = "a native program has no VM exits"
        result.counters = ResourceUsage(usage).counters
        if let events {
            result.counters.merge(events.read()) { own, _ in own }
            result.countersUnavailable.merge(events.unavailable) { own, _ in own }
        } else {
            result.countersUnavailable["perf"] = counting.absence
        }
        if mode == .rewrittenPaths { result.counters["native.rewrittenPaths"] = 1 }
        if !process.stoppedAtEntry {
            result.countersUnavailable["native.entryStop"] =
                "tracing is forbidden here: program time includes the end of execve"
        }
        streams.finish(into: &result)
        try readRecords(into: &result)
        return result
    }

    /// Takes the records that the program left in its file.
    private func readRecords(into result: inout TrialResult) throws {
        let file = try Descriptor(opening: tree.hostPath(Self.recordsPath), flags: O_RDONLY | O_NOFOLLOW)
        var records = ProgramRecords(tscHertz: TimestampCounter.hertz)
        while let bytes = try file.read(upTo: 1 << 16), !bytes.isEmpty {
            bytes.withUnsafeBytes { records.append($0) }
        }
        records.finish(into: &result)
    }

    /// Waits for the end of the program and takes its output. True at the time limit.
    private func wait(
        for process: borrowing NativeProcess, output: Descriptor, error: Descriptor,
        start: Double, streams: inout ProgramOutput
    ) throws -> Bool {
        let ended = clinux_pidfd_open(process.pid)
        guard ended >= 0 else { throw SystemError("pidfd_open") }
        let end = Descriptor(owning: ended)
        defer { end.close() }
        output.setNonBlocking()
        error.setNonBlocking()
        let deadline = start + specification.timeLimitSeconds * 1e9
        var watched = [output.number, error.number, end.number].map {
            pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
        }
        while true {
            let rest = deadline - MonotonicClock.now()
            if rest <= 0 { return true }
            let ready = poll(&watched, nfds_t(watched.count), Int32(min(rest / 1e6 + 1, 60_000)))
            if ready < 0 && errno != EINTR { throw SystemError("poll") }
            let over = watched[2].revents != 0
            // The end of a stream leaves the set: the program may close it and go on.
            if try watched[0].revents != 0 && !streams.take(from: output, stream: 1) { watched[0].fd = -1 }
            if try watched[1].revents != 0 && !streams.take(from: error, stream: 2) { watched[1].fd = -1 }
            if over {
                _ = try streams.take(from: output, stream: 1)
                _ = try streams.take(from: error, stream: 2)
                return false
            }
        }
    }

    private static func status(_ status: Int32) -> TrialStatus {
        status & 0x7F == 0 ? .exited(code: status >> 8 & 0xFF) : .signaled(signal: status & 0x7F)
    }
}
