import Results
import Testing

@testable import Report

struct LedgerCostTests {
    private func report() -> RunReport {
        func cell(_ backend: String, _ times: [Double], _ options: [String: String], _ variant: String) -> CellRecord {
            var cell = SampleReport.cell(
                "w", backend, times.map { SampleReport.passed(rounds: [$0, $0]) }, variant: variant)
            cell.options = options
            return cell
        }
        var report = SampleReport.empty()
        report.cells = [
            cell("software", [102, 204, 306], ["userMode": "direct", "ledger": "on"], "direct"),
            cell("software", [100, 200, 300], ["userMode": "direct", "ledger": "off"], "direct-no-ledger"),
            cell("software", [7], ["userMode": "translate"], "translate"),
            cell("kvm", [50], ["ledger": "off"], "no-ledger"),
        ]
        return report
    }

    @Test func pairsWithTheSameOtherOptionsAreCompared() throws {
        let cost = LedgerCost(report())
        let row = try #require(cost.rows.first)
        #expect(cost.rows.count == 1 && row.backend == "software/direct" && row.metric == "main")
        #expect(row.off.value == 200 && row.on.value == 204)
        #expect(abs(try #require(row.ratio.value) - 1.02) < 1e-9)
        #expect(cost.text().contains("w         software/direct      200 ns  204 ns  2.0 % [2.0 %, 2.0 %]"))
    }

    @Test func aReportWithoutPairsSaysWhatToRun() {
        #expect(LedgerCost(SampleReport.full()).text().contains("Workloads/suites/ledger-cost.json"))
    }
}
