import FoundationEssentials
import Report

/// Exit ledgers as JSON, for scripts.
enum LedgerJSON {
    private struct Document: Encodable {
        struct Exit: Encodable {
            var reason: String
            var handler: String
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
        struct Phase: Encodable {
            var name: String
            var timed: Bool
            var entries: Double
            var cycles: Double
            var guestCycles: Double
            var exits: [Exit]
            var inline: [Exit]
        }
        struct Function: Encodable {
            var function: String
            var ring: Int
            var reason: String
            var count: Double
            var cycles: Double
        }
        struct Cell: Encodable {
            var workload: String
            var backend: String
            var variant: String
            var trials: Int?
            var runNanoseconds: Double?
            var exits: [Exit]?
            /// Carried out by translated code itself.
            var inline: [Exit]?
            var phases: [Phase]?
            var functions: [Function]?
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
                exits: entry.ledger.map { exits($0.exits, of: $0, tscHertz: listing.tscHertz) },
                inline: entry.ledger.map { exits($0.inline, of: $0, tscHertz: listing.tscHertz) },
                phases: entry.ledger == nil
                    ? nil
                    : entry.phases.map { phase in
                        Document.Phase(
                            name: phase.name, timed: phase.isTimed, entries: phase.entries, cycles: phase.cycles,
                            guestCycles: phase.guestCycles,
                            exits: exits(phase.ledger.exits, of: phase.ledger, tscHertz: listing.tscHertz),
                            inline: exits(phase.ledger.inline, of: phase.ledger, tscHertz: listing.tscHertz))
                    },
                functions: entry.profile?.sites.map {
                    Document.Function(
                        function: $0.function, ring: $0.ring, reason: $0.reason, count: $0.count, cycles: $0.cycles)
                }, unavailable: entry.missing)
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        let document = Document(tscHertz: listing.tscHertz, cells: cells)
        return String(decoding: try encoder.encode(document), as: UTF8.self)
    }

    private static func exits(
        _ lines: [PooledExit], of ledger: PooledLedger, tscHertz: Double?
    ) -> [Document.Exit] {
        func nanoseconds(_ cycles: Double) -> Double? { tscHertz.map { cycles / $0 * 1e9 } }
        let count = lines.reduce(0) { $0 + $1.count }
        return lines.map { exit in
            let total = nanoseconds(exit.totalCycles)
            return Document.Exit(
                reason: exit.reason, handler: exit.handler.rawValue, count: exit.count, totalCycles: exit.totalCycles,
                minimumCycles: exit.minimumCycles, meanCycles: exit.meanCycles, medianCycles: exit.medianCycles,
                p99Cycles: exit.p99Cycles, maximumCycles: exit.maximumCycles, totalNanoseconds: total,
                meanNanoseconds: exit.meanCycles.flatMap(nanoseconds), countShare: exit.count / count,
                timeShare: ledger.nanoseconds > 0 ? total.map { $0 / ledger.nanoseconds } : nil)
        }
    }
}
