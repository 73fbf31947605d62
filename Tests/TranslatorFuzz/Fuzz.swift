import Glibc
import TranslatorTesting

/// `make fuzz`: random cases without end, natively and translated. Every failure is printed as a line for
/// Tests/TranslatorTests/Corpus/differential.txt, with its instructions. Arguments: seed, seconds.
@main struct Fuzz {
    static func main() {
        let arguments = CommandLine.arguments.dropFirst()
        let seed = arguments.first.flatMap { UInt64($0) } ?? UInt64(time(nil))
        let limit = arguments.dropFirst().first.flatMap { Int($0) } ?? Int.max
        let tester = DifferentialTester()
        var generator = CaseGenerator(seed: seed, vectorBytes: tester.vectorBytes)
        print("seed \(seed): \(generator.classes.count) encoding classes")
        var failures = 0
        var reached: Set<Int> = []
        let begin = time(nil)
        var reported = begin
        for round in 0... {
            let index = round % generator.classes.count
            guard let test = generator.next(generator.classes[index], companions: round / generator.classes.count % 12)
            else { continue }
            if let failure = tester.check(test) {
                failures += 1
                print(failure)
            } else if tester.lastWasDefined {
                reached.insert(index)
            }
            let now = time(nil)
            if now - reported >= 10 || now - begin >= limit {
                reported = now
                print(
                    "\(now - begin) s: \(tester.compared) cases compared, \(tester.unfit) unfit, "
                        + "\(reached.count) classes ran, \(failures) failures")
            }
            fflush(nil)
            if now - begin >= limit { break }
        }
        exit(failures == 0 ? 0 : 1)
    }
}
