import Support

typealias Program = Queens

/// Backtracking: nothing but comparisons and branches that depend on what has been tried, which no predictor knows for long.
struct Queens: Workload {
    static var name: StaticString { "queens" }
    static var summary: StaticString { "the n queens problem by backtracking: branches that are hard to predict" }
    static var operation: StaticString { "square tried" }
    static var options: StaticString { "  --size N        queens and side of the board (default 9)\n" }

    /// Solutions for boards of 4, 5, … squares a side (OEIS A000170).
    private static let solutions: [UInt64] = [2, 10, 4, 40, 92, 352, 724, 2680, 14_200, 73_712]

    private let size: Int
    /// Column of the queen in each row.
    private let columns: UnsafeMutablePointer<Int>
    private var got: UInt64 = 0

    init(_ arguments: inout Arguments) {
        size = Int(arguments.number("--size", default: 9, in: 4...13))
        columns = .allocate(capacity: size)
        columns.initialize(repeating: 0, count: size)
    }

    mutating func run(phase: Int) -> UInt64 {
        var tried: UInt64 = 0
        var found: UInt64 = 0
        var row = 0
        columns[0] = -1
        while row >= 0 {
            columns[row] &+= 1
            if columns[row] == size {
                row &-= 1
                continue
            }
            tried &+= 1
            guard isSafe(row) else { continue }
            if row == size &- 1 {
                found &+= 1
            } else {
                row &+= 1
                columns[row] = -1
            }
        }
        got = found
        return tried
    }

    mutating func outcome(phase: Int) -> Outcome { Outcome(got: got, expected: Self.solutions[size - 4]) }

    /// Whether the queen of `row` attacks none of the rows before.
    @inline(__always)
    private func isSafe(_ row: Int) -> Bool {
        let column = columns[row]
        for earlier in 0..<row {
            let other = columns[earlier]
            if other == column || other &- column == row &- earlier || column &- other == row &- earlier {
                return false
            }
        }
        return true
    }
}
