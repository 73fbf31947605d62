import Foundation
import Machine
import Testing

@testable import Backends

/// The order of ld.so(8).
@Suite("Libraries of a dynamically linked program")
struct LibrarySearchTests {
    private let workshop: Workshop

    init() throws { workshop = try Workshop() }

    private static let main = "int answer(void); int main(void) { return answer(); }"

    /// The library `libanswer.so` in some folders, and a program linked with it.
    private func program(_ options: String..., libraries: [String]) throws -> String {
        for folder in libraries { try workshop.library("\(folder)/libanswer.so") }
        try workshop.library("link/libanswer.so")
        return try workshop.compile(
            "bin/program", Self.main, ["-Llink", "-lanswer"] + options.map { $0.replacing("@", with: workshop.path) })
    }

    /// Where the search finds what the program needs, below the workshop's folder; `lib` there is the only default folder.
    private func found(
        _ program: String, _ environment: String..., cache: [UInt8] = []
    ) throws -> [String] {
        let search = LibrarySearch(
            environment: environment.map { $0.replacing("@", with: workshop.path) }, cache: LibraryCache(bytes: cache),
            defaultFolders: [workshop.path + "/lib", "/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64"])
        return try search.libraries(of: program, DynamicObject(path: program))
            .filter { $0.hasPrefix(workshop.path) }.map { String($0.dropFirst(workshop.path.count + 1)) }
    }

    @Test("come from LD_LIBRARY_PATH before RUNPATH, the cache and the default folders")
    func runpath() throws {
        let path = try program("-Wl,--enable-new-dtags,-rpath,@/run", libraries: ["run", "env", "cached", "lib"])
        let cache = Self.cache(["libanswer.so": [workshop.path + "/cached/libanswer.so"]])
        #expect(try found(path, "LD_LIBRARY_PATH=@/none:@/env", cache: cache) == ["env/libanswer.so"])
        #expect(try found(path, cache: cache) == ["run/libanswer.so"])
        try FileManager.default.removeItem(atPath: workshop.path + "/run")
        #expect(try found(path, cache: cache) == ["cached/libanswer.so"])
        #expect(try found(path) == ["lib/libanswer.so"])
    }

    @Test("come from RPATH before LD_LIBRARY_PATH")
    func rpath() throws {
        let path = try program("-Wl,--disable-new-dtags,-rpath,@/run", libraries: ["run", "env"])
        #expect(try found(path, "LD_LIBRARY_PATH=@/env") == ["run/libanswer.so"])
    }

    @Test("that libraries need are searched with the program's RPATH, but not with its RUNPATH")
    func transitive() throws {
        try workshop.library("run/libinner.so")
        try workshop.compile(
            "run/libouter.so", "int answer(void); int outer(void) { return answer(); }",
            ["-shared", "-fPIC", "-Lrun", "-linner"])
        let source = "int outer(void); int main(void) { return outer(); }"
        let options = ["-Lrun", "-louter", "-Wl,-rpath-link,run"]
        let old = try workshop.compile(
            "bin/old", source, options + ["-Wl,--disable-new-dtags,-rpath,\(workshop.path)/run"])
        #expect(try found(old) == ["run/libouter.so", "run/libinner.so"])
        let new = try workshop.compile(
            "bin/new", source, options + ["-Wl,--enable-new-dtags,-rpath,\(workshop.path)/run"])
        do {
            _ = try found(new)
            Issue.record("found libinner.so by a RUNPATH that is not for it")
        } catch let error as LibrarySearchError {
            guard case .missing(let name, let neededBy, let searched) = error else { throw error }
            #expect(name == "libinner.so")
            #expect(neededBy == workshop.path + "/run/libouter.so")
            #expect(searched.contains(workshop.path + "/lib"))
            #expect("\(error)".contains("LD_LIBRARY_PATH"))
        }
    }

    @Test("$ORIGIN is the folder of who needs them; versions for special CPUs come along")
    func origin() throws {
        let path = try program("-Wl,-rpath,$ORIGIN/../own", libraries: ["own", "own/glibc-hwcaps/x86-64-v3"])
        #expect(
            try found(path) == [
                "bin/../own/glibc-hwcaps/x86-64-v3/libanswer.so", "bin/../own/libanswer.so",
            ])
    }

    @Test("of this test are those that its dynamic linker names")
    func sameAsDynamicLinker() throws {
        let executable = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().path
        let process = Process()
        let pipe = Foundation.Pipe()
        process.executableURL = URL(filePath: executable)
        process.environment = ["LD_TRACE_LOADED_OBJECTS": "1"]
        process.standardOutput = pipe
        try process.run()
        let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        let named = text.split(separator: "\n").compactMap { line in
            line.split { $0 == " " || $0 == "\t" }.first { $0.dropFirst().contains("/") || $0.hasPrefix("/") }.map(
                String.init)
        }
        try #require(named.contains { $0.contains("libc.so.6") })
        let search = LibrarySearch(environment: [])
        let found = try search.libraries(of: executable, DynamicObject(path: executable))
        #expect(Set(named).isSubset(of: found))
        #expect(found.filter { !$0.contains("glibc-hwcaps") }.count == Set(named).count)
    }

    @Test("the cache gives a name's files in its order, those of other architectures left out")
    func cacheFormat() {
        let cache = LibraryCache(
            bytes: Self.cache(["libx.so.1": ["/a/libx.so.1", "/b/libx.so.1"], "liby.so": ["/c/liby.so"]]))
        #expect(cache.files(named: "libx.so.1") == ["/a/libx.so.1", "/b/libx.so.1"])
        #expect(cache.files(named: "libz.so") == [])
        let foreign = LibraryCache(bytes: Self.cache(["libx.so.1": ["/a/libx.so.1"]], flags: 0x0803))
        #expect(foreign.files(named: "libx.so.1") == [])
        let whole = Self.cache(["libx.so.1": ["/a/libx.so.1"]])
        for length in 0..<whole.count { _ = LibraryCache(bytes: Array(whole.prefix(length))) }
        #expect(LibraryCache(bytes: Array(whole.dropLast())).files(named: "libx.so.1") == [])
    }

    /// A cache file, by the structures of glibc's sysdeps/generic/dl-cache.h.
    private static func cache(_ libraries: [String: [String]], flags: UInt32 = 0x0303) -> [UInt8] {
        let pairs = libraries.sorted { $0.key < $1.key }.flatMap { name, paths in paths.map { (name, $0) } }
        var strings: [UInt8] = []
        var entries: [UInt8] = []
        func word(_ value: Int) -> [UInt8] { withUnsafeBytes(of: UInt32(value).littleEndian) { Array($0) } }
        func place(_ text: String) -> Int {
            defer { strings += Array(text.utf8) + [0] }
            return 48 + 24 * pairs.count + strings.count
        }
        for (name, path) in pairs {
            entries += word(Int(flags)) + word(place(name)) + word(place(path)) + word(0) + word(0) + word(0)
        }
        return Array("glibc-ld.so.cache1.1".utf8) + word(pairs.count) + word(strings.count)
            + [UInt8](repeating: 0, count: 20) + entries + strings
    }
}
