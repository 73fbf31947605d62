import Backends
import CLinux
import FoundationEssentials
import Glibc
import Results

/// How to start a child: which executable, with what.
public struct ChildLauncher: Sendable {
    public var executable: String
    public var arguments: [String]

    public init(executable: String, arguments: [String]) {
        self.executable = executable
        self.arguments = arguments
    }

    /// This very program, as `vbench trial-child`.
    public static let trialChild = ChildLauncher(executable: "/proc/self/exe", arguments: [TrialChild.subcommand])
}

/// One trial's child process, seen from the lab: its events, its last words, its end.
///
/// Whatever the child does (crash, hang, garbage, death from outside), this ends with a `TrialResult`. Killed with all it
/// started when its owner lets go of it.
final class ChildProcess {
    let pid: pid_t
    /// Set once the trial is over.
    private(set) var result: TrialResult?
    private(set) var programHasStarted = false
    private(set) var kernelLog: [String] = []
    let hardDeadline: Double

    private let order: TrialOrder
    private let events: Descriptor
    private let errors: Descriptor?
    private let ending: Descriptor
    private let slot: Int32
    /// The child's TMPDIR, removed after it whatever happened.
    private let scratch: String
    private var frames = FrameReader()
    private var reported: TrialResult?
    private var garbage: FrameReader.Garbage?
    private var lastWords: [UInt8] = []
    private var overdue = false
    private var reaped = false

    /// Time a child has beyond its trial's own limit to notice it and to report.
    static let graceSeconds = 10.0
    private static let lastWordsLimit = 8 << 10

    /// Starts a child and hands it its order.
    ///
    /// - Parameters:
    ///   - slot: 0…3, distinct among living children: whom a second Ctrl-C kills.
    init(_ order: TrialOrder, launcher: ChildLauncher, slot: Int, graceSeconds: Double = graceSeconds)
        throws(SystemError)
    {
        self.order = order
        self.slot = Int32(slot)
        scratch = try TemporaryFolder.make("vbench-trial")
        let input = try Pipe()
        let eventPipe = try Pipe()
        let errorPipe = order.passesOutput ? nil : try Pipe()
        let sink = try Descriptor(opening: "/dev/null", flags: O_WRONLY)
        defer { sink.close() }
        let environment = ChildEnvironment.inherited.merging(["TMPDIR": scratch]) { _, new in new }
        do {
            pid = try Self.spawn(
                launcher, environment: environment,
                descriptors: [
                    (input.reading.number, 0), (order.passesOutput ? 1 : sink.number, 1),
                    (errorPipe?.writing.number ?? 2, 2), (eventPipe.writing.number, ChildProtocol.eventDescriptor),
                ])
        } catch {
            try? FileManager.default.removeItem(atPath: scratch)
            throw error
        }
        clinux_set_doomed_group(self.slot, pid)
        for pipe in [eventPipe, errorPipe].compactMap({ $0 }) {
            pipe.writing.close()
            pipe.reading.setNonBlocking()
        }
        input.reading.close()
        events = eventPipe.reading
        errors = errorPipe?.reading
        hardDeadline = MonotonicClock.now() + (order.specification.timeLimitSeconds + graceSeconds) * 1e9
        let ended = clinux_pidfd_open(pid)
        ending = Descriptor(owning: ended)
        guard ended >= 0 else {
            let error = SystemError("pidfd_open")
            end()
            throw error
        }
        // The order fits the pipe (64 KiB) or the child reads while we write; a child that died before is found later.
        try? input.writing.write(Array(JSONEncoder().encode(order)))
        input.writing.close()
    }

    deinit { end() }

    /// Descriptors to wait for.
    var watched: [Int32] {
        result == nil ? [events.number, errors?.number ?? -1, ending.number].filter { $0 >= 0 } : []
    }

    /// Takes what has come and, if the child has ended, draws the conclusion.
    func advance() {
        guard result == nil else { return }
        var poll = pollfd(fd: ending.number, events: Int16(POLLIN), revents: 0)
        // Look for the end first: what a child wrote before it is then certainly here.
        let isOver = Glibc.poll(&poll, 1, 0) > 0
        takeEvents()
        takeErrors()
        if garbage != nil && !isOver { kill(-pid, SIGKILL) }
        if isOver {
            conclude(reap())
        } else if MonotonicClock.now() > hardDeadline && !overdue {
            overdue = true
            kill(-pid, SIGKILL)
        }
    }

    /// Ends the child and everything it started, now.
    func cancel() {
        guard result == nil else { return }
        end()
        result = .failure(.cancelled, "cancelled")
    }

    // MARK: Reading

    private func takeEvents() {
        while garbage == nil, events.number >= 0, let bytes = try? events.read(upTo: 1 << 16) {
            // A closed pipe would stay readable and keep the lab busy.
            if bytes.isEmpty { return events.close() }
            do {
                for event in try frames.events(adding: bytes) {
                    switch event {
                    case .programStarted: programHasStarted = true
                    case .kernelLogged(let line): kernelLog.append(line)
                    case .finished(let result): reported = result
                    }
                }
            } catch { garbage = error }
        }
        if kernelLog.count > 1000 { kernelLog.removeFirst(kernelLog.count - 1000) }
    }

    private func takeErrors() {
        while let errors, errors.number >= 0, let bytes = try? errors.read(upTo: 1 << 16) {
            if bytes.isEmpty { return errors.close() }
            lastWords = (lastWords + bytes).suffix(Self.lastWordsLimit)
        }
    }

    // MARK: The end

    private func reap() -> Int32 {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        reaped = true
        cleanUp()
        return status
    }

    private func end() {
        guard !reaped else { return }
        kill(-pid, SIGKILL)
        _ = reap()
    }

    private func cleanUp() {
        clinux_set_doomed_group(slot, 0)
        ProcessSession.killAll(session: pid)
        try? FileManager.default.removeItem(atPath: scratch)
    }

    private func conclude(_ status: Int32) {
        let signal = status & 0x7F
        if overdue {
            result = .failure(
                .timeout,
                "no result within the time limit of \(order.specification.timeLimitSeconds) s and its grace; "
                    + "the child process was killed", evidence)
        } else if let garbage {
            result = .failure(.childDied, "the child process sent garbage: \(garbage.detail)", evidence)
        } else if let reported, signal == 0 {
            result = reported
        } else if signal != 0 {
            result = .failure(.childDied, "the child process was killed by \(SignalName.of(signal))", evidence)
        } else {
            let inside = frames.isInsideFrame ? ", its report cut short" : ""
            result = .failure(
                .childDied, "the child process ended with code \(status >> 8 & 0xFF) without a result\(inside)",
                evidence)
        }
    }

    /// The last lines of what the child said.
    private var evidence: [String] {
        String(decoding: lastWords, as: UTF8.self).split(separator: "\n").suffix(20).map(String.init)
            + kernelLog.suffix(10).map { "guest kernel: \($0)" }
    }

    // MARK: Starting

    /// Starts the child in a session of its own, with default signal handling and exactly these descriptors.
    private static func spawn(
        _ launcher: ChildLauncher, environment: [String: String], descriptors: [(ours: Int32, childs: Int32)]
    ) throws(SystemError) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        // Move everything out of the way first, so that no target overwrites a source.
        let first: Int32 = 100
        for (index, pair) in descriptors.enumerated() {
            posix_spawn_file_actions_adddup2(&actions, pair.ours, first + Int32(index))
        }
        for (index, pair) in descriptors.enumerated() {
            posix_spawn_file_actions_adddup2(&actions, first + Int32(index), pair.childs)
            posix_spawn_file_actions_addclose(&actions, first + Int32(index))
        }

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        // POSIX_SPAWN_SETSID of glibc's spawn.h, which Swift does not see.
        let newSession: Int16 = 0x80
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK) | newSession)

        let argv: [UnsafeMutablePointer<CChar>?] = (["vbench"] + launcher.arguments).map { strdup($0) } + [nil]
        let envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { (argv + envp).forEach { free($0) } }
        var pid: pid_t = 0
        let status = posix_spawn(&pid, launcher.executable, &actions, &attributes, argv, envp)
        guard status == 0 else { throw SystemError("start the child process \(launcher.executable)", code: status) }
        return pid
    }
}

extension TrialResult {
    static func failure(
        _ kind: TrialFailure.Kind, _ message: String, _ diagnosis: [String] = []
    ) -> TrialResult {
        TrialResult(status: .failed(TrialFailure(kind: kind, message: message, diagnosis: diagnosis)))
    }
}
