import Testing

@testable import Statistics

private func isClose(_ a: Double, _ b: Double, _ tolerance: Double = 1e-12) -> Bool {
    abs(a - b) <= tolerance * max(1, abs(b))
}

struct ObservationsTests {
    @Test func refusesWhatHasNoStatistic() {
        #expect(throws: StatisticsError.empty) { try Observations([]) }
        #expect(throws: StatisticsError.notFinite(index: 1)) { try Observations([1, .nan]) }
        #expect(throws: StatisticsError.notFinite(index: 0)) { try Observations([-.infinity]) }
    }

    @Test func medianOfOddAndEvenCounts() throws {
        #expect(try Observations([3, 1, 2]).median == 2)
        #expect(try Observations([4, 1, 3, 2]).median == 2.5)
        #expect(try Observations([7]).median == 7)
    }

    /// R: quantile(c(1, 2, 4, 8, 16), c(0, .1, .25, .9, 1)) gives 1, 1.4, 2, 12.8, 16.
    @Test(arguments: [(0, 1), (0.1, 1.4), (0.25, 2), (0.9, 12.8), (1, 16)])
    func quantilesAreThoseOfR(p: Double, value: Double) throws {
        #expect(isClose(try Observations([16, 1, 8, 2, 4]).quantile(p), value))
    }

    @Test func meanVarianceAndDeviation() throws {
        let observations = try Observations([2, 4, 4, 4, 5, 5, 7, 9])
        #expect(observations.mean == 5)
        #expect(isClose(observations.variance!, 32.0 / 7))
        // Median 4.5; deviations 2.5 .5 .5 .5 .5 .5 2.5 4.5.
        #expect(observations.medianAbsoluteDeviation == 0.5)
        #expect(try Observations([1]).variance == nil)
    }

    /// Naive summation of these loses every 1.
    @Test func meanIsCompensated() throws {
        let values = [1e16] + [Double](repeating: 1, count: 1000)
        #expect(try Observations(values).mean == (1e16 + 1000) / 1001)
    }

    @Test func geometricMean() throws {
        #expect(isClose(try Observations([1, 10, 100]).geometricMean(), 10))
        #expect(throws: StatisticsError.notPositive(index: 1)) { try Observations([1, 0]).geometricMean() }
    }

    @Test func quantilesOfHugeValuesDoNotOverflow() throws {
        let huge = Double.greatestFiniteMagnitude
        #expect(try Observations([-huge, huge]).median == 0)
        #expect(try Observations([huge, huge]).median == huge)
    }
}

struct StudentTTests {
    /// Tables of every statistics book: two-sided 95 % and 99 %.
    @Test(arguments: [
        (0.975, 1.0, 12.7062047362), (0.975, 2, 4.30265272975), (0.975, 4, 2.77644510520), (0.975, 30, 2.04227245630),
        (0.995, 5, 4.03214298356), (0.975, 1e6, 1.9599663),
    ])
    func quantilesAreThoseOfTheTables(p: Double, degrees: Double, t: Double) {
        let value = StudentT.quantile(p, degrees: degrees)
        #expect(isClose(value, t, 1e-7), "\(value)")
        #expect(isClose(StudentT.quantile(1 - p, degrees: degrees), -value))
        #expect(isClose(StudentT.cumulative(value, degrees: degrees), p, 1e-10))
    }

    /// One degree of freedom is the Cauchy distribution, with a closed form: F(1) = 3/4. Two: F(t) = 1/2 + t / (2 √(2
    /// + t²)).
    @Test func distributionsWithAClosedForm() {
        #expect(isClose(StudentT.cumulative(1, degrees: 1), 0.75))
        for t in [0.0, 0.3, 1, 5, 100] {
            #expect(isClose(StudentT.cumulative(t, degrees: 2), 0.5 + t / (2 * (2 + t * t).squareRoot()), 1e-11))
        }
    }
}

struct TukeyFencesTests {
    @Test func classifiesByInterquartileRanges() throws {
        // Quartiles 2 and 4: fences at −4, −1, 7, 10.
        let fences = TukeyFences(try Observations([1, 2, 3, 4, 5]))
        let places = [-5.0, -4, -2, -1, 3, 7, 8, 10, 11].map { fences.place(of: $0) }
        #expect(
            places == [
                .lowSevere, .lowMild, .lowMild, .inside, .inside, .inside, .highMild, .highMild, .highSevere,
            ])
    }
}

struct Xoshiro256Tests {
    @Test func theSameSeedGivesTheSameStream() {
        var a = Xoshiro256(seed: 7)
        var b = Xoshiro256(seed: 7)
        var c = Xoshiro256(seed: 8)
        let first = (0..<100).map { _ in a.next() }
        #expect(first == (0..<100).map { _ in b.next() })
        #expect(first != (0..<100).map { _ in c.next() })
    }

    /// SplitMix64 of seed 0 begins E220A8397B1DCDAF, 6E789E6AA1B965F4 (published test vectors); the first output of
    /// xoshiro256** is rotl(s1 · 5, 7) · 9.
    @Test func theFirstOutputFollowsFromTheSeed() {
        var generator = Xoshiro256(seed: 0)
        let product = UInt64(0x6E78_9E6A_A1B9_65F4) &* 5
        #expect(generator.next() == (product << 7 | product >> 57) &* 9)
    }

    @Test func indicesAreUniform() {
        var generator = Xoshiro256(seed: 3)
        var counts = [Int](repeating: 0, count: 7)
        for _ in 0..<70_000 { counts[generator.index(below: 7)] += 1 }
        // Six standard deviations are 556.
        #expect(counts.allSatisfy { abs($0 - 10_000) < 556 })
    }
}
