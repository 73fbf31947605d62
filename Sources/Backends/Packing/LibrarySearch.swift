import FoundationEssentials
import Glibc
import Machine

/// Why a program's libraries cannot be gathered.
public enum LibrarySearchError: Error, Equatable, CustomStringConvertible {
    case missing(name: String, neededBy: String, searched: [String])
    case unusable(DynamicObjectError)

    public var description: String {
        switch self {
        case .missing(let name, let neededBy, let searched):
            "the library \(name), which \(neededBy) needs, is not on this host (searched: "
                + searched.joined(separator: ", ") + "): install it, or name its folder with LD_LIBRARY_PATH in the "
                + "program's environment"
        case .unusable(let error): "\(error)"
        }
    }
}

/// Finds the shared libraries that a program is started with, without running it: in the order of ld.so(8), which is that of glibc's
/// elf/dl-load.c.
///
///     a name with a slash     that file
///     else, in this order     RPATH of who needs it and of who loaded that, up to the program (where there is no RUNPATH)
///                             LD_LIBRARY_PATH
///                             RUNPATH of who needs it
///                             the cache
///                             the default folders
///
/// A library may have versions for special CPUs (`glibc-hwcaps`). Which of them is taken is up to the CPU that a guest sees: all of
/// them are found.
public struct LibrarySearch {
    /// Folders that are searched last; Debian's, then those of distributions without multiarch folders.
    public static let defaultFolders = [
        "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib",
    ]

    /// An object that the dynamic linker has loaded.
    private final class Loaded {
        let path: String
        let object: DynamicObject
        let loader: Loaded?
        var names: Set<String>

        init(path: String, object: DynamicObject, loader: Loaded?, name: String) {
            self.path = path
            self.object = object
            self.loader = loader
            names = [name, path]
            if let soname = object.soname { names.insert(soname) }
        }
    }

    private let libraryPath: [String]
    private let preloaded: [String]
    private let cache: LibraryCache
    private let defaultFolders: [String]

    /// - Parameter environment: The program's, `NAME=value`; LD_LIBRARY_PATH and LD_PRELOAD count.
    public init(
        environment: [String], cache: LibraryCache = LibraryCache(),
        defaultFolders: [String] = LibrarySearch.defaultFolders
    ) {
        func value(_ name: String) -> Substring? {
            environment.last { $0.hasPrefix(name + "=") }?.dropFirst(name.count + 1)
        }
        libraryPath = value("LD_LIBRARY_PATH")?.split { $0 == ":" || $0 == ";" }.map(String.init) ?? []
        preloaded = value("LD_PRELOAD")?.split { $0 == ":" || $0 == " " }.map(String.init) ?? []
        self.cache = cache
        self.defaultFolders = defaultFolders
    }

    /// The files that the program's dynamic linker opens: itself, then the libraries in the order they are loaded.
    ///
    /// - Parameter path: The program's file, symbolic links resolved: `$ORIGIN` is its folder.
    public func libraries(of path: String, _ program: DynamicObject) throws(LibrarySearchError) -> [String] {
        guard let interpreter = program.interpreter else { return [] }
        let main = Loaded(path: path, object: program, loader: nil, name: path)
        guard access(interpreter, R_OK) == 0 else {
            throw .missing(name: interpreter, neededBy: path, searched: [interpreter])
        }
        let linker = Loaded(path: interpreter, object: try object(interpreter), loader: main, name: interpreter)
        var all = [main, linker]
        var files = [interpreter]
        var next = 0
        var wanted = preloaded.map { ($0, main) }
        while true {
            for (name, loader) in wanted where !all.contains(where: { $0.names.contains(name) }) {
                let found = try find(name, for: loader)
                files += found.filter { !files.contains($0) }
                // The plain version comes last; what it needs, the special ones need as well.
                guard let plain = found.last else { continue }
                all.append(Loaded(path: plain, object: try object(plain), loader: loader, name: name))
                for special in found.dropLast() {
                    all.append(Loaded(path: special, object: try object(special), loader: loader, name: special))
                }
            }
            guard next < all.count else { return files }
            let loader = all[next]
            wanted = loader.object.needed.map { ($0, loader) }
            next += 1
        }
    }

    private func object(_ path: String) throws(LibrarySearchError) -> DynamicObject {
        do { return try DynamicObject(path: path) } catch { throw .unusable(error) }
    }

    /// All versions of a library, the plain one last.
    private func find(_ name: String, for loader: Loaded) throws(LibrarySearchError) -> [String] {
        if name.contains("/") {
            let path = expand(name, origin: loader.path)
            guard isLibrary(path) else { throw .missing(name: name, neededBy: loader.path, searched: [path]) }
            return [path]
        }
        var searched: [String] = []
        for folder in folders(for: loader) {
            if searched.contains(folder) { continue }
            searched.append(folder)
            let found = versions(of: name, in: folder)
            if !found.isEmpty { return found }
        }
        let cached = cache.files(named: name).filter { path in
            isLibrary(path) && !(loader.object.ignoresDefaultFolders && isInDefaultFolder(path))
        }
        if !cached.isEmpty { return cached }
        searched.append(LibraryCache.path)
        if !loader.object.ignoresDefaultFolders {
            for folder in defaultFolders {
                searched.append(folder)
                let found = versions(of: name, in: folder)
                if !found.isEmpty { return found }
            }
        }
        throw .missing(name: name, neededBy: loader.path, searched: searched)
    }

    /// What is searched before the cache.
    private func folders(for loader: Loaded) -> [String] {
        var folders: [String] = []
        if loader.object.runpath == nil {
            var ancestor: Loaded? = loader
            while let object = ancestor {
                folders += split(object.object.rpath, origin: object.path)
                ancestor = object.loader
            }
        }
        folders += libraryPath.map { expand($0, origin: loader.path) }
        return folders + split(loader.object.runpath, origin: loader.path)
    }

    private func split(_ path: String?, origin: String) -> [String] {
        path?.split(separator: ":").map { expand(String($0), origin: origin) } ?? []
    }

    /// Dynamic string tokens, ld.so(8).
    private func expand(_ text: String, origin: String) -> String {
        guard text.contains("$") else { return text }
        let folder = GuestPath.folder(of: origin)
        let library = defaultFolders.first?.hasSuffix("x86_64-linux-gnu") == true ? "lib/x86_64-linux-gnu" : "lib64"
        var result = text
        for (name, value) in [("ORIGIN", folder), ("LIB", library), ("PLATFORM", "x86_64")] {
            result = result.replacing("${\(name)}", with: value).replacing("$\(name)", with: value)
        }
        return result
    }

    private func versions(of name: String, in folder: String) -> [String] {
        let special = folder + "/glibc-hwcaps"
        let levels = (try? FileManager.default.contentsOfDirectory(atPath: special))?.sorted(by: >) ?? []
        return (levels.map { "\(special)/\($0)/\(name)" } + ["\(folder)/\(name)"]).filter(isLibrary)
    }

    /// Others are passed over, as a library for 32-bit programs is.
    private func isLibrary(_ path: String) -> Bool { (try? DynamicObject(path: path)) != nil }

    private func isInDefaultFolder(_ path: String) -> Bool { defaultFolders.contains(GuestPath.folder(of: path)) }
}
