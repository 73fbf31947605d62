import Support

/// A compression library, for `Compression`.
protocol Codec {
    static var name: StaticString { get }
    static var summary: StaticString { get }
    /// Help on the option `--level`, a line with its end, and the levels it takes.
    static var levelHelp: StaticString { get }
    static var levels: ClosedRange<UInt64> { get }
    static var defaultLevel: UInt64 { get }

    init(level: Int32)
    /// Room that any `bytes` need when compressed.
    static func bound(_ bytes: Int) -> Int
    /// - Returns: Bytes written to `target`, or nil when the library refused.
    func pack(_ source: UnsafePointer<UInt8>, _ bytes: Int, _ target: UnsafeMutablePointer<UInt8>, _ room: Int) -> Int?
    /// - Returns: Bytes written to `target`, or nil when the library refused.
    func unpack(_ source: UnsafePointer<UInt8>, _ bytes: Int, _ target: UnsafeMutablePointer<UInt8>, _ room: Int)
        -> Int?
}

/// A corpus through a compression library: phase `compress`, then phase `decompress`.
struct Compression<Library: Codec>: Workload {
    static var name: StaticString { Library.name }
    static var summary: StaticString { Library.summary }
    static var operation: StaticString { "byte of the corpus" }
    static var options: StaticString { Library.levelHelp }

    private let library: Library
    private let bytes: Int
    private let text: UnsafeMutablePointer<UInt8>
    private let packed: UnsafeMutablePointer<UInt8>
    private let unpacked: UnsafeMutablePointer<UInt8>
    private let room: Int
    private let textDigest: UInt64
    /// Digest of what the first round made: the same in all others.
    private let packedDigest: UInt64
    private var packedBytes: Int
    private var unpackedBytes = 0

    init(_ arguments: inout Arguments) {
        bytes = Int(arguments.number("--bytes", default: 1 << 20, in: 1024...(1 << 28)))
        library = Library(
            level: Int32(arguments.number("--level", default: Library.defaultLevel, in: Library.levels)))
        room = Library.bound(bytes)
        text = .allocate(capacity: bytes)
        packed = .allocate(capacity: room)
        unpacked = .allocate(capacity: bytes)
        Corpus.fill(text, bytes)
        textDigest = Corpus.digest(text, bytes)
        packedBytes = library.pack(text, bytes, packed, room) ?? 0
        packedDigest = Corpus.digest(packed, packedBytes)
    }

    var phases: Int { 2 }

    func appendName(ofPhase phase: Int, to text: inout Text) { text.append(phase == 0 ? "compress" : "decompress") }

    mutating func prepare(phase: Int) {
        if phase == 0 { packed.update(repeating: 0, count: room) } else { unpacked.update(repeating: 0, count: bytes) }
    }

    mutating func run(phase: Int) -> UInt64 {
        if phase == 0 {
            packedBytes = library.pack(text, bytes, packed, room) ?? 0
        } else {
            unpackedBytes = library.unpack(packed, packedBytes, unpacked, bytes) ?? 0
        }
        return UInt64(bytes)
    }

    /// Each round's compressed bytes are the first one's, out of them comes the text, and they are less than it.
    mutating func outcome(phase: Int) -> Outcome {
        if phase == 0 { unpackedBytes = library.unpack(packed, packedBytes, unpacked, bytes) ?? 0 }
        var got = Checksum()
        var expected = Checksum()
        got.mix(Corpus.digest(unpacked, unpackedBytes))
        expected.mix(textDigest)
        got.mix(Corpus.digest(packed, packedBytes))
        expected.mix(packedDigest)
        got.mix(packedBytes < bytes / 4 * 3 ? 1 : 0)
        expected.mix(1)
        return Outcome(got: got.value, expected: expected.value)
    }

    func appendValues(to records: inout Records) { records.appendValue("packedBytes", UInt64(packedBytes)) }
}
