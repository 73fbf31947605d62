import LuaLibrary
import Support

typealias Program = Lua

/// Classic scripts in the Lua interpreter, read from the file tree: a phase each. Every script defines `run()`, which does its
/// work once and returns a whole number.
struct Lua: Workload {
    static var name: StaticString { "lua" }
    static var summary: StaticString { "the Lua 5.4 interpreter (liblua5.4) on classic scripts of the file tree" }
    static var operation: StaticString { "run of the script" }
    static var options: StaticString {
        """
          --scripts D     folder of the scripts (default /lua; Workloads/Lua has them)
          --operations M  runs of a script a round (default 1)

        """
    }

    /// A script and its right result, from a source that has no part in it.
    private struct Script {
        var name: StaticString
        var result: Int64
    }

    /// The Computer Language Benchmarks Game prints the first three (its results for these sizes: n-body 1000, −0.169087605;
    /// spectral-norm 100, 1.274219991; fannkuch-redux 7, checksum 228 and 16 flips); of trees the nodes can be counted; 8 queens
    /// have 92 solutions; 2 is the smallest and 29989 the largest of the 3245 primes below 30000.
    private static let scripts: [Script] = [
        Script(name: "nbody", result: -169_087_605),
        Script(name: "spectral-norm", result: 1_274_219_991),
        Script(name: "fannkuch", result: 22_816),
        Script(name: "binary-trees", result: 40 * 1023 + 4095),
        Script(name: "queens", result: 92),
        Script(name: "words", result: 3245),
    ]

    private let operations: Int
    private let folder: Text
    private var interpreter: OpaquePointer?
    private var result: Int64 = 0

    init(_ arguments: inout Arguments) {
        operations = Int(arguments.number("--operations", default: 1, in: 1...1_000_000))
        folder = arguments.path("--scripts", default: "/lua")
    }

    var phases: Int { Self.scripts.count }
    func appendName(ofPhase phase: Int, to text: inout Text) { text.append(Self.scripts[phase].name) }

    /// A fresh interpreter each round, with the script loaded and compiled.
    mutating func prepare(phase: Int) {
        if let interpreter { lua_close(interpreter) }
        guard let state = luaL_newstate() else { systemError("creating an interpreter", Int64(ENOMEM)) }
        interpreter = state
        luaL_openlibs(state)
        var path = folder
        path.append("/")
        path.append(Self.scripts[phase].name)
        path.append(".lua")
        path.terminate()
        let failed = path.bytes.withUnsafeBufferPointer { bytes in
            bytes.withMemoryRebound(to: CChar.self) { vb_lua_load(state, $0.baseAddress) != 0 }
        }
        if failed || vb_lua_call(state, 0, 0) != 0 { stop(state) }
    }

    mutating func run(phase: Int) -> UInt64 {
        guard let interpreter else { return 0 }
        for _ in 0..<operations {
            lua_getglobal(interpreter, "run")
            if vb_lua_call(interpreter, 0, 1) != 0 { stop(interpreter) }
            result = lua_tointegerx(interpreter, -1, nil)
            vb_lua_pop(interpreter, 1)
        }
        return UInt64(operations)
    }

    mutating func outcome(phase: Int) -> Outcome {
        Outcome(
            got: UInt64(bitPattern: result), expected: UInt64(bitPattern: Self.scripts[phase].result))
    }

    /// Says what Lua complains of, and ends the program.
    private func stop(_ state: OpaquePointer) -> Never {
        var message = Text()
        if let text = vb_lua_text(state, -1) { message.append(cString: text) }
        usageError(message)
    }
}
