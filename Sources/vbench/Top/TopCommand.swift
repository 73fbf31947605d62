import ArgumentParser
import Backends
import FoundationEssentials
import Glibc
import Host

struct TopCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top",
        abstract: "Watch the VMs of this user that run now.",
        discussion: """
            Shows each VM's CPU time, the share of it that the guest had, the guest RAM that the host has backed with memory, \
            and exits to the VMM by reason. VMs are those of vbench: a run's, exec's, boot's. Nothing is asked of them: \
            their ledgers are read while they count.

            Without a terminal on standard output, or with --once or --batch, text is printed look by look.

            Examples:
              vbench top
              vbench top --once
              vbench top --batch -n 10 --interval 2 --sort cpu
              vbench top --once --json
            """)

    @Flag(help: "Print one look and end. Short for --batch -n 1.")
    var once = false

    @Flag(help: "Print look after look, without control sequences.")
    var batch = false

    @Option(name: [.customShort("n"), .long], help: "Looks before the end (default: until it is interrupted).")
    var count: Int?

    @Option(help: "Seconds between looks, 0.1 to 3600.")
    var interval = 1.0

    @Option(help: "Order of the VMs: \(MachineOrder.allCases.map(\.rawValue).joined(separator: ", ")).")
    var sort = MachineOrder.exits

    @Flag(help: "Print JSON, one line a look.")
    var json = false

    func validate() throws {
        guard interval >= 0.1, interval <= 3600 else {
            throw ValidationError("--interval must be from 0.1 to 3600 seconds")
        }
        if let count, count < 1 { throw ValidationError("-n must be 1 or more") }
    }

    func run() throws {
        guard access("/proc/self/fd", R_OK) == 0 else {
            Terminal.complain("vbench top: /proc cannot be read, which it finds VMs by")
            throw ExitStatus.internalError
        }
        if once || batch || json || isatty(1) == 0 || isatty(0) == 0 {
            try printLooks()
        } else {
            try watch()
        }
    }

    /// Two looks make an observation.
    private struct Observer {
        var scanner = MachineScanner()
        var last: [RunningMachine.Identity: (machine: RunningMachine, time: Double)] = [:]

        mutating func look(_ command: TopCommand, selected: Int32? = nil, order: MachineOrder) -> TopScreen {
            let machines = scanner.scan()
            let now = MonotonicClock.now() / 1e9
            let tsc = TimestampCounter.now()
            let activities = machines.compactMap { machine -> MachineActivity? in
                guard let (old, time) = last[machine.identity], now > time else { return nil }
                return MachineActivity(
                    from: old, to: machine, elapsed: now - time, now: tsc,
                    ticksPerSecond: Double(max(1, sysconf(Int32(_SC_CLK_TCK)))))
            }
            last = Dictionary(uniqueKeysWithValues: machines.map { ($0.identity, ($0, now)) })
            return TopScreen(
                machines: activities, selected: selected, order: order, time: Self.wallClock(),
                interval: command.interval, unreadable: scanner.unreadable, isInteractive: false)
        }

        private static func wallClock() -> String {
            var now = time(nil)
            var parts = tm()
            localtime_r(&now, &parts)
            func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
            return "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
        }
    }

    // MARK: Text

    private func printLooks() throws {
        var observer = Observer()
        _ = observer.look(self, order: sort)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        var left = once ? 1 : count ?? Int.max
        while left > 0 {
            usleep(UInt32(interval * 1e6))
            let screen = observer.look(self, order: sort)
            var text = ""
            if json {
                text = String(decoding: try encoder.encode(TopJSON(screen)), as: UTF8.self) + "\n"
            } else {
                // Nothing is cut off in a file.
                let width = isatty(1) == 0 ? 1000 : Terminal.width
                text = screen.lines(width: width, height: nil).map { $0.text + "\n" }.joined()
                if left > 1 { text += "\n" }
            }
            do { try writeAll(Array(text.utf8), to: 1) } catch { throw ExitStatus.signal(SIGPIPE) }
            left -= 1
        }
    }

    // MARK: Full screen

    private func watch() throws {
        let session = try ScreenSession()
        var observer = Observer()
        var order = sort
        var selected: Int32?
        var screen = observer.look(self, order: order)
        var left = count ?? Int.max
        // The first figures after a moment, not after a whole interval.
        var deadline = MonotonicClock.now() / 1e9 + min(interval, 0.3)
        while true {
            screen.isInteractive = true
            (screen.order, screen.selected) = (order, selected)
            let size = session.size
            session.show(screen.lines(width: size.width, height: size.height))
            switch session.next(until: deadline) {
            case .key(UInt8(ascii: "q")), .key(UInt8(ascii: "Q")): return
            case .key(UInt8(ascii: "e")): order = .exits
            case .key(UInt8(ascii: "c")): order = .cpu
            case .key(UInt8(ascii: "m")): order = .memory
            case .key(UInt8(ascii: "p")): order = .pid
            case .up: selected = neighbour(of: selected, in: screen, by: -1)
            case .down: selected = neighbour(of: selected, in: screen, by: 1)
            case .key: break
            case .signal(SIGTSTP): session.suspend()
            case .signal(let signal): throw ExitStatus.signal(signal)
            case .redraw: break
            }
            guard MonotonicClock.now() / 1e9 >= deadline else { continue }
            guard left > 0 else { return }
            left -= 1
            screen = observer.look(self, order: order)
            deadline = MonotonicClock.now() / 1e9 + interval
        }
    }

    private func neighbour(of pid: Int32?, in screen: TopScreen, by step: Int) -> Int32? {
        let pids = screen.order.sorted(screen.machines).map(\.machine.identity.pid)
        guard !pids.isEmpty else { return nil }
        let index = pids.firstIndex { $0 == pid } ?? 0
        return pids[max(0, min(pids.count - 1, index + step))]
    }
}

extension MachineOrder: ExpressibleByArgument {}
