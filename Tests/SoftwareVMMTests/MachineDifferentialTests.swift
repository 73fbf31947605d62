import Foundation
import MachineTesting
import SoftwareVMMTesting
import Testing
import TranslatorTesting

/// Whole machines against the CPU: random code in ring 0, in ring 3 run directly and in ring 3 translated ends with the CPU's
/// registers, flags, vector state, memory and exceptions.
@Suite(.serialized, .enabled(if: softwareWorks, "this host lacks what the software VMM builds on"))
struct MachineDifferentialTests {
    @Test(arguments: MachineTester.Manner.allCases)
    func casesThatOnceDifferedDoNoLonger(manner: MachineTester.Manner) throws {
        let url = try #require(Bundle.module.url(forResource: "machine", withExtension: "txt", subdirectory: "Corpus"))
        let lines = try String(contentsOf: url, encoding: .utf8).split(separator: "\n").filter { !$0.hasPrefix("#") }
        #expect(lines.count > 5)
        try ExclusiveProcess.run {
            let tester = MachineTester(manner)
            for line in lines {
                let test = try #require(TestCase(line: line), "not a case: \(line)")
                if let failure = tester.check(test) { Issue.record("\(failure)") }
            }
            #expect(tester.unsupported.isEmpty)
        }
    }

    @Test(arguments: MachineTester.Manner.allCases)
    func codeThatChangesItselfRunsAsChanged(manner: MachineTester.Manner) {
        ExclusiveProcess.run {
            let tester = MachineTester(manner)
            var cases = SelfModifyingCases(seed: 86)
            for _ in 0..<20 {
                if let failure = tester.check(cases.next()) { Issue.record("\(failure)") }
            }
            #expect(tester.compared > 15)
        }
    }

    @Test(arguments: MachineTester.Manner.allCases)
    func singleSteppingStopsBehindTheFirstInstruction(manner: MachineTester.Manner) {
        ExclusiveProcess.run {
            let tester = MachineTester(manner)
            var generator = CaseGenerator(seed: 1_985)
            for round in 0..<25 {
                let subject = generator.classes[round &* 2_003 % generator.classes.count]
                guard let test = generator.next(subject, companions: 2) else { continue }
                if let difference = tester.stepDifference(in: test) { Issue.record("\(test): \(difference)") }
            }
            #expect(tester.compared > 15)
        }
    }

    @Test(arguments: MachineTester.Manner.allCases)
    func randomCodeBehavesAsOnTheCPU(manner: MachineTester.Manner) {
        ExclusiveProcess.run {
            let tester = MachineTester(manner, stress: 7)
            var generator = CaseGenerator(seed: 1_974)
            var failures = 0
            for round in 0..<60 where failures < 3 {
                let subject = generator.classes[round &* 1_009 % generator.classes.count]
                guard let test = generator.next(subject, companions: round % 8) else { continue }
                if let failure = tester.check(test) {
                    failures += 1
                    Issue.record("\(failure)")
                }
            }
            #expect(tester.compared > 40)
        }
    }
}
