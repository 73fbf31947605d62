/// Which pages were mapped when an address space was last left, by its root (CR3): what to map again when it is back.
///
/// Only a hint: a root may be another address space by then, and every page goes through the guest's tables again. So it may
/// forget: it keeps the sets of the last few roots, and of each the first runs of pages.
final class RetainedSets {
    /// Pages side by side: number of the first in bits 63:12, how many in bits 11:0.
    struct Run {
        fileprivate let rawValue: UInt64
        var page: UInt64 { rawValue >> 12 }
        var count: Int { Int(rawValue & 0xFFF) }
    }

    private static let roots = 32
    /// For each half of a set: ring 3's view and ring 0's.
    private static let runsEach = 128

    private struct Half {
        var count = 0
        /// Times it was brought back: every time other runs are left out, so that what is not used gets lost.
        var visits = 0
    }

    private struct Slot {
        var root = UInt64.max
        var lastUse: UInt64 = 0
        var user = Half()
        var supervisor = Half()

        subscript(user isUser: Bool) -> Half {
            get { isUser ? user : supervisor }
            set { if isUser { user = newValue } else { supervisor = newValue } }
        }
    }

    private var slots: [Slot]
    private let runs: UnsafeMutablePointer<Run>
    private var clock: UInt64 = 0

    init() {
        slots = Array(repeating: Slot(), count: Self.roots)
        let count = Self.roots * 2 * Self.runsEach
        runs = .allocate(capacity: count)
        runs.initialize(repeating: Run(rawValue: 0), count: count)
    }

    deinit { runs.deallocate() }

    private func find(_ root: UInt64) -> Int? { slots.firstIndex { $0.root == root } }

    private func first(_ slot: Int, _ user: Bool) -> Int { (slot * 2 + (user ? 1 : 0)) * Self.runsEach }

    /// Empties a half of a root's set, for `add`. The slot is the one used longest ago where the root is new.
    func begin(_ root: UInt64, user: Bool) -> Int {
        clock &+= 1
        var slot = find(root)
        if slot == nil, let oldest = slots.indices.min(by: { slots[$0].lastUse < slots[$1].lastUse }) {
            slots[oldest] = Slot()
            slots[oldest].root = root
            slot = oldest
        }
        let chosen = slot ?? 0
        slots[chosen].lastUse = clock
        slots[chosen][user: user].count = 0
        return chosen
    }

    /// Adds pages; false when the half is full.
    func add(_ page: UInt64, count: Int, to slot: Int, user: Bool) -> Bool {
        let used = slots[slot][user: user].count
        guard used < Self.runsEach else { return false }
        runs[first(slot, user) + used] = Run(rawValue: page << 12 | UInt64(count))
        slots[slot][user: user].count += 1
        return true
    }

    /// One in so many runs is not brought back: if it is used it faults once and is in the next set, else it is out for good.
    private static let forgetOneIn = 16

    /// The runs to bring back for a root, until `body` says that it is enough.
    func forEachRun(_ root: UInt64, user: Bool, _ body: (Run) -> Bool) {
        guard let slot = find(root) else { return }
        slots[slot][user: user].visits &+= 1
        let half = slots[slot][user: user]
        for index in 0..<half.count where (index &+ half.visits) % Self.forgetOneIn != 0 {
            guard body(runs[first(slot, user) + index]) else { return }
        }
    }
}
