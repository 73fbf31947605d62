import Results

/// What the figures of an explanation say, in sentences.
struct ExplanationWords {
    private let explanation: Explanation

    init(_ explanation: Explanation) { self.explanation = explanation }

    // MARK: Units

    /// "one operation", for headings.
    var unit: String {
        switch explanation.unit {
        case .operation: "one operation"
        case .phase(let name): "one operation of phase \(name)"
        case .run: "one run of the program"
        case .trial(let phases): "all rounds of a trial, its phases together (\(phases.joined(separator: ", ")))"
        }
    }

    /// "OP", for column titles.
    var short: String {
        switch explanation.unit {
        case .operation, .phase: "OP"
        case .run: "RUN"
        case .trial: "TRIAL"
        }
    }

    /// "an operation", as the subject of a sentence.
    private var each: String {
        if case .trial = explanation.unit { return "a trial's work" }
        return perUnit
    }

    private var perUnit: String {
        switch explanation.unit {
        case .operation, .phase: "an operation"
        case .run: "a run"
        case .trial: "a trial"
        }
    }

    /// A number and its unit stay in one line.
    private func time(_ nanoseconds: Double) -> String {
        NumberText.signedTime(nanoseconds: nanoseconds).replacing(" ", with: "\u{A0}")
    }

    private func percent(_ fraction: Double) -> String {
        NumberText.signedPercent(fraction).replacing(" ", with: "\u{A0}")
    }

    // MARK: Cells

    /// Where the time of a cell goes.
    func sentences(of account: CostAccount) -> [String] {
        guard account.time.value != nil else {
            return ["\(account.name): not measured: \(account.time.reason ?? "no reason is given")."]
        }
        guard let overhead = account.overhead.value else {
            return ["\(account.name): its overhead is not known: \(account.overhead.reason ?? "no reason is given")."]
        }
        var sentences =
            overhead < 0
            ? [
                "\(account.name): there is no overhead: it is faster than native by \(time(-overhead)) \(perUnit). The guest runs on "
                    + "a kernel of its own, whose work is less here than that of the host's."
            ]
            : ["\(account.name): the overhead is \(time(overhead)) \(perUnit)."]
        if let interval = account.slowdown.estimate?.interval {
            if interval.lower <= 1 && interval.upper >= 1 {
                sentences.append("The interval of the slowdown includes 1: no difference from native is seen.")
            }
        } else {
            sentences.append("With one pair of trials nothing tells it from noise.")
        }
        if let exits = account.exits {
            sentences += accounted(account)
            sentences += ledger(exits, overhead: account.accounted.value ?? overhead)
            sentences += residual(account, exits)
        } else {
            sentences.append("Its exits are not known: \(account.exitsMissing ?? "no reason is given").")
        }
        return sentences + counted(account) + decided(account)
    }

    /// Where medians after warm-up and means of all rounds are apart.
    private func accounted(_ account: CostAccount) -> [String] {
        guard let median = account.overhead.value, let mean = account.accounted.value,
            abs(mean - median) > 0.02 * abs(median)
        else { return [] }
        return ["In the mean of all rounds, warm-up included, which is what the exits are of, it is \(time(mean))."]
    }

    private func ledger(_ exits: LedgerCosts, overhead: Double) -> [String] {
        let busy = exits.exits.filter { !$0.isWaiting }
        if busy.isEmpty { return ["There were no exits to time."] }
        let top = busy.prefix(3).map {
            "\($0.reason) (\(time($0.nanoseconds)), \(NumberText.count($0.count)) exits \(perUnit))"
        }
        let part = overhead > 0 ? ", \(percent(exits.sum / overhead)) of it" : ""
        var sentences = ["Timed exits add up to \(time(exits.sum))\(part), most in \(list(top))."]
        if !exits.inline.isEmpty {
            let items = exits.inline.map { "\(NumberText.count($0.count)) \($0.reason)" }
            sentences.append(
                "Translated code itself carried out \(list(items)) \(perUnit), which are no exits and are not timed.")
        }
        guard !exits.isOfRounds else { return sentences }
        let (timed, outside) =
            explanation.unit == .run
            ? ("the program's run", "outside of it (boot)")
            : ("timed rounds", "outside of them (boot, start and end of the program, between rounds)")
        return sentences + [
            "The ledger is of the time from the machine's start to the program's end, \(time(exits.coveredNanoseconds)), of "
                + "which \(percent(exits.timedShare)) is \(timed).",
            exits.sum <= exits.outsideNanoseconds
                ? "Exits \(outside) could make up the whole sum."
                : "Exits \(outside) are \(time(exits.outsideNanoseconds)) of the sum at most.",
        ]
    }

    private func residual(_ account: CostAccount, _ exits: LedgerCosts) -> [String] {
        guard let residual = account.residual.value, let overhead = account.accounted.value else { return [] }
        var sentences: [String] = []
        if residual >= 0 {
            let part = overhead > 0 ? " (\(percent(residual / overhead)))" : ""
            sentences.append("The residual, \(time(residual))\(part), is in no timed exit.")
        } else if exits.isOfRounds {
            sentences.append(
                "The residual is negative, \(time(residual)): what is in no exit takes less time than the native work.")
        } else if account.exitsExceedTime {
            sentences.append(
                "The sum is more than \(each) takes at all, and the residual negative, \(time(residual)): most of these exits are "
                    + "outside of the rounds or of warm-up, and say little of the time measured.")
        } else {
            let why = overhead < 0 ? "the overhead itself is, and the sum" : "the sum"
            sentences.append(
                "The residual is negative, \(time(residual)): \(why) holds exits outside of the timed rounds, and means where "
                    + "times are medians.")
        }
        if let guest = exits.guestNanoseconds, let native = account.native.value {
            sentences.append(
                "Outside of the VMM, transitions left out, \(each) takes \(time(guest)), where all of it takes \(time(native)) "
                    + "natively.")
        }
        let causes = causes(of: account)
        if !causes.isEmpty { sentences.append("What counters say can be in the residual: \(list(causes)).") }
        return sentences
    }

    /// What makes guest code itself slower, as far as it was counted.
    private func causes(of account: CostAccount) -> [String] {
        func count(_ reason: String) -> Double { account.exits?.exits.first { $0.reason == reason }?.count ?? 0 }
        var causes: [String] = []
        let fills = count("shadow-fill")
        if fills > 0 {
            causes.append(
                "cold TLBs and caches behind \(NumberText.count(fills)) shadow fills \(perUnit)")
        }
        if let dropped = account.counters["software.shadowDrops"], dropped > 0 {
            causes.append("\(NumberText.count(dropped)) shadow pages dropped by flushes \(perUnit), boot included")
        }
        if account.counters["software.translatedInstructions"] ?? 0 > 0 {
            causes.append("translated code, which is longer than the guest's own")
        }
        // Where ring 0 is emulated, a profile has it in the sum.
        let isProfiled = account.exits?.hasKernelExits == true
        if account.backend == "kvm", explanation.hardwareAssisted != false || !isProfiled {
            causes.append(
                explanation.hardwareAssisted == false
                    ? "ring 0 emulated by KVM instruction by instruction"
                    : "two-dimensional page walks on TLB misses, and caches that exits leave cold")
        }
        return causes
    }

    /// What backends count beside the ledger: name, and how a sentence calls it.
    private static let kvmCounters = [
        ("kvm.stats.exits", "exits"), ("kvm.stats.insn_emulation", "emulated instructions"),
        ("kvm.stats.pf_taken", "page faults"),
    ]
    private static let untimedKVM = "kvm.exitLatency.inKernel"

    private func counted(_ account: CostAccount) -> [String] {
        func counts(_ counters: [(name: String, words: String)]) -> [String] {
            counters.compactMap { counter in
                account.counters[counter.name].flatMap { $0 > 0 ? "\(NumberText.count($0)) \(counter.words)" : nil }
            }
        }
        var sentences: [String] = []
        let kernel = counts(Self.kvmCounters)
        if !kernel.isEmpty { sentences.append("KVM itself counted \(list(kernel)) \(perUnit), boot included.") }
        if account.exits?.hasKernelExits == true {
            sentences.append(
                "What KVM handled itself is from the profile trial: by its operations, without what recording took.")
        } else if let reason = account.countersMissing[Self.untimedKVM] {
            sentences.append("They are not timed: \(reason).")
        }
        return sentences
    }

    private func decided(_ account: CostAccount) -> [String] {
        guard let first = account.decisions.first else { return [] }
        let more = account.decisions.count > 1 ? "; \(account.decisions.count - 1) more are in the report" : ""
        return ["The VMM decided: \(first)\(more)."]
    }

    // MARK: Verdicts

    var verdicts: [String] {
        var verdicts: [String] = []
        if let contest = explanation.techniques {
            verdicts.append(verdict(contest, among: "the hardware VMM (kvm) and the software VMM"))
            if explanation.hardwareAssisted == false {
                verdicts.append("KVM is not hardware-assisted on this host: this says nothing about VT-x or AMD-V.")
            }
        } else {
            let missing = ["kvm", "software"].filter { name in
                !explanation.accounts.contains { $0.backend == name && $0.time.value != nil }
            }
            let reasons = missing.map { name in
                let reason = explanation.accounts.first { $0.backend == name }?.time.reason
                return "\(name) has no time: \(reason ?? "the report has no such cell")"
            }
            verdicts.append("Not known. " + reasons.map { $0 + "." }.joined(separator: " "))
        }
        let software = explanation.accounts.filter { $0.backend == "software" }
        if let contest = explanation.variants {
            let times = software.compactMap { account in
                account.time.value.map { time in
                    let options = account.options.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
                    let text = options.isEmpty ? "no options" : options.joined(separator: " ")
                    return (time, "\(account.name) (\(text)) \(self.time(time))")
                }
            }.sorted { $0.0 < $1.0 }.map(\.1)
            verdicts.append("Of the software VMM: \(list(times)).")
            verdicts.append(verdict(contest, among: "its two fastest variants"))
        } else if software.count == 1 {
            verdicts.append("The report has one variant of the software VMM: user modes are not compared.")
        }
        return verdicts
    }

    private func verdict(_ contest: Explanation.Contest, among whom: String) -> String {
        let (winner, loser) = (contest.winner, contest.loser)
        guard let ratio = contest.ratio.estimate else {
            return "Between \(whom): not known: \(contest.ratio.reason ?? "no reason is given")."
        }
        let times = "\(loser.name) takes \(NumberText.ratio(ratio)) times the time of \(winner.name)"
        guard let interval = ratio.interval else {
            return "Between \(whom): \(times). One pair of trials is no verdict."
        }
        guard interval.lower > 1 else {
            return "Between \(whom): no winner is seen: \(times), and the interval does not lie above 1."
        }
        return (["Between \(whom): \(winner.name) wins: \(times)."] + why(contest)).joined(separator: " ")
    }

    private func why(_ contest: Explanation.Contest) -> [String] {
        let (winner, loser) = (contest.winner, contest.loser)
        guard let first = contest.differences.first, let last = contest.differences.last else {
            let missing = [winner, loser].compactMap { account in
                (account.exits == nil ? account.exitsMissing : account.residual.reason).map { "\(account.name): \($0)" }
            }
            return ["Why is not known: \(missing.joined(separator: "; "))."]
        }
        if loser.exitsExceedTime {
            return ["The exits of \(loser.name) are mostly not of the time measured: they do not say why."]
        }
        func spent(_ reason: String?, _ account: CostAccount) -> Double {
            reason.map { account.exits?.nanoseconds(of: $0) ?? 0 } ?? account.residual.value ?? 0
        }
        func text(_ reason: String?, _ more: CostAccount, _ less: CostAccount) -> String {
            let what = reason.map { "exits for \($0)" } ?? "what is in no timed exit"
            return
                "\(what), \(time(spent(reason, more))) \(perUnit) on \(more.name) and \(time(spent(reason, less))) on \(less.name)"
        }
        if winner.exitsExceedTime,
            let most = contest.differences.map(\.reason).max(by: { spent($0, loser) < spent($1, loser) })
        {
            let what = most.map { "exits for \($0)" } ?? "what is in no timed exit"
            return [
                "The most on \(loser.name) is \(what), \(time(spent(most, loser))) \(perUnit); all of \(winner.name) takes "
                    + "\(time(winner.time.value ?? 0)), and its exits are mostly not of the time measured."
            ]
        }
        var sentences: [String] = []
        if first.nanoseconds > 0 { sentences.append("The largest difference is \(text(first.reason, loser, winner)).") }
        if last.nanoseconds < 0 {
            let isOutside = last.reason != nil && spent(last.reason, winner) <= winner.exits?.outsideNanoseconds ?? 0
            sentences.append(
                "Against that stands \(text(last.reason, winner, loser))"
                    + (isOutside ? "; all of that may be outside of the timed rounds." : "."))
        }
        return sentences
    }

    // MARK: Limits

    var limits: [String] {
        let recorded = explanation.accounts.filter { $0.exits != nil }
        let ofRounds = !recorded.isEmpty && recorded.allSatisfy { $0.exits?.isOfRounds == true }
        return ExitCoverage.sentences(backends: Set(recorded.map(\.backend))) + [
            "Native programs run on the host's kernel, guests on Nub: the overhead holds the difference of the kernels too.",
            ofRounds
                ? "Times, overheads and slowdowns at the top are medians of trials after warm-up, each with its native pair; the "
                    + "overhead that is taken apart is of the mean of all rounds, as their exits are."
                : "Times are medians of trials after warm-up, each with its native pair; exits are means over these trials' whole "
                    + "ledgers, divided by all operations, warm-up included.",
        ]
    }

    private func list(_ items: some Collection<String>) -> String {
        guard let last = items.suffix(1).first, items.count > 1 else { return items.first ?? "" }
        return items.dropLast().joined(separator: ", ") + " and " + last
    }
}
