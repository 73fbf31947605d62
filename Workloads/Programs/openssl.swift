import OpenSSLLibrary
import Support

typealias Program = OpenSSL

/// The cryptography that servers spend their time on, by OpenSSL's libcrypto, in the fastest code it has for the CPU.
struct OpenSSL: Workload {
    static var name: StaticString { "openssl" }
    static var summary: StaticString { "OpenSSL (libcrypto): AES-GCM, SHA-256, RSA-2048 and P-256" }
    static var operation: StaticString { "byte, or public-key operation" }
    static var options: StaticString {
        """
          --bytes B       length of the message encrypted and hashed (default 256K)
          --operations M  public-key operations a round (default 8)

        """
    }

    /// Public-key phases: everything from `rsa-sign` on.
    private static let phaseNames: [StaticString] = [
        "aes-256-gcm", "sha-256", "rsa-sign", "rsa-verify", "p256-sign", "p256-verify", "p256-agree",
    ]
    private static let tagBytes: Int32 = 16

    private let bytes: Int
    private let operations: Int
    private let message: UnsafeMutablePointer<UInt8>
    private let encrypted: UnsafeMutablePointer<UInt8>
    private let decrypted: UnsafeMutablePointer<UInt8>
    private let small: UnsafeMutablePointer<UInt8>
    private let signature: UnsafeMutablePointer<UInt8>
    private var signatureBytes = 0
    private let secret: UnsafeMutablePointer<UInt8>
    private let cipher: OpaquePointer
    private let digest: OpaquePointer
    private let rsa: OpaquePointer
    private let p256: OpaquePointer
    private let other: OpaquePointer
    private var verified = 0

    init(_ arguments: inout Arguments) {
        bytes = Int(arguments.number("--bytes", default: 256 << 10, in: 64...(1 << 28)))
        operations = Int(arguments.number("--operations", default: 8, in: 1...1_000_000))
        guard let cipher = EVP_CIPHER_CTX_new(), let digest = EVP_MD_CTX_new(), let rsa = vb_rsa_key(),
            let p256 = vb_p256_key(), let other = vb_p256_other_key()
        else { systemError("setting up libcrypto", Int64(ENOMEM)) }
        self.cipher = cipher
        self.digest = digest
        self.rsa = rsa
        self.p256 = p256
        self.other = other
        message = .allocate(capacity: bytes)
        encrypted = .allocate(capacity: bytes + Int(Self.tagBytes))
        decrypted = .allocate(capacity: bytes)
        small = .allocate(capacity: 64)
        signature = .allocate(capacity: 512)
        secret = .allocate(capacity: 64)
        Corpus.fill(message, bytes)
    }

    var phases: Int { Self.phaseNames.count }
    func appendName(ofPhase phase: Int, to text: inout Text) { text.append(Self.phaseNames[phase]) }

    mutating func prepare(phase: Int) {
        encrypted.update(repeating: 0, count: bytes + Int(Self.tagBytes))
        small.update(repeating: 0, count: 64)
        secret.update(repeating: 0, count: 64)
        switch phase {
        case 3: sign(rsa)
        case 5: sign(p256)
        default: signatureBytes = 0
        }
        verified = 0
    }

    mutating func run(phase: Int) -> UInt64 {
        switch phase {
        case 0:
            encrypt()
            return UInt64(bytes)
        case 1:
            hash(message, bytes)
            return UInt64(bytes)
        case 2: for _ in 0..<operations { sign(rsa) }
        case 3: for _ in 0..<operations { verify(rsa) }
        case 4: for _ in 0..<operations { sign(p256) }
        case 5: for _ in 0..<operations { verify(p256) }
        default: for _ in 0..<operations { agree(p256, other, secret) }
        }
        return UInt64(operations)
    }

    /// What was encrypted comes back and its tag is right; known digests are got; signatures verify with the public key, and those
    /// of a changed message do not; both sides agree on the same secret.
    mutating func outcome(phase: Int) -> Outcome {
        switch phase {
        case 0:
            let opened = decrypt()
            return Outcome(
                got: opened ? Corpus.digest(decrypted, bytes) : 0, expected: Corpus.digest(message, bytes))
        case 1: return hashOutcome()
        case 2, 4:
            verify(phase == 2 ? rsa : p256)
            var sum = Checksum()
            // An RSA signature of this kind (PKCS #1 v1.5) is always the same; one of ECDSA has a random number in it.
            if phase == 2 { sum.mix(Corpus.digest(signature, signatureBytes)) }
            let expected = sum.value
            sum.mix(0)
            // 2048 bits, or two numbers of 256 bits in DER.
            let fits = phase == 2 ? signatureBytes == 256 : signatureBytes <= 72
            return Outcome(got: verified == 1 && fits ? expected : sum.value, expected: expected)
        case 3, 5:
            let right = verified
            message[0] ^= 1
            verify(phase == 3 ? rsa : p256)
            message[0] ^= 1
            return Outcome(got: UInt64(right), expected: UInt64(verified == right ? operations : 0))
        default:
            agree(other, p256, small)
            return Outcome(got: Corpus.digest(secret, 32), expected: Corpus.digest(small, 32))
        }
    }

    // MARK: The timed work

    /// AES-256-GCM with a fixed key and nonce, the tag behind the text.
    private func encrypt() {
        var done: Int32 = 0
        var rest: Int32 = 0
        check(EVP_EncryptInit_ex(cipher, EVP_aes_256_gcm(), nil, message, message + 32))
        check(EVP_EncryptUpdate(cipher, encrypted, &done, message, Int32(bytes)))
        check(EVP_EncryptFinal_ex(cipher, encrypted + Int(done), &rest))
        check(EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, Self.tagBytes, encrypted + bytes))
    }

    private func hash(_ data: UnsafePointer<UInt8>, _ count: Int) {
        check(EVP_DigestInit_ex(digest, EVP_sha256(), nil))
        check(EVP_DigestUpdate(digest, data, count))
        check(EVP_DigestFinal_ex(digest, small, nil))
    }

    /// A signature of the first 64 bytes of the message.
    private mutating func sign(_ key: OpaquePointer) {
        signatureBytes = 512
        // A context that is not reset keeps the key it has.
        EVP_MD_CTX_reset(digest)
        check(EVP_DigestSignInit(digest, nil, EVP_sha256(), nil, key))
        check(EVP_DigestSign(digest, signature, &signatureBytes, message, 64))
    }

    private mutating func verify(_ key: OpaquePointer) {
        EVP_MD_CTX_reset(digest)
        check(EVP_DigestVerifyInit(digest, nil, EVP_sha256(), nil, key))
        if EVP_DigestVerify(digest, signature, signatureBytes, message, 64) == 1 { verified += 1 }
    }

    /// The secret that `own` and the public half of `theirs` share (ECDH).
    private func agree(_ own: OpaquePointer, _ theirs: OpaquePointer, _ secret: UnsafeMutablePointer<UInt8>) {
        var count = 64
        let context = EVP_PKEY_CTX_new(own, nil)
        check(EVP_PKEY_derive_init(context))
        check(EVP_PKEY_derive_set_peer(context, theirs))
        check(EVP_PKEY_derive(context, secret, &count))
        EVP_PKEY_CTX_free(context)
    }

    // MARK: Helpers

    private func decrypt() -> Bool {
        var done: Int32 = 0
        var rest: Int32 = 0
        decrypted.update(repeating: 0, count: bytes)
        check(EVP_DecryptInit_ex(cipher, EVP_aes_256_gcm(), nil, message, message + 32))
        check(EVP_DecryptUpdate(cipher, decrypted, &done, encrypted, Int32(bytes)))
        check(EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, Self.tagBytes, encrypted + bytes))
        return EVP_DecryptFinal_ex(cipher, decrypted + Int(done), &rest) == 1
    }

    /// The message's digest goes into the checksum that every backend must print; that the code is SHA-256 is known by the digest of
    /// "abc" (FIPS 180-2, appendix B.1).
    private func hashOutcome() -> Outcome {
        let ofMessage = Corpus.digest(small, 32)
        let abc: StaticString = "abc"
        hash(abc.utf8Start, 3)
        var got = Checksum()
        var expected = Checksum()
        got.mix(ofMessage)
        expected.mix(ofMessage)
        let words: [UInt32] = [
            0xBA78_16BF, 0x8F01_CFEA, 0x4141_40DE, 0x5DAE_2223, 0xB003_61A3, 0x9617_7A9C, 0xB410_FF61, 0xF200_15AD,
        ]
        for index in 0..<8 {
            let at = small + 4 * index
            got.mix(UInt64(at[0]) << 24 | UInt64(at[1]) << 16 | UInt64(at[2]) << 8 | UInt64(at[3]))
            expected.mix(UInt64(words[index]))
        }
        return Outcome(got: got.value, expected: expected.value)
    }

    private func check(_ result: Int32) {
        if result <= 0 { systemError("a call of libcrypto", Int64(vb_errno())) }
    }
}
