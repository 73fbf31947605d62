import Foundation
import MachineTesting
import Testing

/// Nub on a machine that vbench has no part in: what works here and not under a VMM of ours is the VMM's fault.
@Suite("Nub in QEMU", .serialized, .enabled(if: Emulator.isInstalled, "qemu-system-x86_64 is not installed"))
struct NubTests {
    private typealias File = (path: String, contents: [UInt8], mode: UInt32)

    /// A C program of the folder Programs, compiled. Dynamically linked on request.
    private static func compile(_ name: String = "linux-abi", dynamic: Bool) throws -> [UInt8] {
        let source = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Programs/\(name).c")
        let output = FileManager.default.temporaryDirectory.appending(path: "\(name)-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: output) }
        let compiler = try #require(Emulator.find("clang") ?? Emulator.find("cc"), "no C compiler in PATH")
        let process = Process()
        process.executableURL = URL(filePath: compiler)
        process.arguments = ["-O2", "-w", dynamic ? "-pie" : "-static", source.path, "-o", output.path]
        process.arguments?.insert("-fPIE", at: 0)
        if !dynamic { process.arguments?[0] = "-fno-pie" }
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "\(compiler) cannot compile \(name).c")
        return [UInt8](try Data(contentsOf: output))
    }

    private static let program = Result { try compile(dynamic: false) }

    private func files() throws -> [File] { [("/bin/abi", try NubTests.program.get(), 0o755)] }

    private func busybox() throws -> [File] {
        let contents = try #require(
            FileManager.default.contents(atPath: "/bin/busybox"), "/bin/busybox is not installed")
        return [("/bin/busybox", [UInt8](contents), 0o755)]
    }

    @Test func argumentsAndExitStatusPass() throws {
        let run = try Emulator.run("/bin/abi echo one two", files: files())
        #expect(run.console == "[one][two]\nnub: program ended, status 0x400\n")
        #expect(run.exitCode == Emulator.ended)
    }

    @Test func linuxABIHolds() throws {
        let run = try Emulator.run("/bin/abi", files: files())
        #expect(run.lines.contains("linux-abi: all right"), "\(run.console)")
        #expect(run.lines.last == "nub: program ended, status 0x0")
    }

    @Test func signalsAndWaitsAreAsInLinux() throws {
        let program = try NubTests.compile("linux-signals", dynamic: false)
        let run = try Emulator.run("/bin/signals", files: [("/bin/signals", program, 0o755)])
        #expect(run.lines.contains("linux-signals: all right"), "\(run.console)")
        #expect(run.lines.last == "nub: program ended, status 0x0")
    }

    @Test func digestsAreThoseOfTheHost() throws {
        var text = ""
        for number in 0..<50_000 { text += "line \(number &* 2_654_435_761 % 1_000_003)\n" }
        let host = FileManager.default.temporaryDirectory.appending(path: "nub-\(UUID().uuidString)")
        try Data(text.utf8).write(to: host)
        defer { try? FileManager.default.removeItem(at: host) }
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(filePath: "/bin/busybox")
        process.arguments = ["sha256sum"]
        process.standardInput = try FileHandle(forReadingFrom: host)
        process.standardOutput = pipe
        try process.run()
        let expected = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self).prefix(64)
        process.waitUntilExit()
        #expect(expected.count == 64)

        let run = try Emulator.run(
            "/bin/busybox sha256sum /text", files: busybox() + [("/text", Array(text.utf8), 0o644)])
        #expect(run.lines.first == "\(expected)  /text")
    }

    @Test func shellsRunPipelines() throws {
        let script = """
            seq 1 1000 | sort -rn | head -n 2
            i=0; while [ $i -lt 30 ]; do i=$((i + 1)); done; echo i=$i
            seq 1 50000 > /tmp/f; gzip -c /tmp/f | gzip -dc | cmp - /tmp/f && echo same
            bzip2 -c /tmp/f | bzip2 -dc | wc -l
            (exit 3); echo status $?
            echo abc | sed s/b/X/ | tr a-z A-Z; awk 'BEGIN { print 1.5 * 3 }'
            cd /tmp && mkdir d && mv f d/g && ls d && rm -r d && ls
            exit 5
            """
        let run = try Emulator.run(
            "/bin/busybox ash /script", files: busybox() + [("/script", Array(script.utf8), 0o644)])
        #expect(
            run.lines == [
                "1000", "999", "i=30", "same", "50000", "status 3", "AXC", "4.5", "g",
                "nub: program ended, status 0x500",
            ])
    }

    @Test func unknownSystemCallsAreCounted() throws {
        let run = try Emulator.run("/bin/abi unknown", files: files())
        #expect(run.lines == ["nub: system call 400 is not implemented; calls: 3", "nub: program ended, status 0x0"])
    }

    @Test func crashesAreReported() throws {
        let run = try Emulator.run("/bin/abi crash", files: files())
        #expect(run.lines.first?.hasPrefix("nub: process 1 ended by signal 11: exception 14") == true)
        #expect(run.lines.last == "nub: program ended, status 0xb")
        #expect(run.exitCode == Emulator.ended)
    }

    @Test(arguments: [
        ("/bin/none", "not found in the guest's file tree"),
        ("/bin/text", "not an ELF file"),
        ("/bin/data", "not executable"),
        ("/bin", "not a regular file"),
        ("/bin/short", "damaged ELF file"),
        ("/bin/32", "not a 64-bit ELF file"),
        ("/bin/dynamic", "dynamically linked, and its dynamic linker is not in the file tree"),
    ])
    func unusableProgramsAreRefused(path: String, reason: String) throws {
        let whole = try NubTests.program.get()
        var small = whole
        small[4] = 1
        var contents: [UInt8] = []
        switch path {
        case "/bin/text":
            contents = Array("echo no ELF file, and longer than an ELF header has bytes: it must be\n".utf8)
        case "/bin/short": contents = Array(whole.prefix(5000))
        case "/bin/32": contents = small
        case "/bin/dynamic": contents = try NubTests.compile(dynamic: true)
        default: contents = whole
        }
        var tree: [File] = [("/bin/data", whole, 0o644)]
        if path != "/bin" && path != "/bin/none" && path != "/bin/data" { tree.append((path, contents, 0o755)) }
        let run = try Emulator.run(path, files: tree)
        #expect(run.console == "nub: cannot start \(path): \(reason)\n")
        #expect(run.exitCode == Emulator.couldNotStart)
    }

    @Test func faultsInTheKernelAreReported() throws {
        let run = try Emulator.run("/bin/abi", files: files(), kernelOptions: "nub.panic")
        #expect(run.lines.first == "panic: exception in ring 0, vector 14")
        #expect(run.lines.contains { $0.hasPrefix("called from 0xffffffff80") })
        #expect(run.exitCode == Emulator.panicked)
    }

    @Test func exhaustedMemoryCostsTheProcess() throws {
        let run = try Emulator.run("/bin/abi exhaust", files: files(), megabytes: 32)
        #expect(run.lines.filter { $0 == "memory hog ended by signal 9" }.count == 3)
        #expect(run.lines.contains("500 forks"))
    }

    @Test func hostileCallsDoNoHarm() throws {
        let run = try Emulator.run("/bin/abi hostile 200", files: files())
        #expect(run.lines.contains("hostile calls survived"))
        #expect(run.exitCode == Emulator.ended)
    }
}
