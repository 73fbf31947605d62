import Backends
import FoundationEssentials
import Results

/// What a trial's child process is told, as JSON on its standard input.
public struct TrialOrder: Codable, Sendable {
    public var backend: BackendName
    public var specification: TrialSpecification
    /// The process that waits for the result; the child ends when that is no longer its parent.
    public var parent: Int32
    /// Frequency of the host's TSC.
    public var tscHertz: UInt64
    /// Pass what the program writes to the child's own standard output and standard error (`vbench exec`).
    public var passesOutput: Bool

    public init(
        backend: BackendName, specification: TrialSpecification, parent: Int32, tscHertz: UInt64,
        passesOutput: Bool = false
    ) {
        self.backend = backend
        self.specification = specification
        self.parent = parent
        self.tscHertz = tscHertz
        self.passesOutput = passesOutput
    }
}

/// What a trial's child process reports, one frame each, on descriptor `ChildProtocol.eventDescriptor`.
public enum ChildEvent: Codable, Sendable, Equatable {
    /// The program is at its first instruction.
    case programStarted
    /// The guest kernel logged a line.
    case kernelLogged(String)
    /// The trial is over. Nothing follows.
    case finished(TrialResult)
}

/// Frames: the length of the JSON text as a 32-bit little-endian number, then the text.
public enum ChildProtocol {
    public static let eventDescriptor: Int32 = 3
    /// No honest frame is longer: a result of a million samples stays below.
    static let longestFrame = 256 << 20

    static func frame(_ event: ChildEvent) throws -> [UInt8] {
        let text = try JSONEncoder().encode(event)
        return withUnsafeBytes(of: UInt32(text.count).littleEndian) { Array($0) } + text
    }
}

/// Cuts a stream of bytes into frames, trusting nothing about them.
struct FrameReader {
    /// What came was not a frame.
    struct Garbage: Error, Equatable {
        var detail: String
    }

    private var pending: [UInt8] = []

    /// Whether the stream ended inside a frame.
    var isInsideFrame: Bool { !pending.isEmpty }

    /// Takes more bytes and gives the events completed by them.
    mutating func events(adding bytes: [UInt8]) throws(Garbage) -> [ChildEvent] {
        pending += bytes
        var events: [ChildEvent] = []
        var start = 0
        while pending.count - start >= 4 {
            let length = (0..<4).reduce(0) { $0 | Int(pending[start + $1]) << (8 * $1) }
            guard length <= ChildProtocol.longestFrame else {
                throw Garbage(detail: "a frame of \(length) bytes")
            }
            guard pending.count - start - 4 >= length else { break }
            let text = Data(pending[(start + 4)..<(start + 4 + length)])
            do { events.append(try JSONDecoder().decode(ChildEvent.self, from: text)) } catch {
                throw Garbage(detail: "a frame of \(length) bytes that is no event")
            }
            start += 4 + length
        }
        pending.removeFirst(start)
        return events
    }
}
