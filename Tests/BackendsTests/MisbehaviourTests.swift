import Backends
import Foundation
import GuestImages
import Results
import Testing

/// Programs that break, loop, or do what no compiler would write: the guest ends as Linux would end it, and nothing else is lost.
@Suite("Programs that misbehave", .serialized)
struct MisbehaviourTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func raw(_ code: [UInt8], segmentFlags: UInt32 = 5) throws -> TrialSpecification {
        var elf = ElfBytes()
        elf.set(68, segmentFlags)
        elf.bytes.replaceSubrange(ElfBytes.codeOffset..<ElfBytes.codeOffset + code.count, with: code)
        var specification = TrialSpecification(
            arguments: ["/raw"],
            files: [GuestFile(hostPath: try folder.file("raw", elf.bytes), guestPath: "/raw", executable: true)])
        specification.memoryBytes = 32 << 20
        specification.timeLimitSeconds = 20
        return specification
    }

    @Test(
        "a program that breaks the rules is ended by the signal Linux would send", arguments: TrialRunner.guests,
        [
            ("load from address 0", [0x31, 0xC0, 0x8B, 0x00], 11),
            ("store to its own code", [0x48, 0x8D, 0x05, 0, 0, 0, 0, 0x88, 0x00], 11),
            ("undefined instruction", [0x0F, 0x0B], 4),
            ("division by zero", [0x31, 0xC9, 0xF7, 0xF1], 8),
            ("breakpoint", [0xCC], 5),
            ("privileged instruction", [0xF4], 11),
            ("jump to nowhere", [0x31, 0xC0, 0xFF, 0xE0], 11),
            ("non-canonical address", [0x48, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x8A, 0x00], 11),
            ("port access", [0xE4, 0x80], 11),
            ("kernel address", [0x48, 0xC7, 0xC0, 0, 0, 0, 0x80, 0x8A, 0x00], 11),
            // Where a software VMM may keep guest kernel memory.
            ("alias of the kernel", [0x48, 0xB8, 0, 0, 0x20, 0x80, 0xFF, 0x47, 0, 0, 0x8A, 0x00], 11),
            ("alias of itself", [0x48, 0xB8, 0x78, 0, 0x40, 0, 0, 0x48, 0, 0, 0x8A, 0x00], 11),
            ("jump to the VMM's range", [0x48, 0xB8, 0, 0x10, 0, 0, 0, 0x55, 0, 0, 0xFF, 0xE0], 11),
            ("call without end", [0xE8, 0xFB, 0xFF, 0xFF, 0xFF], 11),
            ("code on the stack", [0xFF, 0xE4], 11),
            ("trap flag", [0x9C, 0x81, 0x0C, 0x24, 0, 1, 0, 0, 0x9D, 0x90], 5),
            ("far return to 32-bit code", [0x6A, 0x23, 0x68, 0x7F, 0, 0x40, 0, 0x48, 0xCB], 11),
            ("stack pointer nowhere", [0x31, 0xE4, 0x50], 11),
        ] as [(String, [UInt8], Int32)])
    func signals(guest: BackendName, program: (name: String, code: [UInt8], signal: Int32)) throws {
        let (native, _) = try TrialRunner.expectSame(as: guest, raw(program.code))
        #expect(native.status == .signaled(signal: program.signal), "\(program.name)")
    }

    @Test("a program without libc ends with its own code", arguments: TrialRunner.guests)
    func plainExit(guest: BackendName) throws {
        // mov eax, 231 (exit_group); mov edi, 42; syscall
        let (native, _) = try TrialRunner.expectSame(
            as: guest, raw([0xB8, 231, 0, 0, 0, 0xBF, 42, 0, 0, 0, 0x0F, 0x05]))
        #expect(native.status == .exited(code: 42))
    }

    /// Instruction sequences that end in exit_group(42) unless something is lost on the way.
    private static let unusual: [(name: String, code: [UInt8])] = [
        // wrgsbase 42; a system call; exit_group(rdgsbase)
        (
            "its own GS base",
            [
                0xB8, 42, 0, 0, 0, 0xF3, 0x48, 0x0F, 0xAE, 0xD8, 0x0F, 0x05, 0xF3, 0x48, 0x0F, 0xAE, 0xCF,
                0xB8, 231, 0, 0, 0, 0x0F, 0x05,
            ]
        ),
        // wrfsbase 42; a system call; exit_group(rdfsbase)
        (
            "its own FS base",
            [
                0xB8, 42, 0, 0, 0, 0xF3, 0x48, 0x0F, 0xAE, 0xD0, 0x0F, 0x05, 0xF3, 0x48, 0x0F, 0xAE, 0xC7,
                0xB8, 231, 0, 0, 0, 0x0F, 0x05,
            ]
        ),
        // mov gs, 0; mov fs, 0; getpid; exit_group(42)
        (
            "null segments",
            [
                0x31, 0xC0, 0x8E, 0xE8, 0x8E, 0xE0, 0xB0, 39, 0x0F, 0x05, 0xBF, 42, 0, 0, 0, 0xB8, 231, 0, 0, 0, 0x0F,
                0x05,
            ]
        ),
        // std; getpid; exit_group(42): the direction flag must not reach the kernel
        (
            "direction flag",
            [0xFD, 0xB8, 39, 0, 0, 0, 0x0F, 0x05, 0xBF, 42, 0, 0, 0, 0xB8, 231, 0, 0, 0, 0x0F, 0x05]
        ),
        // xor esp, esp; getpid; exit_group(42): system calls need no stack
        (
            "no stack",
            [0x31, 0xE4, 0xB8, 39, 0, 0, 0, 0x0F, 0x05, 0xBF, 42, 0, 0, 0, 0xB8, 231, 0, 0, 0, 0x0F, 0x05]
        ),
    ]

    @Test("unusual but legal programs work", arguments: TrialRunner.guests, unusual.indices)
    func unusualPrograms(guest: BackendName, index: Int) throws {
        let program = Self.unusual[index]
        let (native, _) = try TrialRunner.expectSame(as: guest, raw(program.code))
        #expect(native.status == .exited(code: 42), "\(program.name)")
    }

    @Test("code that writes itself", arguments: TrialRunner.guests)
    func selfModifying(guest: BackendName) throws {
        // mov byte [the next instruction's immediate], 42; mov edi, 1; mov eax, 231; syscall; in a segment with all rights
        let (native, _) = try TrialRunner.expectSame(
            as: guest,
            raw([0xC6, 0x05, 1, 0, 0, 0, 42, 0xBF, 1, 0, 0, 0, 0xB8, 231, 0, 0, 0, 0x0F, 0x05], segmentFlags: 7))
        #expect(native.status == .exited(code: 42))
    }

    @Test("a system call the guest lacks is ENOSYS, and named", arguments: TrialRunner.guests)
    func unknownSystemCall(guest: BackendName) throws {
        // mov eax, 101 (ptrace); syscall; neg eax; mov edi, eax; mov al, 60; syscall
        let result = try TrialRunner.run(
            guest, raw([0xB8, 101, 0, 0, 0, 0x0F, 0x05, 0xF7, 0xD8, 0x89, 0xC7, 0xB0, 60, 0x0F, 0x05]))
        let enosys: Int32 = 38
        #expect(result.status == .exited(code: enosys))
        #expect(result.unknownSystemCalls == ["ptrace": 1])
    }

    @Test("a program that never ends is ended at its time limit", arguments: TrialRunner.backends)
    func endless(backend: BackendName) throws {
        var specification = try raw([0xEB, 0xFE])
        specification.timeLimitSeconds = 1
        let result = try TrialRunner.run(backend, specification)
        #expect(try result.failure().kind == .timeout)
        #expect(result.totalNanoseconds < 8e9)
    }

    @Test("a program asleep for ever is ended at its time limit", arguments: TrialRunner.backends)
    func asleep(backend: BackendName) throws {
        // mov eax, 34 (pause); syscall; jmp back
        var specification = try raw([0xB8, 34, 0, 0, 0, 0x0F, 0x05, 0xEB, 0xF7])
        specification.timeLimitSeconds = 1
        #expect(try TrialRunner.run(backend, specification).failure().kind == .timeout)
    }

    @Test("a missing program, a corrupt one", arguments: TrialRunner.backends)
    func unusable(backend: BackendName) throws {
        var missing = try raw([0xF4])
        missing.arguments = ["/none"]
        #expect(try TrialRunner.run(backend, missing).failure().kind == .invalid)
        var corrupt = try raw([0xF4])
        corrupt.files[0].hostPath = try folder.file("corrupt", Array(ElfBytes().bytes.prefix(100)))
        #expect(try TrialRunner.run(backend, corrupt).failure().kind == .invalid)
    }

    @Test("a guest larger than its memory is refused, and says what it needs", arguments: TrialRunner.guests)
    func tooSmall(guest: BackendName) throws {
        let big = try folder.file("big", [UInt8](repeating: 1, count: 20 << 20))
        var specification = try raw([0xF4])
        specification.files += ["/big", "/bigger"].map { GuestFile(hostPath: big, guestPath: $0) }
        let failure = try TrialRunner.run(guest, specification).failure()
        #expect(failure.kind == .invalid)
        #expect(failure.message.contains("give it more memory"))
    }

    @Test("a program larger than its memory fails alone; the kernel lives on to tell", arguments: TrialRunner.guests)
    func outOfMemory(guest: BackendName) throws {
        var specification = try TrialRunner.specification(of: "page-touch", ["--rounds", "1", "--operations", "8000"])
        specification.memoryBytes = 16 << 20
        let result = try TrialRunner.run(guest, specification)
        // Linux would refuse the memory (exit code 3 of the program) or kill the process.
        #expect([.exited(code: 3), .signaled(signal: 9)].contains(result.status), "\(result.status)")
        #expect(result.counters["guest.systemCalls"] ?? 0 > 0)
    }
}
