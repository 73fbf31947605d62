import Support

typealias Program = Compute

/// Integer work full of branches that depend on data: a sieve, a quicksort, binary searches and a hash over it all.
struct Compute: Workload {
    static var name: StaticString { "compute" }
    static var summary: StaticString { "branchy integer work: prime sieve, quicksort, binary searches, hashing" }
    static var operation: StaticString { "element" }
    static var options: StaticString { "  --operations M  elements a round (default 50000)\n" }

    private let count: Int
    private let sieve: UnsafeMutablePointer<UInt8>
    private let values: UnsafeMutablePointer<UInt32>
    private let expected: UInt64
    private var got: UInt64 = 0

    init(_ arguments: inout Arguments) {
        count = Int(arguments.number("--operations", default: 50_000, in: 16...(1 << 26)))
        sieve = .allocate(capacity: count + 1)
        values = .allocate(capacity: count)
        expected = Self.reference(count)
    }

    mutating func run(phase: Int) -> UInt64 {
        var sum = Checksum()
        sum.mix(Self.countPrimes(upTo: count, sieve))
        Self.fill(values, count)
        Self.sort(values, 0, count - 1)
        sum.mix(Self.hash(values, count))
        var hits: UInt64 = 0
        var random = Random(seed: 7)
        for _ in 0..<count {
            let wanted = UInt32(truncatingIfNeeded: random.next(below: UInt64(count) * 4))
            if Self.contains(values, count, wanted) { hits &+= 1 }
        }
        sum.mix(hits)
        got = sum.value
        return UInt64(count)
    }

    mutating func outcome(phase: Int) -> Outcome { Outcome(got: got, expected: expected) }

    // MARK: The timed work

    private static func countPrimes(upTo limit: Int, _ sieve: UnsafeMutablePointer<UInt8>) -> UInt64 {
        sieve.update(repeating: 1, count: limit + 1)
        var primes: UInt64 = 0
        for number in 2...limit where sieve[number] != 0 {
            primes &+= 1
            var multiple = number &* number
            while multiple <= limit {
                sieve[multiple] = 0
                multiple &+= number
            }
        }
        return primes
    }

    private static func fill(_ values: UnsafeMutablePointer<UInt32>, _ count: Int) {
        var random = Random(seed: 42)
        for index in 0..<count { values[index] = UInt32(truncatingIfNeeded: random.next(below: UInt64(count) * 4)) }
    }

    /// Hoare's quicksort, median of three, insertion sort below 12 elements.
    private static func sort(_ values: UnsafeMutablePointer<UInt32>, _ first: Int, _ last: Int) {
        var first = first
        var last = last
        while last &- first >= 12 {
            let middle = first &+ (last &- first) / 2
            if values[middle] < values[first] { swap(values, middle, first) }
            if values[last] < values[first] { swap(values, last, first) }
            if values[last] < values[middle] { swap(values, last, middle) }
            let pivot = values[middle]
            var left = first
            var right = last
            while left <= right {
                while values[left] < pivot { left &+= 1 }
                while values[right] > pivot { right &-= 1 }
                if left <= right {
                    swap(values, left, right)
                    left &+= 1
                    right &-= 1
                }
            }
            // The shorter part by recursion, the longer one here: the stack stays logarithmic.
            if right &- first < last &- left {
                sort(values, first, right)
                first = left
            } else {
                sort(values, left, last)
                last = right
            }
        }
        guard first < last else { return }
        for index in (first + 1)...last {
            let value = values[index]
            var place = index
            while place > first, values[place &- 1] > value {
                values[place] = values[place &- 1]
                place &-= 1
            }
            values[place] = value
        }
    }

    @inline(__always)
    private static func swap(_ values: UnsafeMutablePointer<UInt32>, _ a: Int, _ b: Int) {
        let value = values[a]
        values[a] = values[b]
        values[b] = value
    }

    private static func contains(_ values: UnsafeMutablePointer<UInt32>, _ count: Int, _ wanted: UInt32) -> Bool {
        var low = 0
        var high = count
        while low < high {
            let middle = low &+ (high &- low) / 2
            if values[middle] < wanted { low = middle &+ 1 } else { high = middle }
        }
        return low < count && values[low] == wanted
    }

    private static func hash(_ values: UnsafeMutablePointer<UInt32>, _ count: Int) -> UInt64 {
        var sum = Checksum()
        for index in 0..<count { sum.mix(UInt64(values[index])) }
        return sum.value
    }

    // MARK: The same result by other means

    /// Primes by Legendre's recurrence over the values of ⌊n/i⌋, order by counting, membership by a bit map.
    private static func reference(_ count: Int) -> UInt64 {
        var sum = Checksum()
        sum.mix(legendre(count))
        let limit = count * 4
        let occurrences = UnsafeMutablePointer<UInt32>.allocate(capacity: limit)
        defer { occurrences.deallocate() }
        occurrences.initialize(repeating: 0, count: limit)
        var random = Random(seed: 42)
        for _ in 0..<count { occurrences[Int(random.next(below: UInt64(limit)))] += 1 }
        var order = Checksum()
        for value in 0..<limit {
            for _ in 0..<occurrences[value] { order.mix(UInt64(value)) }
        }
        sum.mix(order.value)
        var hits: UInt64 = 0
        random = Random(seed: 7)
        for _ in 0..<count where occurrences[Int(random.next(below: UInt64(limit)))] > 0 { hits += 1 }
        sum.mix(hits)
        return sum.value
    }

    /// π(n) without a sieve: counts of numbers up to ⌊n/i⌋ left after striking out multiples of each prime in turn.
    private static func legendre(_ n: Int) -> UInt64 {
        var root = 1
        while (root + 1) * (root + 1) <= n { root += 1 }
        var small = [Int](repeating: 0, count: root + 1)
        var large = [Int](repeating: 0, count: root + 1)
        for i in 1...root {
            small[i] = i - 1
            large[i] = n / i - 1
        }
        for p in 2...max(2, root) where p <= root && small[p] != small[p - 1] {
            let below = small[p - 1]
            for i in 1...root where n / i >= p * p {
                large[i] -= (i * p <= root ? large[i * p] : small[n / (i * p)]) - below
            }
            var i = root
            while i >= p * p {
                small[i] -= small[i / p] - below
                i -= 1
            }
        }
        return UInt64(large[1])
    }
}
