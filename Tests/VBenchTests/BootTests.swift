import Foundation
import GuestImages
import Machine
import MachineTesting
import Testing

@Suite("vbench boot")
struct BootTests {
    private let scratch = Scratch()

    private func boot(_ arguments: String..., backend: String = "software") throws -> VBenchProcess.Outcome {
        try VBenchProcess.run(["boot", "--backend", backend, "--timeout", "30"] + arguments)
    }

    private func kernel(_ kernel: TestKernel) throws -> String {
        try scratch.write(kernel.rawValue, Data(try kernel.contents()))
    }

    @Test("The serial port is standard output, the debug-exit port the exit code")
    func console() throws {
        let module = try scratch.write("module", "hello")
        for name in ["auto", "pvh", "multiboot"] {
            let outcome = try boot(
                "--protocol", name, "--initrd", module, "--append", "-x --y", try kernel(.bootInformation))
            #expect(outcome.code == 0x21, "\(outcome.errors)")
            #expect(outcome.output.contains(name == "multiboot" ? "\nmultiboot\n" : "\nPVH\n"))
            #expect(outcome.output.contains("command line: -x --y\n"))
            #expect(outcome.output.contains("module: hello\n"))
        }
    }

    @Test("A kernel that resets its machine: 122; one that halts for good: 121")
    func reset() throws {
        let outcome = try boot(try kernel(.interrupts))
        #expect(outcome.code == 122, "\(outcome.errors)")
        var code = GuestCode()
        code.raw(0xF4)
        #expect(try boot(try scratch.write("halts", Data(ElfBuilder(code: code.bytes).bytes))).code == 121)
    }

    @Test("What is not supported ends the machine in words: 125")
    func unsupported() throws {
        let outcome = try boot(try kernel(.compatibilityUser))
        #expect(outcome.code == 125)
        #expect(outcome.errors.contains("does not support ring-3 code outside 64-bit mode"))
    }

    @Test("The time limit: 124")
    func timeLimit() throws {
        var code = GuestCode()
        code.raw(0xEB, 0xFE)  // jmp to itself
        let path = try scratch.write("loops", Data(ElfBuilder(code: code.bytes).bytes))
        let outcome = try VBenchProcess.run(["boot", "--backend", "software", "--timeout", "0.3", path])
        #expect(outcome.code == 124)
        #expect(outcome.errors.contains("time limit"))
    }

    @Test("A file that is no kernel, or not by this protocol: 126; no file: 127; wrong usage: 64")
    func unfit() throws {
        let text = try boot(try scratch.write("text", "hello, this is no kernel at all, and long enough to be one\n"))
        #expect(text.code == 126)
        #expect(text.errors.contains("not an ELF file"))
        let other = try boot("--protocol", "vbench", try kernel(.bootInformation))
        #expect(other.code == 126)
        #expect(other.errors.contains("64-bit mode"))
        #expect(try boot("--memory", "1MiB", try kernel(.bootInformation)).code == 126)
        #expect(try boot("/no/such/kernel").code == 127)
        #expect(try VBenchProcess.run(["boot", "/no/such/kernel"]).code == 64)
        #expect(try boot("--protocol", "grub", try kernel(.bootInformation)).code == 64)
    }

    @Test("Nub boots by PVH as by the vbench protocol, under each VMM")
    func nub() throws {
        guard FileManager.default.isExecutableFile(atPath: "/bin/busybox") else { return }
        var archive = CpioArchive()
        try archive.addFile(
            "/bin/busybox", contents: [UInt8](try Data(contentsOf: URL(filePath: "/bin/busybox"))), mode: 0o755)
        let initrd = try scratch.write("tree.cpio", Data(archive.finished()))
        for backend in ["software", "kvm"] {
            if backend == "kvm" && access("/dev/kvm", R_OK | W_OK) != 0 { continue }
            for name in ["vbench", "pvh"] {
                let outcome = try boot(
                    "--protocol", name, "--initrd", initrd, "--append", "-- /bin/busybox seq 1 3",
                    try GuestImages.kernel(), backend: backend)
                #expect(outcome.code == 0x10, "\(backend) \(name): \(outcome.errors)")
                #expect(outcome.output.hasPrefix("1\n2\n3\n"), "\(backend) \(name): \(outcome.output)")
            }
        }
    }

    @Test("Standard input reaches the serial port")
    func input() throws {
        // Echoes what it receives until a 'q': in 64-bit code, RBX = 0x3F8.
        var code = GuestCode()
        code.edx(0x3FD)
        code.raw(0xEC, 0xA8, 0x01, 0x74, 0xFB)  // in al, dx; test al, 1; jz -5
        code.edx(0x3F8)
        code.raw(0xEC, 0xEE, 0x3C, 0x71)  // in al, dx; out dx, al; cmp al, 'q'
        code.raw(0x75, 0xEB)  // jne to the start
        code.exit(7)
        let path = try scratch.write("echoes", Data(ElfBuilder(code: code.bytes).bytes))
        let outcome = try VBenchProcess.shell(
            "printf 'abcq' | \"$VBENCH\" boot --backend software --timeout 20 \(path)")
        #expect(outcome.output == "abcq")
        #expect(outcome.code == 7)
    }
}
