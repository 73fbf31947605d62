import LZ4Library
import Support

typealias Program = Compression<LZ4>

/// LZ4's fast block format; the level is its acceleration.
struct LZ4: Codec {
    static var name: StaticString { "lz4" }
    static var summary: StaticString { "LZ4 (liblz4): compression of a corpus, and back" }
    static var levelHelp: StaticString {
        "  --bytes B       length of the corpus (default 1M)\n  --level L       acceleration, 1 to 64 (default 1)\n"
    }
    static var levels: ClosedRange<UInt64> { 1...64 }
    static var defaultLevel: UInt64 { 1 }

    private let acceleration: Int32

    init(level: Int32) { acceleration = level }

    static func bound(_ bytes: Int) -> Int { Int(LZ4_compressBound(Int32(bytes))) }

    func pack(_ source: UnsafePointer<UInt8>, _ bytes: Int, _ target: UnsafeMutablePointer<UInt8>, _ room: Int) -> Int?
    {
        let done = source.withMemoryRebound(to: CChar.self, capacity: bytes) { source in
            target.withMemoryRebound(to: CChar.self, capacity: room) { target in
                LZ4_compress_fast(source, target, Int32(bytes), Int32(room), acceleration)
            }
        }
        return done > 0 ? Int(done) : nil
    }

    func unpack(_ source: UnsafePointer<UInt8>, _ bytes: Int, _ target: UnsafeMutablePointer<UInt8>, _ room: Int)
        -> Int?
    {
        let done = source.withMemoryRebound(to: CChar.self, capacity: bytes) { source in
            target.withMemoryRebound(to: CChar.self, capacity: room) { target in
                LZ4_decompress_safe(source, target, Int32(bytes), Int32(room))
            }
        }
        return done >= 0 ? Int(done) : nil
    }
}
