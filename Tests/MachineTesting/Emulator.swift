import Foundation

/// A run of a kernel in QEMU's emulator (TCG), with no code of vbench's machines in between.
public struct EmulatorRun {
    /// What came from the serial port.
    public var console: String
    /// QEMU's exit code: (value written to the debug-exit port << 1) | 1.
    public var exitCode: Int32

    public var lines: [Substring] { console.split(separator: "\n") }
}

public enum Emulator {
    private static let path = find("qemu-system-x86_64")

    public static var isInstalled: Bool { path != nil }

    /// The file of this name in PATH.
    public static func find(_ program: String) -> String? {
        (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map { "\($0)/\(program)" }
            .first { FileManager.default.isExecutableFile(atPath: $0) }
    }

    /// Boots a kernel through its PVH note; `arguments` are further ones of QEMU's. It is ended after two minutes.
    public static func boot(kernel: String, megabytes: Int, cpu: String = "max", arguments: [String] = []) throws
        -> EmulatorRun
    {
        let console = FileManager.default.temporaryDirectory.appending(path: "console-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: console) }
        let process = Process()
        process.executableURL = URL(filePath: path ?? "qemu-system-x86_64")
        process.arguments =
            [
                "-accel", "tcg", "-cpu", cpu, "-m", "\(megabytes)", "-display", "none", "-vga", "none", "-net", "none",
                "-monitor", "none", "-no-reboot", "-serial", "file:\(console.path)", "-kernel", kernel, "-device",
                "isa-debug-exit,iobase=0xf4,iosize=4",
            ] + arguments
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
