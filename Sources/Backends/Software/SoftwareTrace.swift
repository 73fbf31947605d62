import Glibc
import Machine
import SoftwareVMM

/// Turns a request into a tracer of the software VMM. To be made before the jail is entered: it opens the file.
enum SoftwareTrace {
    /// - Throws: `invalidConfiguration` for a range that is none, `system` when the file cannot be written.
    static func tracer(
        _ request: TraceRequest, kernel: KernelImage, specification: TrialSpecification
    ) throws(MachineError) -> ExecutionTracer {
        var symbols = [kernel.symbols]
        if let program = specification.program {
            symbols.append(SymbolTable(path: program.hostPath))
        }
        var range: ClosedRange<UInt64>?
        if let text = request.range { range = try self.range(text, symbols) }
        var descriptor: Int32 = 2
        if let path = request.path {
            descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
            guard descriptor >= 0 else { throw .last("open \(path) for the trace") }
        }
        return ExecutionTracer(request.kind, range: range, symbols: symbols, descriptor: descriptor)
    }

    private static func range(_ text: String, _ symbols: [SymbolTable]) throws(MachineError) -> ClosedRange<UInt64> {
        for table in symbols {
            if let range = table.range(of: text) { return range }
        }
        let ends = text.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false).map(address)
        guard ends.count == 2, let first = ends[0], let last = ends[1], first <= last else {
            throw .invalidConfiguration(
                "trace range \(text): neither two hexadecimal addresses, A-B, nor a function of the kernel or the program"
            )
        }
        return first...last
    }

    private static func address(_ text: Substring) -> UInt64? {
        UInt64(text.hasPrefix("0x") ? text.dropFirst(2) : text, radix: 16)
    }
}
