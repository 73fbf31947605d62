import CLinux

/// An allow-list of system calls, built into a classic BPF program (Documentation/userspace-api/seccomp_filter.rst).
///
///     load architecture; not x86-64: kill
///     load number;       x32:        kill
///     number of rule 0?  → its verdict, looking at one argument if it has a condition
///     …
///     the default verdict
///
/// The default kills the process rather than raising SIGSYS: Syscall User Dispatch uses SIGSYS for guest system calls, and
/// a handler must never see the two mixed up.
public struct SeccompFilter: Sendable {
    public enum Verdict: Sendable, Equatable {
        case allow
        /// The call does nothing and fails with this errno.
        case refuse(errno: Int32)
        case killProcess

        /// SECCOMP_RET_… value (linux/seccomp.h).
        var returnValue: UInt32 {
            switch self {
            case .allow: UInt32(SECCOMP_RET_ALLOW)
            case .refuse(let errno): UInt32(SECCOMP_RET_ERRNO) | UInt32(errno & 0xFFFF)
            case .killProcess: SECCOMP_RET_KILL_PROCESS
            }
        }
    }

    /// Holds when one word of an argument has these bits: `word & mask == value`.
    public struct Condition: Sendable, Equatable {
        /// 0…5.
        public var argument: Int
        /// Whether it is the argument's upper word (bits 63:32) instead of its lower.
        public var isUpperWord: Bool
        public var mask: UInt32
        public var value: UInt32

        public init(argument: Int, isUpperWord: Bool = false, mask: UInt32, equals value: UInt32) {
            self.argument = argument
            self.isUpperWord = isUpperWord
            self.mask = mask
            self.value = value
        }
    }

    struct Rule: Sendable {
        var call: SystemCall
        var verdict: Verdict
        var condition: Condition?
        /// Nil: the rules behind this one decide.
        var otherwise: Verdict?
    }

    private(set) var rules: [Rule] = []
    private let defaultVerdict: Verdict

    /// A filter that lets nothing through yet.
    public init(default verdict: Verdict = .killProcess) { defaultVerdict = verdict }

    /// The same verdict for each of these system calls. Earlier rules win; put frequent calls first.
    public mutating func add(_ calls: [SystemCall], _ verdict: Verdict) {
        rules += calls.map { Rule(call: $0, verdict: verdict, condition: nil, otherwise: verdict) }
    }

    /// `verdict` where `condition` holds, else `otherwise`; nil lets later rules decide.
    public mutating func add(
        _ call: SystemCall, _ verdict: Verdict, if condition: Condition, otherwise: Verdict? = .killProcess
    ) {
        rules.append(Rule(call: call, verdict: verdict, condition: condition, otherwise: otherwise))
    }

    /// All rules of `other`, after those already here.
    public mutating func append(_ other: SeccompFilter) { rules += other.rules }

    /// The filter takes effect for every thread of this process, for good. Needs `no_new_privs` (see `Jail`).
    ///
    /// - Throws: `HostError` when the kernel refuses.
    public func install() throws(HostError) {
        let program = instructions
        let status = program.withUnsafeBufferPointer { clinux_install_seccomp($0.baseAddress, $0.count) }
        guard status == 0 else { throw HostError("install the seccomp filter") }
    }

    // Offsets in struct seccomp_data.
    private static let numberOffset: UInt32 = 0
    private static let architectureOffset: UInt32 = 4
    private static let argumentsOffset: UInt32 = 16

    /// The BPF program.
    var instructions: [sock_filter] {
        let kill = Self.answer(.killProcess)
        var program = [
            Self.load(Self.architectureOffset),
            Self.jump(ifEqual: clinux_seccomp_architecture(), then: 1, else: 0), kill,
            Self.load(Self.numberOffset),
            // Numbers from 2^30 on are the x32 ABI's.
            Self.jump(ifAtLeast: 0x4000_0000, then: 0, else: 1), kill,
        ]
        for rule in rules {
            var body: [sock_filter] = []
            if let condition = rule.condition {
                let word: UInt32 = condition.isUpperWord ? 4 : 0
                body.append(Self.load(Self.argumentsOffset + 8 * UInt32(condition.argument) + word))
                body.append(Self.and(condition.mask))
                body.append(Self.jump(ifEqual: condition.value, then: 0, else: 1))
                body.append(Self.answer(rule.verdict))
                body.append(rule.otherwise.map(Self.answer) ?? Self.load(Self.numberOffset))
            } else {
                body.append(Self.answer(rule.verdict))
            }
            program.append(Self.jump(ifEqual: rule.call.rawValue, then: 0, else: UInt8(body.count)))
            program += body
        }
        program.append(Self.answer(defaultVerdict))
        return program
    }

    private static func load(_ offset: UInt32) -> sock_filter {
        sock_filter(code: UInt16(BPF_LD | BPF_W | BPF_ABS), jt: 0, jf: 0, k: offset)
    }

    private static func and(_ mask: UInt32) -> sock_filter {
        sock_filter(code: UInt16(BPF_ALU | BPF_AND | BPF_K), jt: 0, jf: 0, k: mask)
    }

    private static func jump(ifEqual value: UInt32, then: UInt8, else other: UInt8) -> sock_filter {
        sock_filter(code: UInt16(BPF_JMP | BPF_JEQ | BPF_K), jt: then, jf: other, k: value)
    }

    private static func jump(ifAtLeast value: UInt32, then: UInt8, else other: UInt8) -> sock_filter {
        sock_filter(code: UInt16(BPF_JMP | BPF_JGE | BPF_K), jt: then, jf: other, k: value)
    }

    private static func answer(_ verdict: Verdict) -> sock_filter {
        sock_filter(code: UInt16(BPF_RET | BPF_K), jt: 0, jf: 0, k: verdict.returnValue)
    }
}
