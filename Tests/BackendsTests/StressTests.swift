import Backends
import Foundation
import Results
import Testing

/// The software VMM with its rare events made frequent: tiny code caches, evictions, kicks at random instructions, lost shadows.
@Suite("Programs under stress", .serialized)
struct StressTests {
    @Test(
        "output stays the same", arguments: ["direct", "translate", "adaptive"], ["65536", "262144"])
    func programs(userMode: String, codeCacheBytes: String) throws {
        let options = ["userMode": userMode, "codeCacheBytes": codeCacheBytes, "stress": "20061021"]
        for (program, arguments) in [
            ("compute", ["--rounds", "1", "--operations", "500"]),
            ("forkwait", ["--rounds", "1", "--operations", "3"]),
            ("pipe-pingpong", ["--rounds", "1", "--operations", "10"]),
        ] {
            var specification = try TrialRunner.specification(of: program, arguments)
            specification.options = options
            let (native, found) = try TrialRunner.expectSame(as: .software, specification)
            #expect(native.status == .exited(code: 0))
            #expect(found.counters["software.stressEvents", default: 0] > 10)
        }
    }
}
