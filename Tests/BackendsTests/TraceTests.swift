import Backends
import Foundation
import Results
import Testing

/// `vbench exec --trace`: what it says of code whose every step is known.
@Suite("Traces of the software VMM", .serialized)
struct TraceTests {
    private let folder: TemporaryFolder
    private var file: String { folder.url.appending(path: "trace").path }

    init() throws { folder = try TemporaryFolder() }

    /// mov eax, 231 (exit_group); mov edi, 42; sub edi, eax; add edi, eax; syscall
    private static let code: [UInt8] = [
        0xB8, 231, 0, 0, 0, 0xBF, 42, 0, 0, 0, 0x29, 0xC7, 0x01, 0xC7, 0x0F, 0x05,
    ]

    private func trace(_ kind: TraceRequest.Kind, range: String? = nil) throws -> (result: TrialResult, lines: [String])
    {
        var elf = ElfBytes()
        elf.bytes.replaceSubrange(ElfBytes.codeOffset..<ElfBytes.codeOffset + Self.code.count, with: Self.code)
        var specification = TrialSpecification(
            arguments: ["/raw"],
            files: [GuestFile(hostPath: try folder.file("raw", elf.bytes), guestPath: "/raw", executable: true)])
        specification.memoryBytes = 32 << 20
        specification.options = ["userMode": "translate"]
        specification.trace = TraceRequest(kind: kind, range: range, path: file)
        let result = try TrialRunner.run(.software, specification)
        let text = (try? String(contentsOfFile: file, encoding: .utf8)) ?? ""
        let lines = text.split(separator: "\n").map(String.init)
        #expect(lines.allSatisfy { $0.count <= 80 })
        return (result, lines)
    }

    @Test("every instruction of a range, in order, with what it changed")
    func instructions() throws {
        let (result, lines) = try trace(.instructions, range: "400000-400fff")
        #expect(result.status == .exited(code: 42))
        let expected = [
            ("0000000000400078 mov eax, 0xe7", "rax 00000000000000e7"),
            ("000000000040007d mov edi, 0x2a", "rdi 000000000000002a"),
            ("0000000000400082 sub edi, eax", "rdi 00000000ffffff43"),
            ("", "fl  .S...C"),
            ("0000000000400084 add edi, eax", "rdi 000000000000002a"),
            ("", "fl  .....C"),
        ]
        // The timer may come between any two.
        let own = lines.filter { !$0.contains("vector 32") }
        for (line, (code, change)) in zip(own, expected) {
            #expect(line.hasPrefix(code))
            #expect(line.hasSuffix(change), "\(line)")
        }
        #expect(own.count > expected.count && own[expected.count].hasPrefix("0000000000400086 syscall"))
        #expect(!own.dropFirst(expected.count + 1).contains { $0.hasPrefix("00000000004") })
    }

    @Test("guest code beside its translation")
    func blocks() throws {
        let (result, lines) = try trace(.blocks, range: "400000-400fff")
        #expect(result.status == .exited(code: 42))
        #expect(lines.first == "block 0000000000400078 ring 3")
        #expect(lines.contains("  +00 mov eax, 0xe7               | mov eax, 0xe7"))
        #expect(lines.contains("  +0a sub edi, eax                | sub edi, eax"))
        #expect(lines.contains { $0.hasPrefix("  +0e syscall") })
        #expect(lines.count { $0.hasPrefix("block ") } == 1)
    }

    @Test("every exit with its reason and where it came from")
    func exits() throws {
        let (result, lines) = try trace(.exits)
        #expect(result.status == .exited(code: 42))
        // The last is the doorbell or the machine's end, by a port.
        #expect(lines.contains { $0.contains(" port-io ") && $0.contains(" r0 ffffffff80") })
        let traced = lines.count { $0.contains(" control-register ") }
        let counted = result.exits?.first { $0.reason == "control-register" }?.count
        #expect(UInt64(traced) == counted)
    }

    @Test("a function of the kernel by name")
    func function() throws {
        let (_, lines) = try trace(.instructions, range: "systemCallExit")
        #expect(lines.first?.hasPrefix("ffffffff80") == true)
    }

    @Test("a range that is none is refused")
    func badRange() throws {
        let failure = try trace(.blocks, range: "no-such-function").result.failure()
        #expect(failure.kind == .invalid)
        #expect(failure.message.contains("trace range no-such-function"))
    }
}
