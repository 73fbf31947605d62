import CLinux
import Glibc
import Host

/// Memory that a ledger counts in, so that `vbench top` can look at it while the VM runs.
///
///     offset 0      LiveHeader
///     offset 256    backend, 32 bytes; title, 128 bytes: UTF-8, zeros behind
///     offset 512    names of the reasons, 32 bytes each
///     offset 4096   the ledger's lines
///
/// A memfd of a name of its own: readers find it among the descriptors of the process, nothing is left behind, and the ledger stores
/// into it as it would into any memory. Where the host gives none, it is ordinary memory, and the VM is not in the live view.
///
/// Safety: `base` maps `bytes` bytes from init to deinit; the size of the memfd is sealed.
public final class LiveLedger {
    /// What /proc/PID/fd calls the memory, behind `/memfd:`.
    public static let memoryName = "vbench-ledger"

    static let backendOffset = 256
    static let backendBytes = 32
    static let titleOffset = 288
    static let titleBytes = 128
    static let namesOffset = 512
    static let nameBytes = 32
    static let linesOffset = 4096

    private let base: UnsafeMutableRawPointer
    private let bytes: Int
    private let descriptor: Int32

    /// - Parameters:
    ///   - lineBytes: what the ledger needs for its lines.
    ///   - reasons: names of the reasons, at most 112.
    init(lineBytes: Int, reasons: [String]) {
        bytes = Self.linesOffset + lineBytes
        let file = clinux_sealed_memfd(Self.memoryName, UInt(bytes))
        let mapped = file >= 0 ? mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) : MAP_FAILED
        if let mapped, mapped != MAP_FAILED {
            (base, descriptor) = (mapped, file)
        } else {
            if file >= 0 { close(file) }
            (base, descriptor) = (calloc(1, bytes)!, -1)
        }
        for (index, name) in reasons.enumerated()
        where Self.namesOffset + (index + 1) * Self.nameBytes <= Self.linesOffset {
            store(name, at: Self.namesOffset + index * Self.nameBytes, bytes: Self.nameBytes)
        }
    }

    deinit {
        if descriptor >= 0 {
            munmap(base, bytes)
            close(descriptor)
        } else {
            free(base)
        }
    }

    var header: UnsafeMutablePointer<LiveHeader> { base.assumingMemoryBound(to: LiveHeader.self) }
    var lines: UnsafeMutableRawPointer { base + Self.linesOffset }

    /// Makes the VM visible.
    func publish(backend: String, title: String, memoryBytes: UInt64, startTSC: UInt64) {
        store(backend, at: Self.backendOffset, bytes: Self.backendBytes)
        store(title, at: Self.titleOffset, bytes: Self.titleBytes)
        header.pointee.memoryBytes = memoryBytes
        header.pointee.startTSC = startTSC
        header.pointee.tscHertz = TimestampCounter.hertz
        header.pointee.version = LiveHeader.currentVersion
        header.pointee.magic = LiveHeader.magicValue
    }

    private func store(_ text: String, at offset: Int, bytes: Int) {
        // A zero stays behind the text.
        for (index, byte) in text.utf8.prefix(bytes - 1).enumerated() {
            base.storeBytes(of: byte, toByteOffset: offset + index, as: UInt8.self)
        }
    }
}

/// How a live ledger's lines are to be read.
struct LiveHeader: BitwiseCopyable {
    /// "VBLEDGER" read as a little-endian 64-bit number.
    static let magicValue: UInt64 = 0x5245_4744_454C_4256
    static let currentVersion: UInt32 = 1

    /// Zero until the VM is visible.
    var magic: UInt64 = 0
    var version: UInt32 = 0
    var reasonCount: UInt32 = 0
    /// Bytes of a line, and where it has its count, its cycles and its key: the key modulo `reasonCount` is the reason.
    var lineBytes: UInt32 = 0
    var countOffset: UInt32 = 0
    var cyclesOffset: UInt32 = 0
    var keyOffset: UInt32 = 0
    /// Lines in use.
    var lineCount: UInt64 = 0
    var memoryBytes: UInt64 = 0
    var startTSC: UInt64 = 0
    var tscHertz: UInt64 = 0
}

extension LiveLedger {
    /// What a live ledger says at one moment. Counts are read while they change: each is right, their sum may miss an exit.
    public struct Snapshot: Equatable, Sendable {
        public struct Reason: Equatable, Sendable {
            public var name: String
            public var count: UInt64
            /// TSC cycles.
            public var cycles: UInt64

            public init(name: String, count: UInt64, cycles: UInt64) {
                self.name = name
                self.count = count
                self.cycles = cycles
            }
        }

        public var backend: String
        public var title: String
        public var memoryBytes: UInt64
        public var startTSC: UInt64
        public var tscHertz: UInt64
        /// Every reason that the ledger knows, also those that did not occur.
        public var reasons: [Reason]

        public init(
            backend: String, title: String, memoryBytes: UInt64, startTSC: UInt64, tscHertz: UInt64, reasons: [Reason]
        ) {
            self.backend = backend
            self.title = title
            self.memoryBytes = memoryBytes
            self.startTSC = startTSC
            self.tscHertz = tscHertz
            self.reasons = reasons
        }

        /// Of the memory behind a path of /proc/PID/fd; nil when it cannot be read or is no live ledger of this version.
        public init?(path: String) {
            guard let file = FileDescriptor.open(path, O_RDONLY) else { return nil }
            var contents = [UInt8](repeating: 0, count: Self.maximumBytes)
            // Not by a mapping: whoever holds the memory could cut it off.
            let count = contents.withUnsafeMutableBytes { pread(file.rawValue, $0.baseAddress, $0.count, 0) }
            guard count > 0 else { return nil }
            self.init(contents: Array(contents.prefix(count)))
        }

        private static let maximumBytes = 256 << 10

        /// Of a copy of the memory, which may hold anything.
        init?(contents: [UInt8]) {
            guard contents.count >= LiveLedger.linesOffset else { return nil }
            let header = contents.withUnsafeBytes { $0.loadUnaligned(as: LiveHeader.self) }
            let (reasonCount, lineBytes) = (Int(header.reasonCount), Int(header.lineBytes))
            let offsets = [header.countOffset, header.cyclesOffset, header.keyOffset].map(Int.init)
            guard header.magic == LiveHeader.magicValue, header.version == LiveHeader.currentVersion,
                1...112 ~= reasonCount, 8...4096 ~= lineBytes, offsets.allSatisfy({ $0 + 8 <= lineBytes })
            else { return nil }
            func text(_ offset: Int, _ bytes: Int) -> String {
                // Only what a terminal prints as it is.
                String(
                    decoding: contents[offset..<offset + bytes].prefix { $0 != 0 }
                        .map { 0x20...0x7E ~= $0 ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
            }
            var reasons = (0..<reasonCount).map {
                Reason(
                    name: text(LiveLedger.namesOffset + $0 * LiveLedger.nameBytes, LiveLedger.nameBytes), count: 0,
                    cycles: 0)
            }
            let room = (contents.count - LiveLedger.linesOffset) / lineBytes
            for line in 0..<Int(min(header.lineCount, UInt64(room))) {
                let start = LiveLedger.linesOffset + line * lineBytes
                let words = contents.withUnsafeBytes { bytes in
                    offsets.map { bytes.loadUnaligned(fromByteOffset: start + $0, as: UInt64.self) }
                }
                let reason = Int(words[2] % UInt64(reasonCount))
                reasons[reason].count &+= words[0]
                reasons[reason].cycles &+= words[1]
            }
            self.init(
                backend: text(LiveLedger.backendOffset, LiveLedger.backendBytes),
                title: text(LiveLedger.titleOffset, LiveLedger.titleBytes), memoryBytes: header.memoryBytes,
                startTSC: header.startTSC, tscHertz: header.tscHertz, reasons: reasons)
        }
    }
}
