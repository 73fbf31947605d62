import Backends
import FoundationEssentials
import Glibc

/// The folder that a run writes to. Two runs never share one.
public final class OutputFolder {
    public let path: String
    /// Whether this run made the folder.
    private let isNew: Bool
    /// Locked for the life of the run, so that a second run cannot take the same empty folder.
    private let lock: Descriptor
    private var wroteSomething = false

    /// Why a folder cannot be used.
    public struct Failure: Error, CustomStringConvertible {
        public var description: String
    }

    /// Takes `requested`, which must be new or empty, or makes a new folder of its own in `Results/runs`; makes sure
    /// that files can be written there before anything is run.
    ///
    /// - Parameters:
    ///   - suite: the suite's name, part of a new folder's name.
    ///   - time: start of the run, part of a new folder's name.
    public init(requested: String?, suite: String, time: Date = Date()) throws(Failure) {
        do {
            if let requested {
                path = requested
                isNew = try Self.make(requested)
                if !isNew, try !Self.isEmpty(requested) {
                    throw Failure(
                        description: "output folder \(requested) is not empty: name a new one, or remove what is in it")
                }
            } else {
                path = try Self.makeUnique(suite: suite, time: time)
                isNew = true
            }
            lock = try Descriptor(opening: path, flags: O_RDONLY | O_DIRECTORY)
            guard flock(lock.number, LOCK_EX | LOCK_NB) == 0 else {
                throw Failure(description: "output folder \(path) is in use by another run")
            }
            try Self.probe(path)
        } catch let error as Failure {
            throw error
        } catch {
            throw Failure(description: "cannot write to the output folder: \(error)")
        }
    }

    /// Removes the folder again if this run made it and nothing was written.
    deinit { if isNew && !wroteSomething { rmdir(path) } }

    /// Lets `body` write the results into this folder.
    ///
    /// When that fails (a full disk, the folder removed underneath), `body` is called again with a temporary folder, so
    /// that what was measured is not lost.
    ///
    /// - Throws: `WriteFailure`, which says where the results are.
    public func save(_ body: (_ folder: String) throws -> Void) throws(WriteFailure) {
        wroteSomething = true
        do { try Interrupts.holding { try body(path) } } catch {
            throw WriteFailure(error: "\(error)", rescued: Self.rescue(body))
        }
    }

    /// Results could not be written where they belong.
    public struct WriteFailure: Error, CustomStringConvertible {
        public var error: String
        /// Folder that has all of them instead, or nil.
        public var rescued: String?

        public var description: String {
            let kept = rescued.map { "; the results were written to \($0) instead" } ?? "; the results are lost"
            return error + kept
        }
    }

    private static func rescue(_ body: (String) throws -> Void) -> String? {
        for parent in [TemporaryFolder.parent, "/dev/shm", "/var/tmp"] {
            guard let folder = try? TemporaryFolder.make("vbench-results", in: parent) else { continue }
            if (try? body(folder)) != nil { return folder }
            try? FileManager.default.removeItem(atPath: folder)
        }
        return nil
    }

    // MARK: Making

    /// True when the folder was made, false when it was there.
    private static func make(_ path: String) throws -> Bool {
        if mkdir(path, 0o777) == 0 { return true }
        if errno == EEXIST { return false }
        guard errno == ENOENT else { throw SystemError("create folder \(path)") }
        try FileManager.default.createDirectory(
            atPath: parent(of: path), withIntermediateDirectories: true, attributes: nil)
        guard mkdir(path, 0o777) == 0 else { throw SystemError("create folder \(path)") }
        return true
    }

    private static func makeUnique(suite: String, time: Date) throws -> String {
        for _ in 0..<100 {
            let random = String(UInt32.random(in: 0..<(1 << 20)), radix: 32)
            let path = "Results/runs/\(stamp(time))-\(suite)-\(random)"
            if try make(path) { return path }
        }
        throw Failure(description: "cannot find a free name in Results/runs")
    }

    /// `20261122T233820Z`.
    private static func stamp(_ time: Date) -> String {
        var seconds = time_t(time.timeIntervalSince1970)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func pad(_ number: Int32, _ width: Int = 2) -> String {
            let digits = "\(number)"
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        return pad(parts.tm_year + 1900, 4) + pad(parts.tm_mon + 1) + pad(parts.tm_mday) + "T"
            + pad(parts.tm_hour) + pad(parts.tm_min) + pad(parts.tm_sec) + "Z"
    }

    private static func isEmpty(_ path: String) throws -> Bool {
        try FileManager.default.contentsOfDirectory(atPath: path).isEmpty
    }

    private static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// Room for the smallest of reports, so that a full disk shows now and not after the run.
    private static func probe(_ path: String) throws(SystemError) {
        let name = "\(path)/.probe"
        defer { unlink(name) }
        let file = try Descriptor(opening: name, flags: O_WRONLY | O_CREAT | O_EXCL)
        do { try file.write([UInt8](repeating: 0x20, count: 64 << 10)) } catch {
            throw SystemError("write to \(path)", code: error.code)
        }
    }
}
