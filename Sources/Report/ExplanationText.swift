import Results

/// An explanation for a terminal: tables first, then what they say in sentences.
public enum ExplanationText {
    /// Reasons below this part of the sum share a row.
    private static let smallShare = 0.01

    public static func text(_ explanation: Explanation, width: Int = 80) -> String {
        let words = ExplanationWords(explanation)
        var parts = [summary(explanation, words, width: width)]
        for account in explanation.accounts where account.exits != nil {
            parts.append(table(account, words, width: width))
        }
        if let phases = phases(explanation, width: width) { parts.append(phases) }
        for section in [
            ("WHERE THE TIME GOES", explanation.accounts.map { words.sentences(of: $0).joined(separator: " ") }),
            ("WHICH TECHNIQUE WINS", words.verdicts), ("WHAT THE FIGURES DO NOT COVER", words.limits),
        ] {
            parts.append(section.0 + "\n" + section.1.map { TextTable.paragraph($0, width: width) }.joined())
        }
        return parts.joined(separator: "\n")
    }

    private static func summary(_ explanation: Explanation, _ words: ExplanationWords, width: Int) -> String {
        var table = TextTable(
            [.init(title: "BACKEND", alignment: .left)]
                + ["NATIVE", "TIME", "OVERHEAD"].map { .init(title: $0, alignment: .right) }
                + [.init(title: "SLOWDOWN [95 % CI]", alignment: .left)], width: width)
        for account in explanation.accounts {
            guard let time = account.time.value else {
                table.row([account.name], then: "no time: " + (account.time.reason ?? "no reason is given"))
                continue
            }
            let native = account.native.value.map { NumberText.time(nanoseconds: $0) }
            let overhead = account.overhead.value.map { NumberText.signedTime(nanoseconds: $0) }
            let slowdown = account.slowdown.estimate.map { NumberText.ratio($0) }
            table.row([
                account.name, native ?? "–", NumberText.time(nanoseconds: time), overhead ?? "–", slowdown ?? "–",
            ])
        }
        let heading = "\(explanation.workload): times of \(words.unit)"
        return TextTable.paragraph(heading, width: width) + "\n" + table.render()
    }

    /// The overhead of a cell, taken apart: the last two rows are the overhead.
    private static func table(_ account: CostAccount, _ words: ExplanationWords, width: Int) -> String {
        guard let exits = account.exits else { return "" }
        var table = TextTable(
            [.init(title: account.name.uppercased(), alignment: .left)]
                + ["EXITS/" + words.short, "MEAN EXIT", "TIME/" + words.short, "OF OVERHEAD"]
                .map { .init(title: $0, alignment: .right) }, width: width)
        let overhead = account.accounted.value
        func share(_ nanoseconds: Double) -> String {
            guard let overhead, overhead > 0 else { return "–" }
            return NumberText.signedPercent(nanoseconds / overhead)
        }
        func row(_ title: String, count: Double?, mean: Double?, nanoseconds: Double?) {
            table.row([
                title, count.map(NumberText.count) ?? "", mean.map { NumberText.time(nanoseconds: $0) } ?? "",
                nanoseconds.map { NumberText.signedTime(nanoseconds: $0) } ?? "–", nanoseconds.map(share) ?? "–",
            ])
        }
        let busy = exits.exits.filter { !$0.isWaiting }
        let small = busy.filter { $0.nanoseconds < smallShare * exits.sum }
        for exit in small.count > 1 ? busy.filter({ $0.nanoseconds >= smallShare * exits.sum }) : busy {
            row(exit.reason, count: exit.count, mean: exit.meanNanoseconds, nanoseconds: exit.nanoseconds)
        }
        if small.count > 1 {
            let count = small.reduce(0) { $0 + $1.count }
            let time = small.reduce(0) { $0 + $1.nanoseconds }
            row("\(small.count) other reasons", count: count, mean: time / count, nanoseconds: time)
        }
        let exitCount = busy.reduce(0) { $1.reason == LedgerCosts.transition ? $0 : $0 + $1.count }
        row("sum", count: exitCount, mean: nil, nanoseconds: exits.sum)
        row("residual", count: nil, mean: nil, nanoseconds: account.residual.value)
        row("overhead", count: nil, mean: nil, nanoseconds: overhead)
        return table.render()
    }

    /// A row for each timed phase and backend; nil where there is one phase, or the ledgers do not tell phases apart.
    private static func phases(_ explanation: Explanation, width: Int) -> String? {
        guard !explanation.phases.isEmpty else { return nil }
        var table = TextTable(
            [.init(title: "PHASE", alignment: .left), .init(title: "BACKEND", alignment: .left)]
                + ["NATIVE", "MEAN TIME", "OVERHEAD", "SUM", "RESIDUAL"].map { .init(title: $0, alignment: .right) },
            width: width)
        func time(_ value: Double?) -> String { value.map { NumberText.signedTime(nanoseconds: $0) } ?? "–" }
        for (name, accounts) in explanation.phases {
            for (index, account) in accounts.enumerated() where account.time.value != nil {
                let mean = account.accounted.value.flatMap { extra in account.native.value.map { $0 + extra } }
                table.row([
                    index == 0 ? name : "", account.name, time(account.native.value), time(mean),
                    time(account.accounted.value), time(account.exits?.sum), time(account.residual.value),
                ])
            }
        }
        return table.render()
    }
}
