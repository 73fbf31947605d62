import Results

/// A way to run a program: natively, or in a VM of some technique.
///
/// `run` is called in a child process of its own (see `Lab`), at most once in its life, already pinned to its CPU.
public protocol Backend: Sendable {
    /// Short name used in suites, on the command line and in reports.
    static var name: BackendName { get }

    /// Whether this host can run it now, and why not. Takes less than a second; changes nothing.
    static func availability() -> Availability

    /// Why these options cannot be used with it, or nil. Needs neither the host's abilities nor a program.
    static func problem(with options: [String: String]) -> String?

    /// Runs the program to its end, its time limit or its failure. Failures are in the result, never thrown.
    static func run(_ specification: TrialSpecification, observer: any TrialObserver) -> TrialResult
}

public enum BackendName: String, Codable, Sendable, CaseIterable {
    case native
    case kvm
    case software
    /// QEMU's emulator.
    case qemuTCG = "qemu-tcg"
    /// KVM by QEMU.
    case qemuKVM = "qemu-kvm"
}

public enum Availability: Sendable, Equatable {
    /// `detail` describes the technique found here, e.g. "KVM flavour pvm, not hardware-assisted".
    case available(detail: String)
    /// `reason` says what is missing, `remedy` what the person can do.
    case unavailable(reason: String, remedy: String)
}

/// Receives what cannot wait for the end of a trial. Called on the thread that runs the guest.
public protocol TrialObserver: Sendable {
    /// The program has reached its first instruction.
    func programStarted()
    /// The program wrote to its standard output (1) or standard error (2).
    func programWrote(stream: Int, bytes: UnsafeRawBufferPointer)
    /// The guest kernel logged a line.
    func kernelLogged(_ line: String)
}

/// Everything a backend needs to know to run one trial. Sent to the child as JSON.
public struct TrialSpecification: Codable, Sendable {
    /// Arguments; the first is the program's path in the file tree below.
    public var arguments: [String]
    /// `NAME=value` entries, the whole environment.
    public var environment: [String]
    public var workingDirectory: String
    /// The guest's file tree; natively these are laid out under a scratch folder.
    public var files: [GuestFile]
    public var memoryBytes: UInt64
    /// The trial is ended as a timeout after this long.
    public var timeLimitSeconds: Double
    /// Host CPU to pin to, or nil to float.
    public var cpu: Int?
    /// NUMA node that guest memory comes from, or nil for the local one.
    public var numaNode: Int?
    /// What running VMs are called; nil: by the program.
    public var title: String?
    /// Seeds the guest's random numbers.
    public var seed: UInt64
    /// Host TSC when the process that runs the trial was about to be started; nil where nobody took it.
    public var launchTSC: UInt64?
    /// What to write down of the execution (software backend), or nil.
    public var trace: TraceRequest?
    /// Note where in the guest exits come from (guests only). That takes time: not for trials whose times count.
    public var profilesExits = false
    /// Backend options by name (e.g. `codeCacheBytes`), validated by the backend.
    public var options: [String: String]

    public init(arguments: [String], files: [GuestFile] = []) {
        self.arguments = arguments
        environment = []
        workingDirectory = "/"
        self.files = files
        memoryBytes = 128 << 20
        timeLimitSeconds = 60
        seed = 1
        options = [:]
    }
}

/// A host file, a folder or a symbolic link at a path in the guest's tree.
public struct GuestFile: Codable, Sendable, Equatable {
    public enum Kind: Codable, Sendable, Equatable {
        /// A regular file with the bytes of the host's.
        case file
        /// A folder; what is in it has entries of its own.
        case folder
        /// A symbolic link, which leads to this path in the guest.
        case symbolicLink(target: String)
    }

    /// Where it comes from.
    public var hostPath: String
    /// Absolute path in the guest.
    public var guestPath: String
    public var kind: Kind
    /// Permission bits of a file or folder.
    public var mode: UInt16

    /// An ordinary file; `executable` decides its permissions.
    public init(hostPath: String, guestPath: String, executable: Bool = false) {
        self.init(hostPath: hostPath, guestPath: guestPath, kind: .file, mode: executable ? 0o755 : 0o644)
    }

    public init(hostPath: String, guestPath: String, kind: Kind, mode: UInt16) {
        self.hostPath = hostPath
        self.guestPath = guestPath
        self.kind = kind
        self.mode = mode
    }
}

extension TrialSpecification {
    /// The file that is run: what the first argument leads to; nil when the tree has none.
    public var program: GuestFile? { arguments.first.flatMap { GuestTree(files).entry(at: $0) } }
}
