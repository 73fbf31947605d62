import Testing

@testable import Lab

@Suite("Progress")
struct ConsoleProgressTests {
    @Test("Times", arguments: [(0.4, "0:00"), (64.0, "1:04"), (3599.6, "1:00:00"), (3723, "1:02:03")])
    func clock(seconds: Double, text: String) {
        #expect(ConsoleProgress.clock(seconds) == text)
    }

    @Test("The rest of a run is estimated from each cell's own trials, unknown ones as the mean")
    func remaining() {
        var time = RemainingTime()
        let steps = [Plan.Step(subject: .cell(0), trial: 1), Plan.Step(subject: .cell(2), trial: 0)]
        #expect(time.seconds(for: steps[...]) == nil)
        time.add(1, of: .cell(0))
        time.add(3, of: .cell(0))
        time.add(10, of: .cell(1))
        #expect(time.seconds(for: steps[...]) == 8.0)
    }
}
