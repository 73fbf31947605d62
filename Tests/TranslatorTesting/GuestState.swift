import CLinux
import Glibc

/// What a program can see of its registers between two instructions.
public struct GuestState: Equatable {
    public var registers = [UInt64](repeating: 0, count: 16)
    public var flags: UInt64 = 2
    public var rip: UInt64 = 0
    public var fsBase: UInt64 = 0
    public var gsBase: UInt64 = 0
    /// An XSAVE image in standard format, every component in its place (see `VectorImage.normalize`).
    public var vector: [UInt8] = []

    public init() {}

    /// Names of what differs, with both values.
    package func differences(from other: GuestState) -> [String] {
        let names = [
            "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
            "r15",
        ]
        func line(_ name: String, _ mine: UInt64, _ theirs: UInt64) -> String? {
            mine == theirs ? nil : "\(name) \(String(mine, radix: 16)) / \(String(theirs, radix: 16))"
        }
        var lines = (0..<16).compactMap { line(names[$0], registers[$0], other.registers[$0]) }
        lines += [
            line("rip", rip, other.rip), line("flags", flags, other.flags), line("fs base", fsBase, other.fsBase),
            line("gs base", gsBase, other.gsBase),
        ].compactMap { $0 }
        if vector != other.vector {
            let at = zip(vector, other.vector).enumerated().filter { $1.0 != $1.1 }.map(\.offset)
            lines.append("vector state at bytes \(at.prefix(8)) of the XSAVE image")
        }
        return lines
    }
}

/// How a run ended.
public enum Ending: Equatable {
    /// At a HLT in the code.
    case halted
    /// A branch left the code; RIP is where it went.
    case leftCode
    /// A hardware exception, with its error code and, for page faults, CR2.
    case trap(UInt64, error: UInt64, address: UInt64)
    /// More steps than a case may take.
    case endless
    /// The case is not one to compare: it made a system call.
    case unfit
}

/// A case's end: the last state, why it ended, and the data.
package struct NativeResult: Equatable {
    package var state: GuestState
    package var ending: Ending
    package var data: [UInt8]

    package init(state: GuestState, ending: Ending, data: [UInt8]) {
        self.state = state
        self.ending = ending
        self.data = data
    }
}

/// Layout of XSAVE images in standard format (Intel SDM vol. 1, 13.4), as far as this CPU and the harness have them.
enum VectorImage {
    private struct Component {
        var bit: UInt64
        var offset: Int
        var size: Int
    }

    /// XCR0 components the harness switches: x87, SSE, AVX, AVX-512.
    private static let switched: UInt64 = 0b1110_0111
    static let xcr0 = vb_sw_xgetbv0() & switched

    private static let components: [Component] = (2..<UInt32(8)).filter { xcr0 & 1 << UInt64($0) != 0 }.map {
        let leaf = clinux_cpuid(0xD, $0)
        return Component(bit: 1 << UInt64($0), offset: Int(leaf.ebx), size: Int(leaf.eax))
    }
    /// Bytes of an image with all of them.
    static let bytes = components.map { $0.offset + $0.size }.max() ?? 576

    /// Makes images comparable: a component that the header calls initial gets its initial value, and what is no register
    /// of the program's is cleared: x87 instruction and data pointers (they name host code), the header, reserved bytes.
    static func normalize(_ image: UnsafeMutableRawPointer) {
        let present = image.load(fromByteOffset: 512, as: UInt64.self)
        if present & 1 == 0 {
            memset(image, 0, 24)
            image.storeBytes(of: 0x37F, as: UInt16.self)
            memset(image + 32, 0, 128)
        }
        memset(image + 6, 0, 18)
        if present & 2 == 0 { memset(image + 160, 0, 256) }
        memset(image + 28, 0, 4)
        for register in 0..<8 { memset(image + 32 + 16 * register + 10, 0, 6) }
        memset(image + 416, 0, 160)
        for component in components where present & component.bit == 0 {
            memset(image + component.offset, 0, component.size)
        }
    }
}
