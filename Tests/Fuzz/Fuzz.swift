import Glibc
import SoftwareVMMTesting
import TranslatorTesting

/// `make fuzz`: random cases without end, on the CPU and translated for ring 0 or ring 3
/// (`supervisor`, `user`), or in a whole machine (`machine`); or any bytes, translated only (`bytes`).
/// Every failure is printed as a line for a corpus of the tests, with its instructions.
///
///     vbench-fuzz supervisor|user|machine|bytes [seed [seconds]]
@main struct Fuzz {
    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        let seed = arguments.count > 1 ? UInt64(arguments[1]) ?? 1 : UInt64(time(nil))
        let limit = arguments.count > 2 ? Int(arguments[2]) ?? .max : .max
        switch arguments.first {
        case "supervisor", "user":
            let tester = DifferentialTester(arguments[0] == "user" ? .user : .supervisor)
            run(seed, limit, tester.check, { tester.lastWasDefined }) {
                "\(tester.compared) cases compared, \(tester.unfit) unfit"
            }
        case "machine":
            let testers = MachineTester.Manner.allCases.map { MachineTester($0, stress: seed) }
            var turn = 0
            run(
                seed, limit, changesItself: true,
                { test in
                    turn += 1
                    return testers[turn % testers.count].check(test)
                }, { testers[turn % testers.count].lastWasDefined }
            ) {
                testers.map { tester in
                    "\(tester.manner.rawValue): \(tester.compared) cases compared, \(tester.unfit) unfit, "
                        + "\(tester.unsupported.values.reduce(0, +)) unsupported"
                }.joined(separator: "; ")
            }
            for tester in testers {
                for (reason, count) in tester.unsupported.sorted(by: { $0.value > $1.value }) {
                    print("  \(count) times: \(reason)")
                }
            }
        case "bytes": runBytes(seed, limit)
        default:
            print("usage: vbench-fuzz supervisor|user|machine|bytes [seed [seconds]]")
            exit(64)
        }
    }

    private static func runBytes(_ seed: UInt64, _ limit: Int) {
        var bytes = ArbitraryBytes(seed: seed, corpus: [])
        let begin = time(nil)
        var failures = 0
        print("seed \(seed)")
        for count in 1... {
            let input = bytes.next()
            if let violation = bytes.violation(in: input) {
                failures += 1
                print("\(bytes.shrink(input))  # \(violation)")
            }
            let passed = time(nil) - begin
            if count % 100_000 == 0 || passed >= limit {
                print("\(passed) s: \(count) inputs, \(failures) failures")
                fflush(nil)
            }
            if passed >= limit { break }
        }
    }

    private static func run(
        _ seed: UInt64, _ limit: Int, changesItself: Bool = false, _ check: (TestCase) -> DifferentialTester.Failure?,
        _ wasDefined: () -> Bool,
        _ summary: () -> String
    ) {
        var generator = CaseGenerator(seed: seed)
        var selfModifying = SelfModifyingCases(seed: seed)
        print("seed \(seed): \(generator.classes.count) encoding classes")
        var failures = 0
        var reached: Set<Int> = []
        let begin = time(nil)
        var reported = begin
        for round in 0... {
            let index = round % generator.classes.count
            let isOwn = changesItself && round % 16 == 15
            let made =
                isOwn
                ? selfModifying.next()
                : generator.next(generator.classes[index], companions: round / generator.classes.count % 12)
            guard let test = made else { continue }
            if let failure = check(test) {
                failures += 1
                print(failure)
            } else if !isOwn && wasDefined() {
                reached.insert(index)
            }
            let now = time(nil)
            if now - reported >= 10 || now - begin >= limit {
                reported = now
                let mnemonics = Set(reached.map { generator.classes[$0].mnemonic }).count
                print(
                    "\(now - begin) s: \(summary()), \(reached.count) classes of \(mnemonics) mnemonics ran, "
                        + "\(failures) failures")
            }
            fflush(nil)
            if now - begin >= limit { break }
        }
    }
}
