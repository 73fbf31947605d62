import Results

/// Targets and the figures behind them as text.
public enum TargetsTable {
    public static func text(_ targets: SoftwareTargets, width: Int) -> String {
        [programs(targets.programs, width: width), table(targets.targets, width: width)].joined(separator: "\n")
    }

    private static func programs(_ programs: [SoftwareTargets.Program], width: Int) -> String {
        var table = TextTable(
            [.init(title: "TIMES NATIVE", alignment: .left)]
                + ["DEFAULT", "TRANSLATE", "QEMU TCG"].map { .init(title: $0, alignment: .right) }, width: width)
        for program in programs {
            table.row(
                [program.name]
                    + [program.adaptive, program.translated, program.emulated]
                    .map { $0.value.map(NumberText.ratio) ?? "–" })
        }
        return table.render()
    }

    private static func table(_ targets: [Target], width: Int) -> String {
        var table = TextTable(
            [
                .init(title: "WHAT", alignment: .left), .init(title: "TARGET", alignment: .right),
                .init(title: "MEASURED", alignment: .right), .init(title: "REACHED", alignment: .left),
            ], width: width)
        for target in targets {
            let verdict = target.isReached.map { $0 ? "yes" : "NO" }
            if let verdict {
                table.row([target.what, target.boundText, target.measuredText, verdict])
            } else {
                table.row(
                    [target.what, target.boundText], then: "not measured: \(target.measured.reason ?? "no reason")")
            }
        }
        return table.render() + "\nOf programs together and of those against QEMU: geometric means.\n"
    }
}
