/// The live view as lines of text. Pure: what is known in, text out.
struct TopScreen {
    var machines: [MachineActivity]
    /// Whose exits are shown below; nil or gone: the first one's.
    var selected: Int32?
    var order: MachineOrder
    /// `05:29:11`
    var time: String
    var interval: Double
    /// Processes of this user that could not be looked into.
    var unreadable: Int
    var isInteractive: Bool

    enum Style { case plain, title, heading, chosen }

    struct Line: Equatable {
        var text: String
        var style = Style.plain
    }

    /// At most `height` lines of at most `width` characters; nil height: as many as there are.
    func lines(width: Int, height: Int?) -> [Line] {
        let sorted = order.sorted(machines)
        let chosen = sorted.first { $0.machine.identity.pid == selected } ?? sorted.first
        var lines = [Line(text: title(sorted), style: .title)]
        if isInteractive {
            lines.append(Line(text: "q quit   sort by e exits, c CPU, m memory, p PID   up/down choose a VM"))
        }
        lines.append(Line(text: ""))
        guard let chosen else {
            lines.append(Line(text: "No VM of this user runs under vbench now."))
            return fitted(lines, width, height)
        }
        lines.append(Line(text: Self.machineHeading, style: .heading))
        // The chosen VM's exits get a third of the screen at least.
        let room = height.map { max(1, ($0 - lines.count) * 2 / 3 - 2) } ?? sorted.count
        let index = sorted.firstIndex { $0.machine.identity == chosen.machine.identity } ?? 0
        let first = max(0, min(index - room / 2, sorted.count - room))
        for machine in sorted.dropFirst(first).prefix(room) {
            let isChosen = isInteractive && machine.machine.identity == chosen.machine.identity
            lines.append(Line(text: Self.row(machine), style: isChosen ? .chosen : .plain))
        }
        if sorted.count > room { lines.append(Line(text: "  … \(sorted.count - room) more")) }
        lines.append(Line(text: ""))
        let name = "\(chosen.machine.ledger.title) (\(chosen.machine.ledger.backend), \(chosen.machine.identity.pid))"
        lines.append(Line(text: "Exits to the VMM of \(name)"))
        lines.append(Line(text: Self.reasonHeading, style: .heading))
        lines += chosen.reasons.map { Line(text: Self.row($0)) }
        return fitted(lines, width, height)
    }

    private func title(_ sorted: [MachineActivity]) -> String {
        let exits = sorted.reduce(0) { $0 + $1.exitsPerSecond }
        let count = "\(sorted.count) VM\(sorted.count == 1 ? "" : "s")"
        var text = "vbench top  \(time)  \(count), \(Self.number(exits)) exits/s  every \(Self.seconds(interval))"
        if unreadable > 0 { text += "  \(unreadable) processes unreadable" }
        return text
    }

    private func fitted(_ lines: [Line], _ width: Int, _ height: Int?) -> [Line] {
        lines.prefix(height ?? lines.count).map { Line(text: String($0.text.prefix(width)), style: $0.style) }
    }

    // MARK: Columns

    private static let machineHeading =
        right("PID", 8) + " " + left("BACKEND", 9) + left("WORKLOAD", 17) + right("TIME", 7) + right("CPU %", 7)
        + right("GUEST %", 8) + right("EXITS/S", 9) + right("GUEST RAM", 14)

    private static func row(_ activity: MachineActivity) -> String {
        let machine = activity.machine
        let memory =
            (machine.guestBytes.map { "\(bytes($0)) of " } ?? "– of ") + bytes(machine.ledger.memoryBytes)
        return right("\(machine.identity.pid)", 8) + " " + left(machine.ledger.backend, 9)
            + left(machine.ledger.title, 17) + right(duration(activity.seconds), 7)
            + right(percent(activity.processorShare), 7) + right(percent(activity.guestShare), 8)
            + right(number(activity.exitsPerSecond), 9) + right(memory, 14)
    }

    private static let reasonHeading =
        left("  REASON", 26) + right("EXITS/S", 10) + right("MEAN", 10) + right("TIME %", 9) + right("TOTAL", 14)

    private static func row(_ reason: MachineActivity.Reason) -> String {
        left("  " + reason.name, 26) + right(number(reason.perSecond), 10)
            + right(reason.meanNanoseconds.map(nanoseconds) ?? "–", 10) + right(percent(reason.share), 9)
            + right("\(reason.total)", 14)
    }

    private static func left(_ text: String, _ width: Int) -> String {
        let cut = text.prefix(width - 1)
        return cut + String(repeating: " ", count: width - cut.count)
    }

    private static func right(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(1, width - text.count)) + text
    }

    // MARK: Numbers

    private static func tenths(_ value: Double) -> String {
        guard value.isFinite, abs(value) < 1e15 else { return "?" }
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(abs(tenths % 10))"
    }

    /// `14.2`, `183 k`, `1.2 M`
    static func number(_ value: Double) -> String {
        switch value {
        case ..<1000: tenths(value)
        case ..<10_000: tenths(value / 1000) + " k"
        case ..<1_000_000: "\(Int((value / 1000).rounded())) k"
        case ..<1e15: tenths(value / 1e6) + " M"
        default: "?"
        }
    }

    static func percent(_ share: Double) -> String { tenths(share * 100) }

    static func nanoseconds(_ value: Double) -> String {
        switch value {
        case ..<1000: "\(Int(max(0, value).rounded())) ns"
        case ..<1e6: tenths(value / 1000) + " us"
        default: tenths(value / 1e6) + " ms"
        }
    }

    static func bytes(_ value: UInt64) -> String {
        switch value {
        case ..<(10 << 20): "\(value >> 10)K"
        case ..<(10 << 30): "\(value >> 20)M"
        default: "\(value >> 30)G"
        }
    }

    static func duration(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds < 1e9 else { return "?" }
        let whole = Int(seconds)
        let two = { (value: Int) in value < 10 ? "0\(value)" : "\(value)" }
        return whole < 3600
            ? "\(whole / 60):\(two(whole % 60))" : "\(whole / 3600):\(two(whole / 60 % 60)):\(two(whole % 60))"
    }

    private static func seconds(_ value: Double) -> String { tenths(value) + " s" }
}
