import Backends
import Testing

@Suite("Guest file trees")
struct GuestImageBuilderTests {
    private let folder: TemporaryFolder
    private let program: String

    init() throws {
        folder = try TemporaryFolder()
        program = try folder.file("program", ElfBytes().bytes)
    }

    private func specification(_ arguments: [String] = ["/bin/program"]) -> TrialSpecification {
        TrialSpecification(arguments: arguments, files: [GuestFile(hostPath: program, guestPath: "/bin/program")])
    }

    /// Names, modes and contents of a newc archive, read by the format's own rules.
    private func entries(_ archive: [UInt8]) throws -> [String: (mode: UInt32, contents: [UInt8])] {
        var result: [String: (UInt32, [UInt8])] = [:]
        var offset = 0
        while true {
            try #require(archive[offset..<offset + 6].elementsEqual("070701".utf8))
            func field(_ index: Int) -> Int {
                let start = offset + 6 + 8 * index
                return Int(String(decoding: archive[start..<start + 8], as: UTF8.self), radix: 16)!
            }
            let nameStart = offset + 110
            let contentsStart = (nameStart + field(11) + 3) / 4 * 4
            let name = String(decoding: archive[nameStart..<nameStart + field(11) - 1], as: UTF8.self)
            if name == "TRAILER!!!" { return result }
            result[name] = (UInt32(field(1)), Array(archive[contentsStart..<contentsStart + field(6)]))
            offset = (contentsStart + field(6) + 3) / 4 * 4
        }
    }

    @Test("holds the program, executable, and the folders it expects")
    func tree() throws {
        var specification = specification()
        specification.workingDirectory = "/srv/here"
        let entries = try entries(GuestImageBuilder(specification).initrd())
        #expect(entries["bin/program"]?.mode == 0o100755)
        #expect(entries["bin/program"]?.contents == ElfBytes().bytes)
        #expect(entries["tmp"]?.mode == 0o041777)
        #expect(entries["srv/here"]?.mode == 0o040755)
        #expect(entries["srv"]?.mode == 0o040755)
    }

    @Test("the job has arguments, environment and the records device")
    func job() throws {
        var specification = specification(["/bin/program", "", "ä b"])
        specification.environment = ["A=1", "VBENCH_RECORDS=/elsewhere"]
        let job = try entries(GuestImageBuilder(specification).initrd())[".vbench/job"]?.contents
        #expect(
            job == Array("3\u{0}2\u{0}/\u{0}/bin/program\u{0}\u{0}ä b\u{0}A=1\u{0}VBENCH_RECORDS=/dev/vbench\u{0}".utf8)
        )
    }

    @Test("standard input is a file at its agreed place")
    func standardInput() throws {
        var specification = specification()
        specification.files.append(
            GuestFile(hostPath: try folder.file("in", [1, 2, 3]), guestPath: "/.vbench/stdin"))
        #expect(try entries(GuestImageBuilder(specification).initrd())[".vbench/stdin"]?.contents == [1, 2, 3])
    }

    @Test("the same trial gives the same bytes")
    func reproducible() throws {
        #expect(try GuestImageBuilder(specification()).initrd() == GuestImageBuilder(specification()).initrd())
    }

    private func failure(_ specification: TrialSpecification) -> String? {
        do {
            _ = try GuestImageBuilder(specification).initrd()
            return nil
        } catch { return error.description }
    }

    @Test("what cannot be put into a guest says why")
    func failures() throws {
        #expect(failure(specification([])) == "no program given")
        #expect(failure(specification(["/bin/other"]))?.contains("/bin/other is not in") == true)
        #expect(failure(specification(["/bin/program", "a\u{0}b"]))?.contains("zero bytes") == true)

        var unfit = specification()
        unfit.files[0].hostPath = try folder.file("script", Array("#!/bin/sh\n".utf8))
        #expect(failure(unfit)?.contains("not an ELF program") == true)

        var missing = specification()
        missing.files.append(GuestFile(hostPath: "/nonexistent/data", guestPath: "/data"))
        #expect(failure(missing)?.contains("/nonexistent/data") == true)

        var device = specification()
        device.files.append(GuestFile(hostPath: "/dev/zero", guestPath: "/zero"))
        #expect(failure(device)?.contains("not a regular file") == true)

        var large = specification()
        large.files.append(
            GuestFile(hostPath: try folder.file("large", [UInt8](repeating: 0, count: 2 << 20)), guestPath: "/large"))
        large.memoryBytes = 1 << 20
        #expect(failure(large)?.contains("give it more memory") == true)

        for path in ["relative", "/a/../b", "", "/bin/program", "/bin", "/bin/program/x", "/.vbench/job"] {
            var misplaced = specification()
            misplaced.files.append(GuestFile(hostPath: program, guestPath: path))
            #expect(failure(misplaced) != nil, "accepted a file at '\(path)'")
        }
    }
}
