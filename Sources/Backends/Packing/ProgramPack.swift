import Machine

/// Why a program of the host cannot be packed.
public enum ProgramPackError: Error, CustomStringConvertible {
    case program(ProgramFileError)
    case libraries(program: String, LibrarySearchError)
    case files(HostTreeError)

    public var description: String {
        switch self {
        case .program(let error): "\(error)"
        case .libraries(let program, let error): "\(program): \(error)"
        case .files(let error): "\(error)"
        }
    }
}

/// A program of the host with everything that it is started with: its file, and for a dynamically linked one its dynamic linker,
/// the shared libraries, and the dynamic linker's cache, each at its own path.
///
/// What a program opens while it runs is not known before: modules that it loads by itself (dlopen), locale and configuration files.
public struct ProgramPack: Sendable {
    /// The program first.
    public let files: [GuestFile]

    /// - Parameters:
    ///   - host: The program's file.
    ///   - environment: The program's, `NAME=value`: it may change where libraries are searched.
    public init(host: String, guest: String, environment: [String]) throws(ProgramPackError) {
        let program: ProgramFile
        do { program = try ProgramFile(checking: host) } catch { throw .program(error) }
        guard program.interpreter != nil else {
            files = [GuestFile(hostPath: host, guestPath: guest, executable: true)]
            return
        }
        do {
            var files = try HostTree.chain(host: host, guest: guest)
            let real = files.last?.hostPath ?? host
            let object = try Self.object(host)
            var paths = try Self.libraries(of: real, object, environment)
            if (try? HostTree.entries(host: LibraryCache.path, guest: LibraryCache.path)) != nil {
                paths.append(LibraryCache.path)
            }
            for path in paths {
                let plain = GuestPath.resolve(path, from: "/")
                files += try HostTree.chain(host: plain, guest: plain).filter { new in
                    !files.contains { $0.guestPath == new.guestPath }
                }
            }
            self.files = files
        } catch let error as HostTreeError {
            throw .files(error)
        } catch let error as LibrarySearchError {
            throw .libraries(program: host, error)
        } catch {
            throw .program(.corrupt(path: host, detail: "\(error)"))
        }
    }

    private static func object(_ path: String) throws -> DynamicObject { try DynamicObject(path: path) }

    private static func libraries(
        of path: String, _ object: DynamicObject, _ environment: [String]
    ) throws -> [String] {
        try LibrarySearch(environment: environment).libraries(of: path, object)
    }
}
