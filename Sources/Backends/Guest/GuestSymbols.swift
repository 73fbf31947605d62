import GuestInterface
import Machine
import Results

/// Names of a trial's guest code: the kernel's, and those of the program that it started with.
struct GuestSymbols {
    private let kernel: SymbolTable
    private let program: SymbolTable
    private let programName: String

    init(_ specification: TrialSpecification, _ kernel: KernelImage) {
        self.kernel = kernel.symbols
        let path = specification.arguments.first ?? ""
        let file = specification.files.first { $0.guestPath == path }
        program = file.map { SymbolTable(path: $0.hostPath) } ?? SymbolTable(path: "")
        programName = path.split(separator: "/").last.map(String.init) ?? "program"
    }

    /// The function at a guest address, or the module and the address in it.
    ///
    /// In ring 3 the address may be of another program, which the first one started: only what has symbols of its own can tell.
    func function(at address: UInt64, ring: UInt8) -> String {
        if ring == 0 {
            return kernel.symbol(at: address).map { Self.demangled($0.name) } ?? "kernel+\(Self.hex(address))"
        }
        if let symbol = program.symbol(at: address) { return Self.demangled(symbol.name) }
        let base = GuestLayout.positionIndependentBase
        guard address >= base else { return "\(programName)+\(Self.hex(address))" }
        return program.symbol(at: address - base).map { Self.demangled($0.name) }
            ?? "\(programName)+\(Self.hex(address - base))"
    }

    private static func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

    /// A Swift name as people write it; others as they are.
    private static func demangled(_ name: String) -> String {
        guard name.hasPrefix("$s") || name.hasPrefix("$e") else { return name }
        guard let text = swiftDemangle(name, UInt(name.utf8.count), nil, nil, 0) else { return name }
        defer { text.deallocate() }
        return String(cString: text)
    }
}

/// The Swift runtime's own (swift/Demangling/Demangle.h): text that the caller frees, or nil.
@_silgen_name("swift_demangle")
private func swiftDemangle(
    _ name: UnsafePointer<CChar>?, _ length: UInt, _ buffer: UnsafeMutablePointer<CChar>?,
    _ bufferBytes: UnsafeMutablePointer<UInt>?, _ flags: UInt32
) -> UnsafeMutablePointer<CChar>?

extension ExitSiteRecord {
    /// Sites by function, reason and phase, most cycles first.
    static func grouped(
        _ sites: [ExitSite], _ symbols: GuestSymbols, phaseName: (LedgerPhase) -> String
    ) -> [ExitSiteRecord] {
        struct Key: Hashable {
            var phase: LedgerPhase
            var function: String
            var ring: UInt8
            var reason: ExitReason
        }
        var groups: [Key: (count: UInt64, cycles: UInt64)] = [:]
        for site in sites {
            let function = symbols.function(at: site.rip, ring: site.ring)
            let key = Key(phase: site.phase, function: function, ring: site.ring, reason: site.reason)
            groups[key, default: (0, 0)].count += site.count
            groups[key, default: (0, 0)].cycles += site.cycles
        }
        return groups.map {
            ExitSiteRecord(
                phase: phaseName($0.phase), function: $0.function, ring: Int($0.ring), reason: $0.reason.name,
                count: $1.count, cycles: $1.cycles)
        }
        .sorted { ($0.cycles, $0.count, $1.function, $1.reason) > ($1.cycles, $1.count, $0.function, $0.reason) }
    }
}
