import FoundationEssentials
import Report

/// Exit ledgers as JSON, for scripts.
enum LedgerJSON {
    private struct Document: Encodable {
        struct Exit: Encodable {
            var reason: String
            var count: Double
            var totalCycles: Double
            var minimumCycles: Double?
            var meanCycles: Double?
            var medianCycles: Double?
            var p99Cycles: Double?
            var maximumCycles: Double?
            var totalNanoseconds: Double?
            var meanNanoseconds: Double?
            /// Of all exits, 0 to 1.
            var countShare: Double
            /// Of the run time, 0 to 1.
            var timeShare: Double?
        }
        struct Cell: Encodable {
            var workload: String
            var backend: String
            var variant: String
            var trials: Int?
            var runNanoseconds: Double?
            var exits: [Exit]?
            /// Why there is no ledger.
            var unavailable: String?
        }
        var tscHertz: Double?
        var cells: [Cell]
    }

    static func text(_ listing: LedgerListing) throws -> String {
        let cells = listing.entries.map { entry in
            Document.Cell(
                workload: entry.workload, backend: entry.backend, variant: entry.variant, trials: entry.ledger?.trials,
                runNanoseconds: entry.ledger?.nanoseconds,
                exits: entry.ledger.map { exits(of: $0, tscHertz: listing.tscHertz) }, unavailable: entry.missing)
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        let document = Document(tscHertz: listing.tscHertz, cells: cells)
        return String(decoding: try encoder.encode(document), as: UTF8.self)
    }

    private static func exits(of ledger: PooledLedger, tscHertz: Double?) -> [Document.Exit] {
        func nanoseconds(_ cycles: Double) -> Double? { tscHertz.map { cycles / $0 * 1e9 } }
        let count = ledger.count
        return ledger.exits.map { exit in
            let total = nanoseconds(exit.totalCycles)
            return Document.Exit(
                reason: exit.reason, count: exit.count, totalCycles: exit.totalCycles,
                minimumCycles: exit.minimumCycles, meanCycles: exit.meanCycles, medianCycles: exit.medianCycles,
                p99Cycles: exit.p99Cycles, maximumCycles: exit.maximumCycles, totalNanoseconds: total,
                meanNanoseconds: exit.meanCycles.flatMap(nanoseconds), countShare: exit.count / count,
                timeShare: ledger.nanoseconds > 0 ? total.map { $0 / ledger.nanoseconds } : nil)
        }
    }
}
