import Foundation

/// The kernels under Kernels/, compiled once a process by clang and ld.lld, which the build of the guest code needs as well.
public enum TestKernel: String, CaseIterable, Sendable {
    case bootInformation = "boot-information"
    case modes
    case segments
    case interrupts
    /// 64-bit, for the vbench protocol.
    case deviceMemory = "device-memory"
    case compatibilityUser = "compatibility-user"

    private static let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Kernels/build.sh")
    /// A folder of kernels that are built already, for machines without the compiler.
    private static let builtFolder = ProcessInfo.processInfo.environment["VBENCH_TEST_KERNELS"]
    private static let compiled = Compiled()

    /// The ELF file. Throws what the compiler said.
    public func contents() throws -> [UInt8] { try Self.compiled.contents(of: self) }

    private struct ToolFailure: Error, CustomStringConvertible { var description: String }

    /// Builds each kernel at most once.
    private final class Compiled: @unchecked Sendable {
        // Invariant: `known` is only touched under `lock`.
        private let lock = NSLock()
        private var known: [TestKernel: [UInt8]] = [:]

        func contents(of kernel: TestKernel) throws -> [UInt8] {
            try lock.withLock {
                if let contents = known[kernel] { return contents }
                let contents = try build(kernel)
                known[kernel] = contents
                return contents
            }
        }

        private func build(_ kernel: TestKernel) throws -> [UInt8] {
            if let folder = TestKernel.builtFolder {
                return [UInt8](try Data(contentsOf: URL(filePath: "\(folder)/\(kernel.rawValue)")))
            }
            let image = FileManager.default.temporaryDirectory.appending(path: "vbench-\(UUID().uuidString)")
            defer { try? FileManager.default.removeItem(at: image) }
            let process = Process()
            process.executableURL = TestKernel.script
            process.arguments = [kernel.rawValue, image.path]
            let errors = Pipe()
            process.standardError = errors
            try process.run()
            let text = errors.fileHandleForReading.readDataToEndOfFile()
            process.waitUntilExit()
            guard process.terminationStatus == 0 else {
                throw ToolFailure(description: String(decoding: text, as: UTF8.self))
            }
            return [UInt8](try Data(contentsOf: image))
        }
    }
}

/// QEMU's emulator, the referee: the same kernels on a machine that vbench has no part in.
public enum Referee {
    /// Path of the emulator, nil where it is not installed.
    public static let emulator: String? = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        .map { "\($0)/qemu-system-x86_64" }.first { FileManager.default.isExecutableFile(atPath: $0) }

    public struct Run: Equatable {
        public var serial: String
        /// What the guest wrote to the debug-exit port; nil when it ended otherwise.
        public var exitCode: UInt32?
    }

    /// Boots a kernel by multiboot or PVH, as QEMU chooses.
    public static func run(kernel: [UInt8], commandLine: String = "", module: [UInt8] = []) throws -> Run {
        let folder = FileManager.default.temporaryDirectory.appending(path: "vbench-referee-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        func file(_ name: String) -> URL { folder.appending(path: name) }
        try Data(kernel).write(to: file("kernel"))
        try Data(module).write(to: file("module"))
        let process = Process()
        process.executableURL = URL(filePath: emulator ?? "qemu-system-x86_64")
        process.arguments =
            [
                "-accel", "tcg", "-cpu", "max", "-m", "64", "-display", "none", "-vga", "none", "-net", "none",
                "-monitor", "none", "-no-reboot", "-serial", "file:\(file("serial").path)", "-kernel",
                file("kernel").path, "-append", commandLine, "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
            ] + (module.isEmpty ? [] : ["-initrd", file("module").path])
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        let deadline = Date(timeIntervalSinceNow: 60)
        while process.isRunning && Date() < deadline { usleep(10_000) }
        if process.isRunning { process.terminate() }
        process.waitUntilExit()
        let status = process.terminationStatus
        return Run(
            serial: String(decoding: (try? Data(contentsOf: file("serial"))) ?? Data(), as: UTF8.self),
            exitCode: status & 1 == 1 ? UInt32(status >> 1) : nil)
    }
}
