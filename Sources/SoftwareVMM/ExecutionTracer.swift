import Glibc
import Machine
import Translator

/// Writes down what the software VMM does with guest code, for a person (`vbench exec --trace`). Every line fits 80 columns.
///
/// A machine without a tracer pays one test for nil where it translates, where the guest exits and where it is entered.
public final class ExecutionTracer {
    public enum Kind: String, Sendable, CaseIterable, Codable {
        /// Guest code beside its translation, when it is translated.
        case blocks
        /// Every exit: reason, guest RIP, cycles.
        case exits
        /// Every guest instruction executed, and what it changed of the registers.
        case instructions
    }

    let kind: Kind
    private let range: ClosedRange<UInt64>?
    private let symbols: [SymbolTable]
    private let output: TraceOutput
    private let formatter = CodeFormatter()

    /// The instruction that the guest was entered to execute, until it has been.
    private var pending: (rip: UInt64, text: String)?
    /// It was left before it was executed.
    private var isInterrupted = false
    private var before = [UInt64](repeating: 0, count: 17)
    /// TSC of the first line.
    private var startTSC: UInt64?

    /// - Parameters:
    ///   - range: guest addresses whose code is traced; nil: all.
    ///   - symbols: of the kernel and of the program.
    ///   - descriptor: where the text goes; stays open.
    public init(_ kind: Kind, range: ClosedRange<UInt64>?, symbols: [SymbolTable], descriptor: Int32) {
        self.kind = kind
        self.range = range
        self.symbols = symbols
        output = TraceOutput(descriptor: descriptor)
    }

    /// Whether the instructions at a guest address are traced one by one.
    func stepsThrough(_ rip: UInt64) -> Bool { kind == .instructions && covers(rip) }

    /// How many of the bytes of code from `rip` on are to be translated together: not into what is stepped through.
    func bytesTogether(from rip: UInt64, of count: Int) -> Int {
        guard kind == .instructions, let begin = range?.lowerBound, rip < begin, begin - rip < UInt64(count) else {
            return count
        }
        return Int(begin - rip)
    }

    private func covers(_ rip: UInt64) -> Bool { range?.contains(rip) ?? true }

    /// `name+0x12`, or nothing where no symbol is known.
    private func place(_ address: UInt64) -> String {
        for table in symbols {
            guard let symbol = table.symbol(at: address) else { continue }
            return symbol.offset == 0 ? symbol.name : "\(symbol.name)+0x\(String(symbol.offset, radix: 16))"
        }
        return ""
    }

    // MARK: Blocks

    /// A block was translated, and lies at `host`. `bytes` are the guest's code from its start on.
    func translated(_ block: TranslatedBlock, ring: UInt8, bytes: UnsafeBufferPointer<UInt8>, host: UInt64) {
        guard kind == .blocks else { return }
        let end = block.guestStart &+ UInt64(max(1, block.guestBytes)) &- 1
        guard range.map({ $0.overlaps(block.guestStart...max(block.guestStart, end)) }) ?? true else { return }
        let name = place(block.guestStart)
        output.line(
            "block \(digits(block.guestStart)) ring \(ring) \(name)", limit: TraceOutput.width)
        output.line(
            "  \(block.instructionCount) instructions, \(block.guestBytes) bytes of guest code, "
                + "\(block.code.count) of host code at \(digits(host))")
        let stubs = block.exits.map(\.stubOffset).min() ?? block.code.count
        block.code.withUnsafeBufferPointer { code in
            var offset = 0
            /// Host instructions from here on, as long as `goesOn`; the first beside `guest`.
            func show(_ guest: String, while goesOn: (Int) -> Bool) {
                var guest = guest
                while goesOn(offset), let line = formatter.line(code, offset: offset, address: host) {
                    output.pair(guest, line.text)
                    guest = ""
                    offset += line.length
                }
                if !guest.isEmpty { output.pair(guest, "") }
            }
            show("  (indirect branches enter)") { $0 < block.directEntry }
            var position = 0
            while position < block.guestBytes,
                let line = formatter.line(bytes, offset: position, address: block.guestStart)
            {
                let rip = block.guestStart &+ UInt64(position)
                position += line.length
                let next = block.guestStart &+ UInt64(position)
                var first = true
                // Host code belongs to the instruction until the map says that the guest is at the next.
                show("  +\(short(line.offset)) \(line.text)") { offset in
                    defer { first = false }
                    let here = block.entry(at: UInt32(offset)).guestRIP
                    return offset < stubs && (first || here == rip || here != next)
                }
            }
            if offset < stubs { show("  (goes on)") { $0 < stubs } }
        }
        for exit in block.exits { output.line("  exit to \(digits(exit.target)) \(place(exit.target))", limit: 80) }
    }

    // MARK: Exits

    /// The guest left for the VMM at `rip`, which took `cycles` and let it go on.
    func exited(_ reason: ExitReason, rip: UInt64, ring: UInt8, cycles: UInt64, now: UInt64, tscHertz: UInt64) {
        guard kind == .exits, covers(rip) else { return }
        let start = startTSC ?? now
        startTSC = start
        let microseconds = (now &- start) &* 1_000_000 / max(1, tscHertz)
        let left =
            padded("\(microseconds)", 9, right: true) + " µs  " + padded(reason.name, 20) + "r\(ring) \(digits(rip)) "
        let right = padded("\(cycles)", 10, right: true)
        let room = TraceOutput.width - left.count - right.count
        output.line(left + padded(String(place(rip).prefix(max(0, room))), room) + right)
    }

    // MARK: Instructions

    /// The guest is about to execute the one instruction at `rip`, which `code` begins with.
    func begins(at rip: UInt64, code: UnsafeBufferPointer<UInt8>, registers: (Int) -> UInt64, flags: UInt64) {
        isInterrupted = false
        pending = (rip, formatter.line(code, offset: 0, address: rip)?.text ?? "")
        for register in 0..<16 { before[register] = registers(register) }
        before[16] = flags
    }

    /// The guest was left at `rip`: by an interruption what is pending has not been executed if it is there.
    func left(at rip: UInt64, byInterruption: Bool) { isInterrupted = byInterruption && pending?.rip == rip }

    /// The guest is about to see an exception or interrupt, with its registers still as they were.
    func delivers(_ vector: UInt8, returnTo next: UInt64, registers: (Int) -> UInt64, flags: UInt64) {
        guard let (rip, text) = pending else { return }
        if isInterrupted || next == rip {
            pending = nil
            output.line(padded("\(digits(rip)) \(text)", Self.changesColumn, cut: true) + "vector \(vector)")
        } else {
            completes(registers: registers, flags: flags)
            output.line(padded("", Self.changesColumn) + "vector \(vector)")
        }
    }

    /// The guest is where the VMM can see its registers: what was pending has been executed, or will be begun again.
    func completes(registers: (Int) -> UInt64, flags: UInt64) {
        guard let (from, text) = pending else { return }
        pending = nil
        if isInterrupted { return }
        var changes: [String] = []
        for register in 0..<16 where registers(register) != before[register] {
            changes.append(padded(Self.names[register], 4) + digits(registers(register)))
        }
        if flags & Flags.arithmetic != before[16] & Flags.arithmetic {
            changes.append("fl  " + Self.text(flags: flags))
        }
        let column = Self.changesColumn
        output.line(padded("\(digits(from)) \(text)", column, cut: !changes.isEmpty) + (changes.first ?? ""), limit: 80)
        for change in changes.dropFirst() { output.line(padded("", column) + change) }
    }

    /// Where changes stand: 22 columns are left for a register.
    private static let changesColumn = 58

    private static let names = [
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
    ]

    /// Arithmetic flags by their initials, those that are clear as dots (Intel SDM vol. 1, 3.4.3.1).
    private static func text(flags: UInt64) -> String {
        String(
            [(11, "O"), (7, "S"), (6, "Z"), (4, "A"), (2, "P"), (0, "C")].map { bit, name in
                flags >> UInt64(bit) & 1 == 1 ? Character(name) : "."
            })
    }
}

/// Lines of a trace.
private struct TraceOutput {
    static let width = 80
    private static let guestColumns = 34

    let descriptor: Int32

    /// Written at once, so that a VMM that crashes has said everything. A reader that has gone away ends nothing.
    func line(_ text: String, limit: Int = .max) {
        var bytes = Array((text.count > limit ? String(text.prefix(limit - 1)) + "…" : text).utf8)
        while bytes.last == UInt8(ascii: " ") { bytes.removeLast() }
        bytes.append(UInt8(ascii: "\n"))
        bytes.withUnsafeBytes { buffer in
            var done = 0
            while done < buffer.count {
                let count = write(descriptor, buffer.baseAddress! + done, buffer.count - done)
                if count < 0 && errno == EINTR { continue }
                guard count > 0 else { return }
                done += count
            }
        }
    }

    /// Guest code, and host code beside it.
    func pair(_ guest: String, _ host: String) {
        line(padded(guest, Self.guestColumns, cut: true) + "| " + host, limit: Self.width)
    }
}

private func digits(_ value: UInt64) -> String {
    let text = String(value, radix: 16)
    return String(repeating: "0", count: 16 - text.count) + text
}

private func short(_ offset: Int) -> String {
    let text = String(offset, radix: 16)
    return text.count == 1 ? "0" + text : text
}

/// `text` in a column of `width`, at its right end if wanted; what does not fit is cut off if wanted.
private func padded(_ text: String, _ width: Int, right: Bool = false, cut: Bool = false) -> String {
    if cut, text.count >= width { return String(text.prefix(width - 2)) + "… " }
    let space = String(repeating: " ", count: max(0, width - text.count))
    return right ? space + text : text + space
}
