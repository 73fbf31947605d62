import Support

/// Nodes linked into one cycle in shuffled order: each holds the offset of the next. Node 0 is the first; the same number
/// of nodes gives the same order everywhere.
struct ShuffledCycle {
    private let order: UnsafeMutablePointer<UInt32>
    private let nodes: Int
    private let offset: (Int) -> UInt64

    /// Links `nodes` nodes in `memory`; `offset` says where each lies, in bytes, node 0 at offset 0.
    init(_ nodes: Int, in memory: Memory, offset: @escaping (Int) -> UInt64) {
        self.nodes = nodes
        self.offset = offset
        order = .allocate(capacity: nodes)
        for index in 0..<nodes { order[index] = UInt32(truncatingIfNeeded: index) }
        var random = Random(seed: UInt64(nodes))
        // Node 0 stays first; the rest by Fisher and Yates.
        var index = nodes - 1
        while index > 1 {
            let other = 1 + Int(random.next(below: UInt64(index)))
            (order[index], order[other]) = (order[other], order[index])
            index -= 1
        }
        for position in 0..<nodes {
            let next = order[position + 1 == nodes ? 0 : position + 1]
            let node = memory.start + Int(offset(Int(order[position])))
            node.storeBytes(of: offset(Int(next)), as: UInt64.self)
        }
    }

    /// The offset that `hops` hops from node 0 lead to, from the order alone.
    func offset(after hops: UInt64) -> UInt64 { offset(Int(order[Int(hops % UInt64(nodes))])) }

    /// The links stay in memory.
    func release() { order.deallocate() }

    /// Follows the links from node 0; the offset reached. Every load waits for the one before.
    @inline(__always)
    static func follow(_ memory: Memory, _ hops: UInt64) -> UInt64 {
        let base = UnsafeRawPointer(memory.start)
        var offset: UInt64 = 0
        for _ in 0..<hops {
            offset = base.load(fromByteOffset: Int(truncatingIfNeeded: offset), as: UInt64.self)
        }
        return offset
    }
}
