import Foundation
import GuestImages
import Machine
import MachineTesting

/// Nub in QEMU: the console has the program's output and the kernel's log.
extension Emulator {
    static let ended: Int32 = 0x10 << 1 | 1
    static let panicked: Int32 = 0x11 << 1 | 1
    static let couldNotStart: Int32 = 0x12 << 1 | 1

    /// Boots the kernel with a file tree and runs `command` (words are split at spaces) in it.
    static func run(
        _ command: String, files: [(path: String, contents: [UInt8], mode: UInt32)], megabytes: Int = 128,
        kernelOptions: String = ""
    ) throws -> EmulatorRun {
        var archive = CpioArchive()
        for file in files { try archive.addFile(file.path, contents: file.contents, mode: file.mode) }
        let initrd = FileManager.default.temporaryDirectory.appending(path: "tree-\(UUID().uuidString).cpio")
        defer { try? FileManager.default.removeItem(at: initrd) }
        try Data(archive.finished()).write(to: initrd)
        return try boot(
            kernel: try GuestImages.kernel(), megabytes: megabytes,
            arguments: ["-initrd", initrd.path, "-append", "\(kernelOptions) -- \(command)"])
    }
}
