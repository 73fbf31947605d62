import Foundation
import Results

/// A reproduction as Markdown that stands by itself.
public enum PaperMarkdown {
    public static func text(_ paper: PaperReproduction) -> String {
        var parts = [head(paper), limits(paper), nanobenchmarks(paper), further(paper), forkwait(paper)]
        parts += [compute(paper), applications(paper), bootHalt(paper), transitions(paper), colophon(paper)]
        return parts.filter { !$0.isEmpty }.joined(separator: "\n")
    }

    // MARK: Parts

    private static func head(_ paper: PaperReproduction) -> String {
        """
        # Software and hardware virtualization, 2006 and here

        The measurements of \(PublishedFigures.citation), taken again with vbench on this host. “2006” is what the paper has \
        (\(PublishedFigures.machine)); the rest was measured in one run, trials of all columns interleaved. “software, direct” is the \
        paper's technique, ring 3 direct and ring 0 translated; “software” chooses by itself whether it translates ring 3 too.

        """
    }

    private static func limits(_ paper: PaperReproduction) -> String {
        var text = "## What this host cannot show\n\n"
        switch paper.isHardwareAssisted {
        case false?:
            let flavour = paper.flavour.map { " (flavour `\($0)`)" } ?? ""
            text += """
                - **The hardware column is not VT-x or AMD-V.** KVM here is not hardware-assisted\(flavour): it runs guest ring 3 on the \
                CPU and emulates ring 0. Its figures say what this KVM costs, and nothing about the CPUs the paper is about; run the suite \
                on a host with VT-x or AMD-V for that.

                """
        case true?:
            text +=
                "- KVM is hardware-assisted\(paper.flavour.map { " (flavour `\($0)`)" } ?? "") and uses nested paging where the CPU has "
                + "it; the paper's CPU had none, so that shadow page tables under hardware assistance are not shown.\n"
        case nil:
            text += "- The report does not say whether KVM is hardware-assisted.\n"
        }
        text +=
            "- The guest is Nub, a small kernel of this project, where the paper ran Linux, Windows and FrobOS; applications are "
            + "today's, not SPEC's.\n"
        text += "- Ring 0 has no native column: an operation that ring 3 cannot do has no native figure here.\n"
        for absence in paper.absences { text += "- \(absence)\n" }
        return text
    }

    private static func nanobenchmarks(_ paper: PaperReproduction) -> String {
        var table = MarkdownTable(
            [
                "cycles", "2006: native", "software", "hardware", "here: native", "software, direct", "software",
                "hardware",
            ])
        for (benchmark, row) in paper.nanobenchmarks {
            let published = PublishedFigures.cycles(benchmark)
            table.row(
                ["**\(benchmark.name)**"] + [published.native, published.software, published.hardware].map(text)
                    + row.figures.map(cycles))
        }
        var text = "## Nanobenchmarks\n\n\(table.render())\n"
        text += "Cycles of the time-stamp counter, the loop's own taken off; “–” is what could not be measured.\n\n"
        text += "```text\n\(chart(paper).render())```\n\n"
        for (benchmark, row) in paper.nanobenchmarks {
            text += "- **\(benchmark.name)** (\(benchmark.operation)): \(verdict(benchmark, row)) \(benchmark.change)\n"
        }
        return text + missing(paper.nanobenchmarks.map(\.row))
    }

    private static func chart(_ paper: PaperReproduction) -> LogScaleChart {
        let groups = paper.nanobenchmarks.flatMap { benchmark, row -> [LogScaleChart.Group] in
            let published = PublishedFigures.cycles(benchmark)
            func bar(_ label: String, _ figure: PublishedFigures.Figure) -> LogScaleChart.Bar {
                .init(label: label, value: figure.number, note: figure == .absent ? "not given" : Self.text(figure))
            }
            let now = zip(["native", "direct", "software", "hardware"], row.figures).map { label, figure in
                LogScaleChart.Bar(
                    label: label, value: figure.value, note: figure.value.map { cycles(.init($0)) } ?? "not measured")
            }
            return [
                .init(
                    name: benchmark.name + " 2006",
                    bars: [
                        bar("native", published.native), bar("software", published.software),
                        bar("hardware", published.hardware),
                    ]), .init(name: benchmark.name + " here", bars: now),
            ]
        }
        return LogScaleChart(groups: groups)
    }

    private static func verdict(_ benchmark: PaperNanobenchmark, _ row: PaperReproduction.Row) -> String {
        let then = "In 2006 \(benchmark.winner.text) was faster"
        guard let now = PaperReproduction.winner(row) else {
            return then + "; here one of them has no figure."
        }
        let (fast, slow) = (min(now.software, now.hardware), max(now.software, now.hardware))
        let factor = fast > 0 ? ", by a factor of \(NumberText.ratio(slow / fast))" : ""
        return then + (now.technique == benchmark.winner ? ", and is here" : "; here \(now.technique.text) is")
            + "\(factor)."
    }

    private static func further(_ paper: PaperReproduction) -> String {
        guard !paper.furtherNanobenchmarks.isEmpty else { return "" }
        var table = MarkdownTable(["cycles"] + PaperReproduction.columns.map(\.title))
        for row in paper.furtherNanobenchmarks { table.row(["**\(row.name)**"] + row.figures.map(cycles)) }
        return "## Further operations\n\nNot in the paper. What each does: `docs/nanobenchmarks.md`.\n\n"
            + table.render()
    }

    private static func forkwait(_ paper: PaperReproduction) -> String {
        let published = PublishedFigures.forkwait
        let count = PublishedFigures.forkwaitOperations
        var table = MarkdownTable(["forkwait, 40,000 times", "native", "software, direct", "software", "hardware"])
        let base = published.native.number!
        table.row(
            ["2006"]
                + [published.native, published.software, .absent, published.hardware].map { figure in
                    figure.number.map { "\(String(format: "%.1f", $0)) s, \(NumberText.ratio($0 / base)) ×" } ?? "–"
                })
        let native = paper.forkwait.figures[PaperReproduction.native].value
        table.row(
            ["here, scaled to 40,000"]
                + paper.forkwait.figures.map { figure in
                    guard let time = figure.value else { return "–" }
                    let ratio = native.map { ", \(NumberText.ratio(time / $0)) ×" } ?? ""
                    return NumberText.time(nanoseconds: time * count) + ratio
                })
        var text =
            "## forkwait\n\nFork, exit and wait: system calls, page-table writes, page faults and context switches.\n\n"
        text += table.render() + "\n"
        if let now = PaperReproduction.winner(paper.forkwait) {
            let (fast, slow) = (min(now.software, now.hardware), max(now.software, now.hardware))
            text +=
                "In 2006 the software VMM was 2.9 times as fast as the hardware VMM; here \(now.technique.text) is "
                + "\(NumberText.ratio(slow / fast)) times as fast as the other. "
            if let native, now.software < native {
                text +=
                    "The software VMM beats the host's own kernel: what runs in it is Nub, whose fork does much less than Linux'.\n"
            } else {
                text +=
                    "The guest's kernel is Nub, whose fork does less than Linux', so the ratio to native flatters both VMMs.\n"
            }
        }
        return text + missing([paper.forkwait])
    }

    private static func compute(_ paper: PaperReproduction) -> String {
        guard !paper.compute.isEmpty else { return "" }
        var table = MarkdownTable(["times native", "software, direct", "software", "hardware"])
        for row in paper.compute { table.row([row.name] + row.figures.dropFirst().map(ratio)) }
        table.row(["**\(paper.computeMean.name)**"] + paper.computeMean.figures.dropFirst().map(ratio))
        table.row(["2006: SPECint 2000, mean", "about 1.04", "–", "–"])
        return
            "## Programs that compute\n\nIn place of SPECint 2000: programs that stay in ring 3.\n\n\(table.render())\n"
            + conclusion(paper.computeMean) + missing(paper.compute)
    }

    /// The paper's finding, and whether it holds here.
    private static func conclusion(_ mean: PaperReproduction.Row) -> String {
        let means = mean.figures.dropFirst().compactMap(\.value)
        guard let slowest = means.max(), means.count == mean.figures.count - 1 else { return "" }
        let finding = "In 2006, what did not enter the kernel ran at nearly native speed under either technique. "
        return finding
            + (slowest <= nearlyNative
                ? "So it does here.\n" : "Here it does not: the slowest mean is \(NumberText.ratio(slowest)).\n")
    }

    /// Twice the mean overhead that the paper calls close to native.
    private static let nearlyNative = 1.08

    private static func applications(_ paper: PaperReproduction) -> String {
        guard !paper.applications.isEmpty else { return "" }
        var table = MarkdownTable(["times native", "software, direct", "software", "hardware"])
        for row in paper.applications { table.row([row.name] + row.figures.dropFirst().map(ratio)) }
        return "## Compile job and server-like jobs\n\n"
            + "The paper compiles Linux and Apache and serves web pages; here a compiler compiles a source tree in the guest's file "
            + "tree, a database takes queries, a shell starts processes. Figures of the paper's are not repeated: programs and kernels are "
            + "others.\n\n\(table.render())\n" + missing(paper.applications)
    }

    private static func bootHalt(_ paper: PaperReproduction) -> String {
        "## Boot and halt: overheads by source\n\n"
            + "The paper breaks the overhead of booting and halting Windows XP down by source. Here: of a guest that starts Nub, runs a "
            + "program that does next to nothing, and ends. Time in exits of a kind and their number, from reset to the program and from its end to "
            + "the machine's, mean of the trials; what KVM handles itself is from a profile trial.\n\n"
            + paper.bootHalt.markdown()
    }

    private static func transitions(_ paper: PaperReproduction) -> String {
        var table = MarkdownTable(["cycles", "Pentium 4 672", "Core 2 Duo 2.66 GHz"])
        for line in PublishedFigures.transitions {
            table.row([line.what, NumberText.cycles(line.pentium4), NumberText.cycles(line.core2)])
        }
        var text =
            "## Cost of a transition\n\nFrom the paper's table of micro-architectural costs:\n\n\(table.render())\n"
        if let row = paper.furtherNanobenchmarks.first(where: { $0.name == "world-switch" }) {
            let here = row.figures[PaperReproduction.hardware]
            text +=
                here.value.map {
                    "Here the cheapest round trip from guest to VMM and back takes \(NumberText.cycles($0)) cycles under KVM"
                        + (paper.isHardwareAssisted == false ? ", which is not hardware-assisted" : "") + ".\n"
                } ?? "Here: not measured, \(here.reason ?? "no reason given").\n"
        } else {
            text += "Here: not measured, the report has no `world-switch`.\n"
        }
        return text
    }

    private static func colophon(_ paper: PaperReproduction) -> String {
        var lines = ["## Where this comes from", ""]
        lines.append(
            "`vbench run Workloads/suites/adams-agesen-2006.json`, vbench \(paper.generator.version)"
                + (paper.generator.commit.map { " (\($0))" } ?? "")
                + ", \(paper.started.formatted(.iso8601.year().month().day())). "
                + (paper.host.tscHertz.map { "Time-stamp counter: \(NumberText.count($0))Hz. " } ?? ""))
        if let cpu = paper.host.facts["cpuModel"]?.stringValue { lines.append("CPU: \(cpu).") }
        if let kernel = paper.host.facts["kernelRelease"]?.stringValue { lines.append("Kernel: \(kernel).") }
        lines.append("Everything else that could matter to a figure is in `report.json`, intervals in `summary.csv`.")
        return lines.joined(separator: "\n") + "\n"
    }

    // MARK: Cells

    private static func text(_ figure: PublishedFigures.Figure) -> String {
        switch figure {
        case .number(let value): NumberText.cycles(value)
        case .words(let words): words
        case .absent: "–"
        }
    }

    private static func cycles(_ figure: Figure) -> String { figure.value.map(NumberText.cycles) ?? "–" }

    private static func ratio(_ figure: Figure) -> String { figure.estimate.map(NumberText.ratio) ?? "–" }

    /// Why figures are missing, each reason once.
    private static func missing(_ rows: [PaperReproduction.Row]) -> String {
        var reasons: [(reason: String, of: [String])] = []
        for row in rows {
            for (column, figure) in zip(PaperReproduction.columns, row.figures) {
                guard let reason = figure.reason else { continue }
                let place = "\(row.name) (\(column.title))"
                if let index = reasons.firstIndex(where: { $0.reason == reason }) {
                    reasons[index].of.append(place)
                } else {
                    reasons.append((reason, [place]))
                }
            }
        }
        if reasons.isEmpty { return "" }
        return "\nNot measured:\n\n"
            + reasons.map { "- \($0.of.joined(separator: ", ")): \($0.reason)\n" }.joined()
    }
}
