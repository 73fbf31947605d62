import Backends
import Testing

@Suite("Output digests")
struct OutputDigestTests {
    private func digest(of chunks: [String]) -> OutputDigestBuilder {
        var builder = OutputDigestBuilder()
        for var chunk in chunks { chunk.withUTF8 { builder.append(UnsafeRawBufferPointer($0)) } }
        return builder
    }

    // FIPS 180-2, appendix B.1 and B.2, and the digest of nothing.
    @Test(
        "SHA-256 of known messages",
        arguments: [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
            ),
        ])
    func known(message: String, expected: String) {
        #expect(digest(of: [message]).digest().sha256 == expected)
    }

    @Test("pieces give the same as the whole, and a digest does not end the stream")
    func pieces() {
        var builder = digest(of: ["a"])
        let early = builder.digest()
        var rest = "bc"
        rest.withUTF8 { builder.append(UnsafeRawBufferPointer($0)) }
        #expect(builder.digest() == digest(of: ["abc"]).digest())
        #expect(early.bytes == 1)
    }

    @Test("only the first 4 KiB are kept, broken UTF-8 replaced")
    func head() {
        var builder = OutputDigestBuilder()
        [UInt8](repeating: 0xFF, count: 3).withUnsafeBytes { builder.append($0) }
        [UInt8](repeating: UInt8(ascii: "x"), count: 10_000).withUnsafeBytes { builder.append($0) }
        let digest = builder.digest()
        #expect(digest.bytes == 10_003)
        #expect(digest.head == "\u{FFFD}\u{FFFD}\u{FFFD}" + String(repeating: "x", count: 4093))
    }
}
