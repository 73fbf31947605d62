import Glibc
import GuestInterface
import Machine
import Results

/// Makes the file tree that a guest boots with: the trial's files, its job and a records device for it.
public struct GuestImageBuilder {
    /// Why the trial cannot be put into a guest. The message is for the person who wrote the trial.
    public struct Failure: Error, Equatable, CustomStringConvertible {
        public var description: String
    }

    private let specification: TrialSpecification

    public init(_ specification: TrialSpecification) { self.specification = specification }

    /// The newc cpio archive.
    ///
    /// - Throws: `Failure` when the program is missing or unfit, or a file cannot be read or placed.
    public func initrd() throws(Failure) -> [UInt8] {
        let program = try checkedProgram()
        var archive = CpioArchive()
        do {
            try archive.addDirectory("/tmp", mode: 0o1777)
            try archive.addDirectory("/dev")
            try archive.addFile("\(Job.path)", contents: job())
            for file in specification.files {
                switch file.kind {
                case .folder: try archive.addDirectory(file.guestPath, mode: UInt32(file.mode))
                case .symbolicLink(let target): try archive.addSymbolicLink(file.guestPath, target: target)
                case .file:
                    try archive.addFile(
                        file.guestPath, contents: contents(of: file),
                        mode: UInt32(file.mode) | (file == program ? 0o111 : 0))
                }
            }
            try archive.addDirectory(specification.workingDirectory)
        } catch let error as Failure {
            throw error
        } catch {
            throw Failure(description: "\(error)")
        }
        return archive.finished()
    }

    /// The file of the program, found in the tree and fit to run.
    private func checkedProgram() throws(Failure) -> GuestFile {
        guard let path = specification.arguments.first else { throw Failure(description: "no program given") }
        guard let file = specification.program else {
            throw Failure(description: "\(path) is not in the program's file tree: give it with --file HOST:\(path)")
        }
        let interpreter: String?
        do { interpreter = try ProgramFile(checking: file.hostPath).interpreter } catch {
            throw Failure(description: "\(error)")
        }
        if let interpreter, GuestTree(specification.files).entry(at: interpreter) == nil {
            throw Failure(
                description: "\(path) is dynamically linked, and its dynamic linker \(interpreter) is not in the "
                    + "guest's file tree: give it with --file \(interpreter):\(interpreter), and the libraries too")
        }
        return file
    }

    /// Looks before it reads: a device has no end, and a file larger than the guest would fill the host first.
    private func contents(of file: GuestFile) throws(Failure) -> [UInt8] {
        var status = stat()
        guard stat(file.hostPath, &status) == 0 else {
            throw Failure(description: "\(file.hostPath) cannot be read: \(String(cString: strerror(errno)))")
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw Failure(description: "\(file.hostPath) cannot be put into a guest: it is not a regular file")
        }
        guard UInt64(status.st_size) < specification.memoryBytes else {
            throw Failure(
                description: "\(file.hostPath) has \(status.st_size >> 20) MiB, which do not fit into a guest with "
                    + "\(specification.memoryBytes >> 20) MiB of memory; give it more memory")
        }
        do throws(SystemError) {
            return try Descriptor(opening: file.hostPath, flags: O_RDONLY).readToEnd(expecting: Int(status.st_size))
        } catch {
            throw Failure(description: "\(file.hostPath) cannot be read: \(error)")
        }
    }

    /// The job file (syntax: `GuestInterface.Job`).
    private func job() throws(Failure) -> [UInt8] {
        let variable = "\(Job.recordsVariable)="
        let environment =
            specification.environment.filter { !$0.hasPrefix(variable) } + [variable + "\(Job.recordsPath)"]
        var bytes: [UInt8] = []
        let strings =
            ["\(specification.arguments.count)", "\(environment.count)", specification.workingDirectory]
            + specification.arguments + environment
        for string in strings {
            guard !string.utf8.contains(0) else {
                throw Failure(
                    description: "\(string.debugDescription): arguments and environment cannot hold zero bytes")
            }
            bytes += string.utf8
            bytes.append(0)
        }
        return bytes
    }
}
