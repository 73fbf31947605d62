import Support
import ZstdLibrary

typealias Program = Compression<Zstandard>

/// Zstandard, with a context that is kept from round to round as programs do.
struct Zstandard: Codec {
    static var name: StaticString { "zstd" }
    static var summary: StaticString { "Zstandard (libzstd): compression of a corpus, and back" }
    static var levelHelp: StaticString {
        "  --bytes B       length of the corpus (default 1M)\n  --level L       1 to 19 (default 3)\n"
    }
    static var levels: ClosedRange<UInt64> { 1...19 }
    static var defaultLevel: UInt64 { 3 }

    private let level: Int32
    private let compressor: OpaquePointer
    private let decompressor: OpaquePointer

    init(level: Int32) {
        guard let compressor = ZSTD_createCCtx(), let decompressor = ZSTD_createDCtx() else {
            systemError("creating a context of libzstd", Int64(ENOMEM))
        }
        self.level = level
        self.compressor = compressor
        self.decompressor = decompressor
    }

    static func bound(_ bytes: Int) -> Int { ZSTD_compressBound(bytes) }

    func pack(_ source: UnsafePointer<UInt8>, _ bytes: Int, _ target: UnsafeMutablePointer<UInt8>, _ room: Int) -> Int?
    {
        let done = ZSTD_compressCCtx(compressor, target, room, source, bytes, level)
        return ZSTD_isError(done) == 0 ? done : nil
    }

    func unpack(_ source: UnsafePointer<UInt8>, _ bytes: Int, _ target: UnsafeMutablePointer<UInt8>, _ room: Int)
        -> Int?
    {
        let done = ZSTD_decompressDCtx(decompressor, target, room, source, bytes)
        return ZSTD_isError(done) == 0 ? done : nil
    }
}
