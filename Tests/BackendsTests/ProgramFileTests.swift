import Testing

@testable import Backends

@Suite("Program files")
struct ProgramFileTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func error(_ bytes: [UInt8]) throws -> ProgramFileError? {
        let path = try folder.file("program", bytes)
        do throws(ProgramFileError) {
            _ = try ProgramFile(checking: path)
            return nil
        } catch { return error }
    }

    @Test("a static x86-64 executable is accepted")
    func accepted() throws { #expect(try error(ElfBytes().bytes) == nil) }

    @Test("a missing file, a folder")
    func noFile() throws {
        #expect(throws: ProgramFileError.missing(path: "/nonexistent/x")) {
            try ProgramFile(checking: "/nonexistent/x")
        }
        #expect(throws: ProgramFileError.notRegular(path: "/")) { try ProgramFile(checking: "/") }
    }

    @Test("what is no ELF file", arguments: ["", "\u{7F}", "\u{7F}ELf", "#!/bin/sh\n", "a plain text of some length"])
    func notELF(text: String) throws {
        guard case .notELF = try error(Array(text.utf8)) else {
            Issue.record("not refused as no ELF file")
            return
        }
    }

    @Test("other machines", arguments: [(4, 1), (5, 2), (18, 183), (18, 3)] as [(Int, UInt8)])
    func otherMachine(offset: Int, value: UInt8) throws {
        var elf = ElfBytes()
        elf.set(offset, value)
        guard case .notX86_64 = try error(elf.bytes) else {
            Issue.record("not refused as another machine's")
            return
        }
    }

    @Test("object files and core dumps", arguments: [1, 4] as [UInt16])
    func notExecutable(type: UInt16) throws {
        var elf = ElfBytes()
        elf.set(16, type)
        guard case .notExecutable = try error(elf.bytes) else {
            Issue.record("not refused as not executable")
            return
        }
    }

    @Test("a dynamic program is accepted and names its interpreter; a static one has none")
    func dynamic() throws {
        // This test itself is one.
        #expect(try ProgramFile(checking: "/proc/self/exe").interpreter?.hasPrefix("/") == true)
        let path = try folder.file("program", ElfBytes().bytes)
        #expect(try ProgramFile(checking: path).interpreter == nil)
    }

    @Test("a file cut anywhere is refused")
    func truncated() throws {
        let whole = ElfBytes().bytes
        for length in 0..<whole.count {
            let found = try error(Array(whole.prefix(length)))
            #expect(found != nil, "accepted \(length) of \(whole.count) bytes")
        }
    }

    @Test(
        "offsets and counts beyond the file",
        arguments: [
            (32, UInt64.max), (32, 1 << 40), (72, UInt64.max), (72, 121), (96, UInt64.max), (96, 33),
        ] as [(Int, UInt64)])
    func beyond(offset: Int, value: UInt64) throws {
        var elf = ElfBytes()
        elf.set(offset, value)
        guard case .corrupt = try error(elf.bytes) else {
            Issue.record("not refused as corrupt")
            return
        }
    }

    @Test("no header bit flip crashes the check")
    func flips() throws {
        let whole = ElfBytes().bytes
        for bit in 0..<(120 * 8) {
            var bytes = whole
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            _ = try error(bytes)
        }
    }
}
