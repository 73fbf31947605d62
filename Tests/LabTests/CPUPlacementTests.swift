import Testing

@testable import Lab

@Suite("CPU placement")
struct CPUPlacementTests {
    @Test("Kernel CPU lists", arguments: [("0-3,8\n", [0, 1, 2, 3, 8]), ("\n", []), ("5", [5]), ("3-1", [])])
    func lists(text: String, cpus: [Int]) {
        #expect(CPUPlacement.parse(cpuList: text) == cpus)
    }

    @Test("The other CPU is another core before it is a sibling thread")
    func otherCore() {
        let placement = CPUPlacement.make(measured: 7, reason: "", candidates: Array(0...7), siblings: [6, 7])
        #expect(placement.other == 5)
    }

    @Test("With nothing but a sibling left, the sibling it is")
    func sibling() {
        #expect(CPUPlacement.make(measured: 1, reason: "", candidates: [0, 1], siblings: [0, 1]).other == 0)
    }

    @Test("One CPU has no other")
    func single() {
        #expect(CPUPlacement.make(measured: 0, reason: "", candidates: [0], siblings: [0]).other == nil)
    }
}
