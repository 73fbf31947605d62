import Foundation
import GuestInterface
import Machine
import Results

/// Names of a trial's guest code: the kernel's, and those of the program that it started with.
struct GuestSymbols {
    private let kernel: SymbolTable
    private let program: SymbolTable
    private let programName: String
    /// Addresses below this may be the program's, from 0 or from its base.
    private let programEnd: UInt64

    /// Reads the program's file: to be made before a jail shuts files out.
    init(_ specification: TrialSpecification, _ kernel: KernelImage) {
        self.kernel = kernel.symbols
        let path = specification.arguments.first ?? ""
        let file = specification.files.first { $0.guestPath == path }?.hostPath ?? ""
        program = SymbolTable(path: file)
        programName = path.split(separator: "/").last.map(String.init) ?? "program"
        var status = stat()
        // Static programs are linked some megabytes up, and take more memory than their file does.
        programEnd = stat(file, &status) == 0 ? UInt64(status.st_size) * 2 + 64 << 20 : 0
    }

    /// The function at a guest address, or the module and the address in it.
    ///
    /// In ring 3 the address may be of another program, which the first one started, or of a library: they have the address alone.
    func function(at address: UInt64, ring: UInt8) -> String {
        if ring == 0 || address >> 63 == 1 {
            return kernel.symbol(at: address).map { Self.readable($0.name) } ?? "kernel+\(Self.hex(address))"
        }
        let base = GuestLayout.positionIndependentBase
        let linked = address >= base ? address - base : address
        if let symbol = program.symbol(at: linked) { return Self.readable(symbol.name) }
        return linked < programEnd ? "\(programName)+\(Self.hex(linked))" : Self.hex(address)
    }

    private static func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

    /// A Swift name without its arguments and without what the optimizer did to the function; others as they are.
    private static func readable(_ name: String) -> String {
        guard name.hasPrefix("$s") || name.hasPrefix("$e"),
            let text = swiftDemangle(name, UInt(name.utf8.count), nil, nil, 0)
        else { return name }
        defer { text.deallocate() }
        var words = String(cString: text)
        while let end = words.range(of: "> of "), words.contains("specialization <") {
            words = String(words[end.upperBound...])
        }
        if words.hasPrefix("merged ") { words.removeFirst("merged ".count) }
        // "(name in _HASH)" is a private one.
        if let open = words.firstIndex(of: "("), let inside = words.range(of: " in _", range: open..<words.endIndex),
            let close = words[inside.upperBound...].firstIndex(of: ")")
        {
            words.replaceSubrange(inside.lowerBound...close, with: "")
            words.remove(at: open)
        }
        return words.firstIndex { $0 == "(" || $0 == "<" }.map { String(words[..<$0]) } ?? words
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
