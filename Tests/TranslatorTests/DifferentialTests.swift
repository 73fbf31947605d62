import Foundation
import MachineTesting
import Testing
import Translator
import TranslatorTesting

/// The CPU is the referee: random code gives the same registers, flags, memory and faults natively and translated, and at every
/// single host instruction of the translation the recovered state is one that the CPU had, too.
@Suite(.serialized) struct DifferentialTests {
    @Test(arguments: [TranslationOptions.Privilege.supervisor, .user])
    func casesThatOnceDifferedDoNoLonger(privilege: TranslationOptions.Privilege) throws {
        let url = try #require(
            Bundle.module.url(forResource: "differential", withExtension: "txt", subdirectory: "Corpus"))
        let lines = try String(contentsOf: url, encoding: .utf8).split(separator: "\n").filter { !$0.hasPrefix("#") }
        #expect(lines.count > 10)
        try ExclusiveProcess.run {
            let tester = DifferentialTester(privilege)
            for line in lines {
                let test = try #require(TestCase(line: line), "not a case: \(line)")
                #expect(TestCase(line: test.description[...]) == test)
                if let failure = tester.check(test) { Issue.record("\(failure)") }
            }
            #expect(tester.unfit == 0)
        }
    }

    @Test(arguments: [TranslationOptions.Privilege.supervisor, .user])
    func randomCodeBehavesAsOnTheCPU(privilege: TranslationOptions.Privilege) {
        ExclusiveProcess.run {
            let tester = DifferentialTester(privilege)
            var generator = CaseGenerator(seed: 20_061_021)
            var mnemonics: Set<UInt32> = []
            var failures = 0
            // A sample of the encoding classes, every one of them in some run of `make fuzz`.
            for round in 0..<600 where failures < 5 {
                let subject = generator.classes[round &* 977 % generator.classes.count]
                guard let test = generator.next(subject, companions: round % 10) else { continue }
                if let failure = tester.check(test) {
                    failures += 1
                    Issue.record("\(failure)")
                } else if tester.lastWasDefined {
                    mnemonics.insert(subject.mnemonic)
                }
            }
            #expect(tester.compared > 500)
            #expect(mnemonics.count > 250, "reaches \(mnemonics.count) mnemonics")
        }
    }
}
