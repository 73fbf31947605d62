/// Makes a failing case smaller while it still fails.
package struct Shrinker {
    /// Whether a case still shows the defect.
    private var fails: (TestCase) -> Bool

    package init(_ fails: @escaping (TestCase) -> Bool) { self.fails = fails }

    package func shrink(_ test: TestCase) -> TestCase {
        var best = test
        var improved = true
        while improved {
            improved = false
            for candidate in candidates(best) where fails(candidate) {
                best = candidate
                improved = true
                break
            }
        }
        return best
    }

    /// Smaller cases, boldest first: an instruction less; an instruction made NOPs, so that branches still fit; a prefix less;
    /// a simpler seed.
    private func candidates(_ test: TestCase) -> [TestCase] {
        var result: [TestCase] = []
        var position = 0
        var bounds: [Range<Int>] = []
        while position < test.code.count, let length = InstructionLength.of(test.code[position...]) {
            bounds.append(position..<position + length)
            position += length
        }
        func add(_ change: (inout TestCase) -> Void) {
            var candidate = test
            change(&candidate)
            if candidate != test { result.append(candidate) }
        }
        if position < test.code.count { add { $0.code.removeSubrange(position...) } }
        for range in bounds { add { $0.code.removeSubrange(range) } }
        for range in bounds where test.code[range].contains(where: { $0 != 0x90 }) {
            add { $0.code.replaceSubrange(range, with: [UInt8](repeating: 0x90, count: range.count)) }
        }
        for range in bounds where range.count > 1 && test.code[range.lowerBound] != 0x90 {
            add { $0.code.remove(at: range.lowerBound) }
        }
        for seed in 0..<UInt64(4) where test.seed > 3 { add { $0.seed = seed } }
        if test.layout != .low { add { $0.layout = .low } }
        return result
    }
}
