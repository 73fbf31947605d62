import Foundation
import GuestImages
import Testing

@Suite("Guest images")
struct GuestImagesTests {
    /// The fields of an ELF header that matter here (System V gABI, "ELF Header").
    private struct Header {
        var isELF64: Bool
        var type: UInt16
        var machine: UInt16
        var programHeaderTypes: [UInt32]

        init(path: String) throws {
            let bytes = [UInt8](try Data(contentsOf: URL(filePath: path)))
            func value(_ offset: Int, _ size: Int) -> Int {
                bytes[offset..<offset + size].reversed().reduce(0) { $0 << 8 | Int($1) }
            }
            isELF64 = bytes.starts(with: [0x7F, 0x45, 0x4C, 0x46, 2, 1])
            type = UInt16(value(16, 2))
            machine = UInt16(value(18, 2))
            let start = value(32, 8)
            programHeaderTypes = (0..<value(56, 2)).map { UInt32(value(start + $0 * 56, 4)) }
        }
    }

    @Test("programs are static x86-64 executables at fixed addresses", arguments: GuestImages.programs)
    func programs(program: GuestProgram) throws {
        let header = try Header(path: #require(try GuestImages.program(named: program.name)))
        #expect(header.isELF64)
        #expect(header.type == 2)
        #expect(header.machine == 62)
        let interpreter: UInt32 = 3
        #expect(!header.programHeaderTypes.contains(interpreter))
    }

    @Test("every program in the source folder is listed, and no other")
    func complete() throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Workloads/Programs")
        let sources = try FileManager.default.contentsOfDirectory(atPath: folder.path)
            .filter { $0.hasSuffix(".swift") }.map { String($0.dropLast(".swift".count)) }
        #expect(Set(sources) == Set(GuestImages.programs.map(\.name)))
    }

    @Test("a name that is none gives nil", arguments: ["", "nub", "../nub", "no-such-program"])
    func unknown(name: String) throws {
        #expect(try GuestImages.program(named: name) == nil)
    }
}
