import Support

/// Tells the kernel where timed rounds begin and end, if it is Nub: then the VMM knows which exits belong to them. Natively one
/// system call that is not there, and nothing more.
struct RoundMarks {
    private let isKnown: Bool

    /// Names the workload's phases.
    init<W: Workload>(_ workload: W) {
        var isKnown = true
        for phase in 0..<workload.phases where isKnown {
            var name = Text()
            workload.appendName(ofPhase: phase, to: &name)
            isKnown = name.bytes.withUnsafeBufferPointer { bytes in
                vb_syscall4(
                    Int64(RoundMark.systemCall), Int64(RoundMark.name.rawValue), Int64(phase),
                    Int64(Int(bitPattern: bytes.baseAddress)), Int64(bytes.count)) == 0
            }
        }
        self.isKnown = isKnown
    }

    @inline(__always)
    func begin(phase: Int) { mark(.begin, phase) }

    @inline(__always)
    func end(phase: Int) { mark(.end, phase) }

    @inline(__always)
    private func mark(_ mark: RoundMark, _ phase: Int) {
        if isKnown { _ = vb_syscall3(Int64(RoundMark.systemCall), Int64(mark.rawValue), Int64(phase), 0) }
    }
}
