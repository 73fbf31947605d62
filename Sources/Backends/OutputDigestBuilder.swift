import CMd
import Results

/// Digests an output stream as it comes: length, SHA-256 and the first 4 KiB, in constant memory.
public struct OutputDigestBuilder {
    /// Bytes of the beginning that are kept.
    public static let headBytes = 4096

    private var context = SHA2_CTX()
    private var bytes: UInt64 = 0
    private var head: [UInt8] = []

    public init() { SHA256Init(&context) }

    /// Appends to the stream. The bytes are not kept beyond the call, the head apart.
    public mutating func append(_ buffer: UnsafeRawBufferPointer) {
        guard let start = buffer.baseAddress, !buffer.isEmpty else { return }
        SHA256Update(&context, start, buffer.count)
        bytes += UInt64(buffer.count)
        let missing = Self.headBytes - head.count
        if missing > 0 { head.append(contentsOf: buffer.prefix(missing)) }
    }

    /// The digest of everything appended so far; the stream may go on.
    public func digest() -> OutputDigest {
        var end = context
        var hash = [UInt8](repeating: 0, count: Int(SHA256_DIGEST_LENGTH))
        SHA256Final(&hash, &end)
        var result = OutputDigest()
        result.bytes = bytes
        result.sha256 = hash.reduce(into: "") { text, byte in
            text += byte < 16 ? "0" : ""
            text += String(byte, radix: 16)
        }
        result.head = String(decoding: head, as: UTF8.self)
        return result
    }
}
