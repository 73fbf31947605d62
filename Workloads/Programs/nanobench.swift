import Support

typealias Program = Nanobench

/// Single operations of a kernel: in ring 0 where the kernel is Nub, which times them for us; else in ring 3, as far as ring 3 can do
/// them. A guest's ring 0 against native ring 3 is what virtualization does to the operation.
struct Nanobench: Workload {
    static var name: StaticString { "nanobench" }
    static var summary: StaticString {
        "single operations of a kernel, in ring 0 of a guest; natively what ring 3 can do"
    }
    static var operation: StaticString { "operation" }
    static var options: StaticString {
        """
          --operations M  operations a round, a multiple of 16 (default: for some 100 us)
          --only NAME,... these phases only (see Workloads/README.md)

        """
    }
    /// Batches are short, and their distribution is what is wanted.
    static var defaultRounds: UInt64 { 100 }
    static var hasChecksum: Bool { false }

    /// One phase: an operation, and how it is measured.
    private struct Phase {
        var benchmark: Nanobenchmark
        /// 0 until it has been chosen.
        var iterations: UInt64
        /// Of the empty loop, for so many iterations.
        var loopCycles: UInt64 = 0
        var isPrepared = false
    }

    private var operations: Operations
    private var chosen: [Phase] = []
    private var hindered: [(name: StaticString, reason: StaticString)] = []
    private var cycles: UInt64 = 0
    private var check: UInt64 = 0

    /// A batch takes about so many TSC cycles where `--operations` does not say otherwise.
    private static let batchCycles: UInt64 = 250_000
    /// A batch's iterations at most then: enough for the cheapest operations to stand out from the loop's edges.
    private static let mostIterations: UInt64 = 1024

    init(_ arguments: inout Arguments) {
        let all = Operations.all
        var wanted: [Nanobenchmark] = all
        let names = all.map { $0.name }
        if let only = arguments.choices("--only", names) { wanted = only.map { all[$0] } }
        let unrolled = UInt64(VB_NANO_UNROLLED)
        // 0: choose.
        let count = arguments.number(
            "--operations", default: 0, in: unrolled...(Nanobenchmark.iterationLimit * unrolled))
        guard count % unrolled == 0 else {
            var message = Text()
            message.append("--operations takes multiples of ")
            message.append(unrolled)
            usageError(message)
        }
        operations = Operations()
        for benchmark in wanted {
            let iterations = count / benchmark.unrolled
            guard iterations <= Nanobenchmark.iterationLimit else {
                var message = Text()
                message.append("--operations ")
                message.append(count)
                message.append(" is too much for ")
                message.append(benchmark.name)
                usageError(message)
            }
            let planned = arguments.rounds * max(count, benchmark.unrolled)
            if let reason = operations.obstacle(to: benchmark, operations: planned) {
                hindered.append((benchmark.name, reason))
            } else {
                chosen.append(Phase(benchmark: benchmark, iterations: iterations))
            }
        }
    }

    var phases: Int { chosen.count }

    func appendName(ofPhase phase: Int, to text: inout Text) { text.append(chosen[phase].benchmark.name) }

    mutating func prepare(phase: Int) {
        guard !chosen[phase].isPrepared else { return }
        chosen[phase].isPrepared = true
        let benchmark = chosen[phase].benchmark
        if chosen[phase].iterations == 0 { chosen[phase].iterations = calibrated(benchmark) }
        guard benchmark.isLoop else { return }
        var least = UInt64.max
        for _ in 0..<5 { least = min(least, operations.emptyLoop(of: benchmark, chosen[phase].iterations)) }
        chosen[phase].loopCycles = least
    }

    /// Iterations for a batch, by what one takes with all that is around it.
    private mutating func calibrated(_ benchmark: Nanobenchmark) -> UInt64 {
        // Fresh pages are used up.
        if benchmark == .coldPage { return 1 }
        var least = UInt64.max
        for _ in 0..<2 {
            let begin = vb_tsc_begin()
            let result = operations.run(benchmark, 1)
            // What a system call and its preparations take would leave cheap operations with a batch that is too short.
            let whole = vb_tsc_end() &- begin
            least = min(least, benchmark.isLoop ? result.cycles : whole)
        }
        return min(max(Self.batchCycles / max(least, 1), 1), Self.mostIterations)
    }

    mutating func run(phase: Int) -> UInt64 {
        let phase = chosen[phase]
        let result = operations.run(phase.benchmark, phase.iterations)
        // Less than the loop alone: what is left is below the resolution, and the whole an upper bound.
        cycles = result.cycles > phase.loopCycles ? result.cycles &- phase.loopCycles : result.cycles
        check = result.check
        return phase.iterations &* phase.benchmark.unrolled
    }

    func measuredCycles(phase: Int) -> UInt64? { cycles }

    mutating func outcome(phase: Int) -> Outcome {
        Outcome(got: check, expected: chosen[phase].iterations &* chosen[phase].benchmark.unrolled)
    }

    mutating func finish() { operations.finish() }

    func appendValues(to records: inout Records) {
        records.appendValue("ring", operations.isGuest ? 0 : 3)
        let resolution = operations.resolution
        records.appendValue("tsc-read-cycles", resolution.cycles)
        records.appendValue("tsc-granularity-cycles", resolution.check)
        for (name, reason) in hindered { records.appendUnavailable(name, reason) }
    }
}

/// Where operations are done: in ring 0 by Nub, or in ring 3.
private struct Operations {
    /// Whether the kernel times operations for us.
    let isGuest: Bool
    /// Of time stamps: the least time between two, and what all such times are multiples of.
    let resolution: NanobenchmarkResult
    private var unmapped: Memory?
    private var partner: vb_partner?

    /// In the order of their numbers, but the loop last.
    static var all: [Nanobenchmark] {
        var result: [Nanobenchmark] = []
        for number in 1..<Nanobenchmark.timeStamp.rawValue {
            if let benchmark = Nanobenchmark(rawValue: number) { result.append(benchmark) }
        }
        result.append(.loop)
        return result
    }

    init() {
        var result = NanobenchmarkResult()
        isGuest = Self.inRing0(.timeStamp, 64, &result) == 0
        if !isGuest { result = Self.result(vb_nano_time_stamp(64)) }
        resolution = result
    }

    /// Why so many operations cannot be done here; nil: they can.
    mutating func obstacle(to benchmark: Nanobenchmark, operations: UInt64) -> StaticString? {
        guard isGuest else { return Self.nativeObstacle(benchmark) }
        if benchmark == .nullSystemCall { return nil }
        var limit = NanobenchmarkResult()
        let status = Self.inRing0(benchmark, 0, &limit)
        if status != 0 { return NanobenchmarkObstacle(rawValue: limit.check)?.reason ?? "the kernel refuses it" }
        return limit.cycles > 0 && limit.cycles < operations ? NanobenchmarkObstacle.noMemory.reason : nil
    }

    /// Of operations that only a kernel can do.
    private static func nativeObstacle(_ benchmark: Nanobenchmark) -> StaticString? {
        switch benchmark {
        case .portRead, .portWrite, .worldSwitch: "ring 3 has no ports"
        case .cr8Write, .cr3Write, .cr3WriteWorkingSet: "ring 3 has no control registers"
        case .msrRead, .msrWrite, .msrReadEmulated, .msrWriteEmulated: "ring 3 has no MSRs"
        case .pageTableWrite, .invlpg: "ring 3 has no page tables"
        case .hypercall: "ring 3 has no hypervisor to call"
        case .mmioRead, .mmioWrite: "ring 3 has no device memory"
        case .selfInterrupt, .timerArm, .timerDelivery: "ring 3 has no local APIC"
        case .haltWakeup: "ring 3 cannot halt the CPU"
        default: nil
        }
    }

    /// The empty loop in the ring that a benchmark's loop runs in.
    func emptyLoop(of benchmark: Nanobenchmark, _ iterations: UInt64) -> UInt64 {
        guard isGuest, benchmark != .nullSystemCall else { return vb_nano_loop(iterations) }
        var result = NanobenchmarkResult()
        let status = Self.inRing0(.loop, iterations, &result)
        if status != 0 { systemError("timing in ring 0", -status) }
        return result.cycles
    }

    mutating func run(_ benchmark: Nanobenchmark, _ iterations: UInt64) -> NanobenchmarkResult {
        var result = NanobenchmarkResult()
        if isGuest, benchmark != .nullSystemCall {
            let status = Self.inRing0(benchmark, iterations, &result)
            if status != 0 { systemError("timing in ring 0", -status) }
            return result
        }
        result.check = iterations &* benchmark.unrolled
        switch benchmark {
        case .callReturn: return Self.result(vb_nano_call_return(iterations))
        case .nullSystemCall: result.cycles = vb_nano_system_call(iterations, UInt64(SYS_getpid))
        case .pageFault: return Self.result(vb_nano_with_handler(SIGSEGV, iterations, unmappedPage()))
        case .divideError: return Self.result(vb_nano_with_handler(SIGFPE, iterations, 0))
        case .cpuid: result.cycles = vb_nano_cpuid(iterations)
        case .rdtsc: result.cycles = vb_nano_rdtsc(iterations)
        case .rdtscp: result.cycles = vb_nano_rdtscp(iterations)
        case .coldPage:
            let fresh = Memory(bytes: Int(result.check) * Memory.pageBytes)
            result.cycles = vb_nano_touch(iterations, UInt64(UInt(bitPattern: fresh.start)))
            fresh.release()
        case .contextSwitch: return switchToPartner(iterations)
        default: result.cycles = vb_nano_loop(iterations)
        }
        return result
    }

    private mutating func unmappedPage() -> UInt64 {
        let page = unmapped ?? Memory(bytes: Memory.pageBytes)
        if unmapped == nil, mprotect(page.start, page.count, PROT_NONE) != 0 {
            systemError("mprotect", Int64(vb_errno()))
        }
        unmapped = page
        return UInt64(UInt(bitPattern: page.start))
    }

    private mutating func switchToPartner(_ iterations: UInt64) -> NanobenchmarkResult {
        if partner == nil {
            var new = vb_partner()
            guard vb_stay_on_this_cpu() == 0 else { systemError("staying on one CPU", Int64(vb_errno())) }
            guard vb_partner_start(&new) == 0 else { systemError("fork", Int64(vb_errno())) }
            partner = new
        }
        guard var partner else { return NanobenchmarkResult() }
        return Self.result(vb_nano_switch(iterations, &partner))
    }

    mutating func finish() {
        guard var partner else { return }
        vb_partner_end(&partner)
    }

    private static func result(_ measured: vb_nano_result) -> NanobenchmarkResult {
        var result = NanobenchmarkResult()
        result.cycles = measured.cycles
        result.check = measured.check
        return result
    }

    /// 0, or the negative of an error number: where the kernel is not Nub, that of a call it does not know.
    private static func inRing0(_ benchmark: Nanobenchmark, _ iterations: UInt64, _ result: inout NanobenchmarkResult)
        -> Int64
    {
        withUnsafeMutablePointer(to: &result) { result in
            vb_syscall3(
                Int64(Nanobenchmark.systemCall), Int64(benchmark.rawValue), Int64(iterations),
                Int64(Int(bitPattern: result)))
        }
    }
}
