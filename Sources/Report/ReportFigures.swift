import Results
import Statistics

/// Looks figures up in a report.
struct ReportFigures {
    let report: RunReport

    init(_ report: RunReport) { self.report = report }

    private func metric(_ workload: String, _ backend: String, _ variant: String, _ name: String?)
        -> (metric: MetricAnalysis?, reason: String)
    {
        guard let cell = report.cell(workload: workload, backend: backend, variant: variant) else {
            return (nil, "\(workload) was not run on \(backend)/\(variant)")
        }
        let metrics = cell.analysis?.metrics ?? []
        let found = name == nil ? metrics.first : metrics.first { $0.name == name }
        return (
            found,
            cell.skipped ?? cell.analysis?.failures.first ?? lack(of: name, in: cell) ?? "\(workload) gave no such time"
        )
    }

    /// What the program itself says of a phase that it has not.
    private func lack(of phase: String?, in cell: CellRecord) -> String? {
        guard let phase else { return nil }
        return cell.trials.lazy.compactMap { $0.result.countersUnavailable["program." + phase] }.first
    }

    /// Median of paired ratios to the native time; of the first metric, or that of the name.
    func slowdown(_ workload: String, _ backend: String, _ variant: String = "default", metric name: String? = nil)
        -> Figure
    {
        let (metric, reason) = metric(workload, backend, variant, name)
        return metric?.slowdown ?? .unavailable(reason: reason)
    }

    /// Nanoseconds of an operation, or of a run; of the first metric, or that of the name.
    func time(_ workload: String, _ backend: String, _ variant: String = "default", metric name: String? = nil)
        -> Figure
    {
        let (metric, reason) = metric(workload, backend, variant, name)
        return metric?.time ?? .unavailable(reason: reason)
    }

    /// TSC cycles of an operation.
    func cycles(_ workload: String, _ backend: String, _ variant: String = "default", metric name: String) -> Figure {
        let (metric, reason) = metric(workload, backend, variant, name)
        guard let hertz = report.host.tscHertz else { return .unavailable(reason: "the TSC frequency is unknown") }
        guard let time = metric?.time else { return .unavailable(reason: reason) }
        return time.value.map { Figure($0 * hertz / 1e9) } ?? time
    }

    private func results(_ backend: String) -> [TrialResult] {
        report.cells.filter { $0.backend == backend }.flatMap(\.trials).map(\.result)
    }

    /// Median over every trial of a backend.
    func counter(_ name: String, _ backend: String) -> Figure {
        let values = results(backend).compactMap { $0.counters[name] }.sorted()
        guard !values.isEmpty else { return .unavailable(reason: "no trial on \(backend) counted it") }
        let middle = values.count / 2
        return Figure(values.count % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2)
    }

    /// Instructions translated in all trials of a backend, by the time that took in them.
    func translationRate(_ backend: String) -> Figure {
        guard let hertz = report.host.tscHertz else { return .unavailable(reason: "the TSC frequency is unknown") }
        var instructions = 0.0
        var cycles = 0.0
        for result in results(backend) {
            let translations = result.exits?.filter { $0.reason == "translation" } ?? []
            if translations.isEmpty { continue }
            instructions += result.counters["software.translatedInstructions"] ?? 0
            cycles += translations.reduce(0) { $0 + Double($1.timedCycles) }
        }
        guard cycles > 0 else { return .unavailable(reason: "nothing was translated") }
        return Figure(instructions / (cycles / hertz))
    }
}

extension Figure {
    /// Unavailable unless there are values and all of them are positive.
    init(geometricMeanOf values: [Double]) {
        do { self.init(try Observations(values).geometricMean()) } catch {
            self = .unavailable(reason: "\(error)")
        }
    }
}
