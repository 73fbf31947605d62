import Backends
import FoundationEssentials
import Glibc
import Suite

/// The files of a suite's workloads on this host: generated ones and texts are written once, into a folder of the run.
final class SuiteFiles {
    /// Made when the first file is.
    private var folder: String?
    private var made: [String: String] = [:]
    private var count = 0

    deinit {
        if let folder { try? FileManager.default.removeItem(atPath: folder) }
    }

    /// The host's file with this content.
    ///
    /// - Throws: `SystemError` when it cannot be written in `TMPDIR` (else `/tmp`).
    func path(of content: FileContent) throws(SystemError) -> String {
        switch content {
        case .host(let path): return path
        case .text(let text):
            return try make(key: "text:" + text) { (file) throws(SystemError) in try file.write(Array(text.utf8)) }
        case .generated(let generated):
            return try make(key: "\(generated)") { (file) throws(SystemError) in
                try generated.forEachChunk { (chunk) throws(SystemError) in try file.write(chunk) }
            }
        }
    }

    private func make(
        key: String, _ body: (Descriptor) throws(SystemError) -> Void
    ) throws(SystemError) -> String {
        if let path = made[key] { return path }
        if folder == nil { folder = try TemporaryFolder.make("vbench-files") }
        let path = "\(folder ?? "")/\(count)"
        count += 1
        let file = try Descriptor(opening: path, flags: O_WRONLY | O_CREAT | O_EXCL)
        do { try body(file) } catch { throw SystemError("write the input file \(path)", code: error.code) }
        made[key] = path
        return path
    }
}
