import Foundation
import GuestImages
import Machine

/// A run of Nub in QEMU's emulator (TCG), with no code of vbench's machines in between.
struct EmulatorRun {
    /// The program's output and the kernel's log, as they came from the serial port.
    var console: String
    /// QEMU's exit code: (value written to the debug-exit port << 1) | 1.
    var exitCode: Int32

    var lines: [Substring] { console.split(separator: "\n") }
}

enum Emulator {
    static let ended: Int32 = 0x10 << 1 | 1
    static let panicked: Int32 = 0x11 << 1 | 1
    static let couldNotStart: Int32 = 0x12 << 1 | 1

    private static let path = find("qemu-system-x86_64")

    static var isInstalled: Bool { path != nil }

    /// The file of this name in PATH.
    static func find(_ program: String) -> String? {
        (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map { "\($0)/\(program)" }
            .first { FileManager.default.isExecutableFile(atPath: $0) }
    }

    /// Boots the kernel with a file tree and runs `command` (words are split at spaces) in it.
    static func run(
        _ command: String, files: [(path: String, contents: [UInt8], mode: UInt32)], megabytes: Int = 128,
        kernelOptions: String = ""
    ) throws -> EmulatorRun {
        var archive = CpioArchive()
        for file in files { try archive.addFile(file.path, contents: file.contents, mode: file.mode) }
        let folder = FileManager.default.temporaryDirectory.appending(path: "nub-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let initrd = folder.appending(path: "tree.cpio")
        let console = folder.appending(path: "console")
        try Data(archive.finished()).write(to: initrd)

        let process = Process()
        process.executableURL = URL(filePath: path ?? "qemu-system-x86_64")
        process.arguments = [
            "-accel", "tcg", "-cpu", "max", "-m", "\(megabytes)", "-display", "none", "-vga", "none", "-net", "none",
            "-monitor", "none", "-no-reboot", "-serial", "file:\(console.path)", "-kernel", try GuestImages.kernel(),
            "-initrd", initrd.path, "-append", "\(kernelOptions) -- \(command)", "-device",
            "isa-debug-exit,iobase=0xf4,iosize=4",
        ]
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let deadline = Date(timeIntervalSinceNow: 120)
        while process.isRunning && Date() < deadline { usleep(20_000) }
        if process.isRunning { process.terminate() }
        process.waitUntilExit()
        let text = String(decoding: (try? Data(contentsOf: console)) ?? Data(), as: UTF8.self)
        return EmulatorRun(console: text, exitCode: process.terminationStatus)
    }
}
