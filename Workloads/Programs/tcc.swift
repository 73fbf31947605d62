import Support
import TCCLibrary

typealias Program = CompileTree

/// A source tree through the Tiny C Compiler: every unit is read, compiled, and written as an object file.
///
/// The list of units says what is compiled: a line for each unit, a file's name and the macros to define for it.
struct CompileTree: Workload {
    static var name: StaticString { "tcc" }
    static var summary: StaticString { "the Tiny C Compiler (libtcc): compiles a source tree of the file tree" }
    static var operation: StaticString { "line of source" }
    static var options: StaticString {
        """
          --source D      folder of the tree (default /src)
          --units F       list of what to compile (default /units; Workloads/Trees has one)
          --include D     folder of the C library's headers (default /usr/include)
          --compiler D    folder of the compiler's own files (default /usr/lib/tcc)

        """
    }

    /// A line of the list.
    private struct Unit {
        var name: Text
        var macros: [Text]
    }

    /// In the compiler's folder.
    private static var headers: Text { Text("include") }
    private static var runtime: Text { Text("libtcc1.a") }

    private let source: Text
    private let include: Text
    private let compiler: Text
    private var object = Text()
    private var units: [Unit] = []
    private var lines: UInt64 = 0
    private var sum = Checksum()
    /// Digest of the first round's objects: the same in all others.
    private var expected: UInt64 = 0

    init(_ arguments: inout Arguments) {
        source = arguments.path("--source", default: "/src")
        let list = arguments.path("--units", default: "/units")
        include = arguments.path("--include", default: "/usr/include")
        compiler = arguments.path("--compiler", default: "/usr/lib/tcc")
        object.append("/tmp/vbench-tcc-")
        object.append(UInt64(getpid()))
        object.append(".o")
        readUnits(list)
        checkTranslation()
        compileAll()
        expected = sum.value
    }

    mutating func run(phase: Int) -> UInt64 {
        compileAll()
        return lines
    }

    mutating func outcome(phase: Int) -> Outcome { Outcome(got: sum.value, expected: expected) }

    mutating func finish() { _ = Self.withPath(object) { unlink($0) } }

    func appendValues(to records: inout Records) {
        records.appendValue("units", UInt64(units.count))
        records.appendValue("lines", lines)
    }

    // MARK: The timed work

    private mutating func compileAll() {
        sum = Checksum()
        for unit in units { compile(unit) }
    }

    /// One unit, as `tcc -c` does it; its object file goes into the digest.
    private mutating func compile(_ unit: Unit) {
        let state = makeCompiler(TCC_OUTPUT_OBJ, unit.macros)
        let path = join(source, unit.name)
        guard Self.withPath(path, { tcc_add_file(state, $0) }) >= 0,
            Self.withPath(object, { tcc_output_file(state, $0) }) >= 0
        else { refuse(unit) }
        tcc_delete(state)
        let contents = Self.contents(object)
        contents.withUnsafeBufferPointer { sum.mix(Corpus.digest($0.baseAddress!, $0.count)) }
    }

    private func makeCompiler(_ output: Int32, _ macros: [Text]) -> OpaquePointer? {
        let state = tcc_new()
        tcc_set_options(state, "-nostdinc -nostdlib -w -xc")
        tcc_set_output_type(state, output)
        _ = Self.withPath(join(compiler, Self.headers)) { tcc_add_sysinclude_path(state, $0) }
        _ = Self.withPath(include) { tcc_add_sysinclude_path(state, $0) }
        _ = Self.withPath(source) { tcc_add_include_path(state, $0) }
        for macro in macros { Self.withPath(macro) { tcc_define_symbol(state, $0, nil) } }
        return state
    }

    // MARK: The check

    /// Compiles the unit that defines `stbsp_snprintf` into memory, if there is one, and compares what it prints with what the C
    /// library prints.
    private mutating func checkTranslation() {
        for unit in units where unit.name.equals("stb_sprintf.h") {
            let state = makeCompiler(TCC_OUTPUT_MEMORY, unit.macros)
            let path = join(source, unit.name)
            vb_tcc_add_symbols(state)
            guard Self.withPath(path, { tcc_add_file(state, $0) }) >= 0 else { refuse(unit) }
            // From C to binary files.
            tcc_set_options(state, "-xb")
            guard Self.withPath(join(compiler, Self.runtime), { tcc_add_file(state, $0) }) >= 0,
                vb_tcc_relocate(state) >= 0,
                let print = tcc_get_symbol(state, "stbsp_snprintf")
            else { refuse(unit) }
            let line = UnsafeMutablePointer<CChar>.allocate(capacity: 256)
            let reference = UnsafeMutablePointer<CChar>.allocate(capacity: 256)
            let length = vb_tcc_line(print, line, 256)
            if length != vb_tcc_reference_line(reference, 256) || strcmp(line, reference) != 0 {
                var message = Text()
                message.append("compiled stb_sprintf prints '")
                message.append(cString: line)
                message.append("', the C library '")
                message.append(cString: reference)
                message.append("'")
                usageError(message)
            }
            tcc_delete(state)
        }
    }

    // MARK: The tree

    private mutating func readUnits(_ list: Text) {
        var words: [Text] = []
        var word = Text()
        for byte in Self.contents(list) {
            switch byte {
            case UInt8(ascii: " "), UInt8(ascii: "\n"):
                if !word.bytes.isEmpty { words.append(word) }
                word = Text()
                if byte == UInt8(ascii: "\n"), !words.isEmpty {
                    units.append(Unit(name: words[0], macros: Array(words[1...])))
                    words = []
                }
            default: word.append(byte: byte)
            }
        }
        guard !units.isEmpty else {
            var message = Text()
            message.append("the list of units is empty, or its last line has no end")
            usageError(message)
        }
        for unit in units {
            for byte in Self.contents(join(source, unit.name)) where byte == UInt8(ascii: "\n") { lines += 1 }
        }
    }

    private func join(_ folder: Text, _ name: Text) -> Text {
        var path = folder
        path.append("/")
        path.append(name)
        return path
    }

    private static func withPath<Result>(_ path: Text, _ body: (UnsafePointer<CChar>) -> Result) -> Result {
        var path = path
        path.terminate()
        return path.bytes.withUnsafeBufferPointer { bytes in
            bytes.withMemoryRebound(to: CChar.self) { body($0.baseAddress!) }
        }
    }

    private static func contents(_ path: Text) -> [UInt8] {
        let descriptor = withPath(path) { vb_open($0, O_RDONLY, 0) }
        guard descriptor >= 0 else {
            var message = Text()
            message.append("opening ")
            message.append(path)
            systemError(message, Int64(vb_errno()))
        }
        var bytes: [UInt8] = []
        let room = 1 << 16
        while true {
            let used = bytes.count
            bytes.append(contentsOf: repeatElement(0, count: room))
            let count = bytes.withUnsafeMutableBufferPointer { read(descriptor, $0.baseAddress! + used, room) }
            if count < 0 { systemError("reading the source tree", Int64(vb_errno())) }
            bytes.removeLast(room - count)
            if count == 0 { break }
        }
        close(descriptor)
        return bytes
    }

    /// The compiler has said on standard error what it does not like.
    private func refuse(_ unit: Unit) -> Never {
        var message = Text()
        message.append("cannot compile ")
        message.append(unit.name)
        usageError(message)
    }
}
