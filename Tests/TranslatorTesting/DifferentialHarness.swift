import CLinux
import CZydis
import Glibc
import Translator

/// Runs a case twice from the same state: by the CPU itself, and as the translator's code.
///
///     guest            native                       translated
///     code             executed in place            read, translated to the code buffer
///     data             mapped there                 mapped at window + address; the same for ring 3
///
/// Everything else is unmapped in both, so wild accesses fault alike. The CPU runs the case one instruction at a time
/// (RFLAGS.TF) and so gives every state a program could be interrupted in: the *trace*. Translated code is run whole, and
/// one **host** instruction at a time: at every one of them the state recovered by the block's map must be one of the
/// trace, none left out backwards, and going on from it must lead to the same end.
///
/// Takes this process's fault handlers and low addresses: one at a time (`ExclusiveProcess`).
///
/// Safety: every pointer is to a mapping made in `init` and released in `deinit`.
public final class DifferentialHarness {
    package static let window: UInt64 = 0x4800_0000_0000
    package static let arithmeticFlags: UInt64 = 0x8D5 | 1 << 10
    private static let trapFlag = UInt64(VB_SW_RFLAGS_TF)
    private static let xsaveBytes = 16 << 10
    private static let codeBufferBytes = 256 << 10
    private static let signalStackBytes = 128 << 10
    /// Traces longer than this (a REP with a large count) make a case unfit.
    private static let traceLimit = 96
    private static let hostStepLimit = 20_000
    private static let halt: UInt8 = 0xF4

    /// The exit kind's slot: not the one that the signal handlers write, so that it survives them.
    private static let exitKindSlot = VB_SW_TABLE - 16

    /// The memory of one layout, both ways.
    private struct Memory {
        var layout: TestLayout
        /// Writable mapping of the code both sides see.
        var codeAlias: UnsafeMutableRawPointer
        var native: UnsafeMutableRawPointer
        var guest: UnsafeMutableRawPointer
        var regions: [(UnsafeMutableRawPointer, Int)]
    }

    struct Step {
        var state: GuestState
        var memory: UnsafeMutableRawPointer
    }

    private let state: UnsafeMutablePointer<vb_sw_vcpu>
    private let area: UnsafeMutableRawPointer
    private let codeBuffer: UnsafeMutableRawPointer
    private let signalStack: UnsafeMutableRawPointer
    private let snapshots: UnsafeMutableRawPointer
    private let memories: [Memory]
    private var memory: Memory
    private let translator: Translator
    private let privilege: TranslationOptions.Privilege
    /// What translated code adds to guest addresses.
    private var window: UInt64 { privilege == .supervisor ? Self.window : 0 }
    private var random = SeededGenerator(seed: 0)

    // The trace of the case that ran natively last.
    private(set) var trace: [Step] = []
    package private(set) var nativeEnding = Ending.halted

    // The translated run's code cache.
    private var used = 0
    private var entries: [UInt64: (host: UInt64, direct: UInt64)] = [:]
    private var blocks: [(begin: UInt64, end: UInt64, block: TranslatedBlock)] = []
    private var exits: [(target: UInt64, field: Int)] = []

    /// XCR0 components that are switched and compared.
    package static let xcr0 = VectorImage.xcr0
    /// What the read-only page of the data holds.
    package static let readOnlyContent: [UInt8] = (0..<TestLayout.readOnlyBytes / 8).flatMap { index in
        let word = UInt64(index * 8) &* 0x0101
        return (0..<8).map { UInt8(truncatingIfNeeded: word >> (8 * UInt64($0))) }
    }

    /// The part of an XSAVE image that is compared, made comparable.
    package static func normalized(_ image: [UInt8]) -> [UInt8] {
        var result = Array(image[..<VectorImage.bytes])
        result.withUnsafeMutableBytes { VectorImage.normalize($0.baseAddress!) }
        return result
    }

    private static func map(
        _ address: UInt64, _ bytes: Int, _ protection: Int32, _ descriptor: Int32 = -1
    ) -> UnsafeMutableRawPointer {
        let kind = descriptor < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED
        let flags = kind | (address == 0 ? 0 : Int32(MAP_FIXED_NOREPLACE))
        let result = mmap(UnsafeMutableRawPointer(bitPattern: UInt(address)), bytes, protection, flags, descriptor, 0)
        precondition(result != MAP_FAILED, "mmap of \(bytes) bytes at \(String(address, radix: 16))")
        return result!
    }

    private static func makeMemory(_ layout: TestLayout, _ privilege: TranslationOptions.Privilege) -> Memory {
        let readWrite = PROT_READ | PROT_WRITE
        let descriptor = clinux_sealed_memfd("vbench-test-code", UInt(TestLayout.codeBytes))
        precondition(descriptor >= 0)
        defer { close(descriptor) }
        let alias = map(0, TestLayout.codeBytes, readWrite, descriptor)
        let nativeCode = map(
            layout.code, TestLayout.codeBytes, PROT_READ | PROT_EXEC | (layout.writableCode ? PROT_WRITE : 0),
            descriptor)
        let whole = TestLayout.dataBytes + TestLayout.readOnlyBytes
        let native = map(layout.data, whole, readWrite)
        var regions = [(alias, TestLayout.codeBytes), (nativeCode, TestLayout.codeBytes), (native, whole)]
        var guest = native
        if privilege == .supervisor {
            let guestCode = map(window + layout.code, TestLayout.codeBytes, PROT_READ, descriptor)
            guest = map(window + layout.data, whole, readWrite)
            regions += [(guestCode, TestLayout.codeBytes), (guest, whole)]
        }
        for base in Set([native, guest]) {
            let last = base + TestLayout.dataBytes
            readOnlyContent.withUnsafeBytes { last.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
            mprotect(last, TestLayout.readOnlyBytes, PROT_READ)
        }
        return Memory(
            layout: layout, codeAlias: alias, native: native, guest: guest, regions: regions)
    }

    /// Maps code and data of these layouts; the translation is made for the given ring.
    public init(
        _ layouts: [TestLayout] = TestLayout.all, privilege: TranslationOptions.Privilege = .supervisor
    ) {
        self.privilege = privilege
        let readWrite = PROT_READ | PROT_WRITE
        let stateMemory = Self.map(0, MemoryLayout<vb_sw_vcpu>.size, readWrite)
        state = stateMemory.bindMemory(to: vb_sw_vcpu.self, capacity: 1)
        area = Self.map(0, Self.xsaveBytes, readWrite)
        codeBuffer = Self.map(0, Self.codeBufferBytes, readWrite | PROT_EXEC)
        signalStack = Self.map(0, Self.signalStackBytes, readWrite)
        snapshots = Self.map(0, (Self.traceLimit + 1) * TestLayout.dataBytes, readWrite)
        memories = layouts.map { Self.makeMemory($0, privilege) }
        memory = memories[0]

        let codeBegin = UInt64(UInt(bitPattern: codeBuffer))
        state.pointee.xsave = UInt64(UInt(bitPattern: area))
        state.pointee.xsave_capacity = UInt64(Self.xsaveBytes)
        state.pointee.xcr0 = Self.xcr0
        state.pointee.vmm_begin = 0x5500_0000_0000
        state.pointee.code_begin = codeBegin
        state.pointee.code_end = codeBegin + UInt64(Self.codeBufferBytes)
        vb_sw_prepare(state)
        // Where translated code leaves to: HLTs at the end of the code buffer, told apart by their addresses.
        state.pointee.exit_stub = state.pointee.code_end - 16
        state.pointee.miss_stub = state.pointee.code_end - 8
        state.pointee.syscall_stub = state.pointee.code_end - 24
        state.pointee.sysret_stub = state.pointee.code_end - 24
        state.pointee.iret_stub = state.pointee.code_end - 24
        state.pointee.in_stub = state.pointee.code_end - 32
        memset(codeBuffer + (Self.codeBufferBytes - 32), Int32(Self.halt), 32)
        precondition(vb_sw_install(state, signalStack, Self.signalStackBytes) == 0)
        // Should a system call get past the generator, it must not reach the host.
        precondition(vb_sw_dispatch_user_calls(0x5500_0000_0000, 0x7FFF_FFFF_F000 - 0x5500_0000_0000) == 0)
        translator = Translator(
            layout: Self.layout,
            options: TranslationOptions(
                privilege: privilege, windowBase: Self.window, verifiesByLoop: privilege == .user))
    }

    deinit {
        _ = vb_sw_release_user_calls()
        vb_sw_uninstall()
        for memory in memories { for (begin, bytes) in memory.regions { munmap(begin, bytes) } }
        munmap(state, MemoryLayout<vb_sw_vcpu>.size)
        munmap(area, Self.xsaveBytes)
        munmap(codeBuffer, Self.codeBufferBytes)
        munmap(signalStack, Self.signalStackBytes)
        munmap(snapshots, (Self.traceLimit + 1) * TestLayout.dataBytes)
    }

    /// The layout of the vCPU structure, with an exit kind of our own.
    public static let layout = VCPULayout(
        instructionPointer: VB_SW_RIP, spillSlots: VB_SW_SPILL, exitKind: exitKindSlot,
        exitIdentifier: VB_SW_EXIT_ID, exitStub: VB_SW_EXIT_STUB, missStub: VB_SW_MISS_STUB,
        guestFSBase: VB_SW_GUEST_FS, guestGSBase: VB_SW_GUEST_GS, virtualInterruptFlag: VB_SW_VIF,
        indirectTable: VB_SW_TABLE, chainExit: VB_SW_EXIT_CHAIN, emulateExit: VB_SW_EXIT_EMULATE,
        systemCallStub: VB_SW_SYSCALL_STUB, systemReturnStub: VB_SW_SYSRET_STUB,
        interruptReturnStub: VB_SW_IRET_STUB, returnFrame: VB_SW_FRAME, descriptorTableBase: VB_SW_GDT_BASE,
        portReadStub: VB_SW_IN_STUB, pageFaultAddress: VB_SW_CR2)

    // MARK: Registers and memory

    private var registers: UnsafeMutablePointer<UInt64> {
        UnsafeMutableRawPointer(state).assumingMemoryBound(to: UInt64.self)
    }

    private func slot(_ offset: Int32) -> UnsafeMutablePointer<UInt64> {
        UnsafeMutableRawPointer(state).advanced(by: Int(offset)).assumingMemoryBound(to: UInt64.self)
    }

    private func load(_ start: GuestState) {
        for index in 0..<16 { registers[index] = start.registers[index] }
        state.pointee.rflags = start.flags & Self.arithmeticFlags | 0x202
        memset(area, 0, Self.xsaveBytes)
        start.vector.withUnsafeBytes { area.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
    }

    private func resetData(_ base: UnsafeMutableRawPointer, _ content: [UInt8]) {
        content.withUnsafeBytes { base.copyMemory(from: $0.baseAddress!, byteCount: TestLayout.dataBytes) }
    }

    private func enter(at resume: UInt64, fs: UInt64, gs: UInt64, stepping: Bool) {
        state.pointee.rflags = state.pointee.rflags & Self.arithmeticFlags | 0x202 | (stepping ? Self.trapFlag : 0)
        state.pointee.resume = resume
        state.pointee.enter_fs = fs
        state.pointee.enter_gs = gs
        state.pointee.kick = 0
        let kind = vb_sw_enter(state)
        precondition(kind == UInt64(VB_SW_EXIT_TRAP))
    }

    /// The registers as the last exit left them; RIP and the segment bases are the caller's to know.
    private func collect(rip: UInt64, fs: UInt64, gs: UInt64) -> GuestState {
        var result = GuestState()
        for index in 0..<16 { result.registers[index] = registers[index] }
        result.flags = state.pointee.rflags & Self.arithmeticFlags
        result.rip = rip
        result.fsBase = fs
        result.gsBase = gs
        result.vector = [UInt8](unsafeUninitializedCapacity: VectorImage.bytes) { buffer, count in
            UnsafeMutableRawPointer(buffer.baseAddress!).copyMemory(from: area, byteCount: VectorImage.bytes)
            VectorImage.normalize(buffer.baseAddress!)
            count = VectorImage.bytes
        }
        return result
    }

    private func isHalt(_ rip: UInt64) -> Bool {
        memory.layout.codeContains(rip)
            && memory.codeAlias.load(fromByteOffset: Int(rip - memory.layout.code), as: UInt8.self) == Self.halt
    }

    // MARK: Native

    /// One instruction (or one round of a REP) by the CPU, with the guest's bases live.
    private func stepNatively(_ from: GuestState) -> (GuestState, Ending?) {
        enter(at: from.rip, fs: from.fsBase, gs: from.gsBase, stepping: true)
        let ended = collect(
            rip: state.pointee.resume, fs: state.pointee.trap_fs_base, gs: state.pointee.trap_gs_base)
        return (ended, endingOfTrap(at: ended.rip, offset: 0))
    }

    private func endingOfTrap(at rip: UInt64, offset: UInt64) -> Ending? {
        let vector = state.pointee.trap_number
        if state.pointee.trap_signal == UInt64(SIGSYS) { return .unfit }
        if vector == 1 { return nil }
        if vector == 13 && isHalt(rip) { return .halted }
        // A fetch that faults behind a branch is where the branch went, not a trap of the instruction.
        if vector == 14 && state.pointee.trap_error & 16 != 0 { return .leftCode }
        // Whether the page is present is the guest's page tables' to say, not the host's.
        return .trap(
            vector, error: vector == 14 ? state.pointee.trap_error & ~1 : state.pointee.trap_error,
            address: vector == 14 ? state.pointee.trap_address &- offset : 0)
    }

    /// Runs the case on the CPU and keeps the trace: every state between two instructions, the first and the last too.
    package func runNatively(_ test: TestCase, _ start: GuestState, data: [UInt8]) {
        memory = memories.first { $0.layout == test.layout }!
        memset(memory.codeAlias, Int32(Self.halt), TestLayout.codeBytes)
        test.code.withUnsafeBytes { memory.codeAlias.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        resetData(memory.native, data)
        load(start)
        trace.removeAll(keepingCapacity: true)
        var current = collect(rip: start.rip, fs: start.fsBase, gs: start.gsBase)
        while true {
            let snapshot = snapshots + trace.count * TestLayout.dataBytes
            snapshot.copyMemory(from: memory.native, byteCount: TestLayout.dataBytes)
            trace.append(Step(state: current, memory: snapshot))
            guard trace.count < Self.traceLimit else {
                nativeEnding = .endless
                return
            }
            // The state is where the last step left it; only RIP and the bases are given again.
            let (next, ending) = stepNatively(current)
            if let ending {
                nativeEnding = ending
                // A fault in the middle of an instruction may have changed something (a gather's mask): the last state.
                let last = snapshots + trace.count * TestLayout.dataBytes
                last.copyMemory(from: memory.native, byteCount: TestLayout.dataBytes)
                trace.append(Step(state: next, memory: last))
                return
            }
            current = next
        }
    }

    /// Where the case run natively ended.
    package var nativeResult: NativeResult {
        let last = trace[trace.count - 1]
        return NativeResult(
            state: last.state, ending: nativeEnding,
            data: [UInt8](UnsafeRawBufferPointer(start: last.memory, count: TestLayout.dataBytes)))
    }

    /// Where a debug exception behind the first instruction finds the case.
    package var firstStep: NativeResult {
        guard trace.count > 2 || nativeEnding == .endless else { return nativeResult }
        let step = trace[1]
        return NativeResult(
            state: step.state, ending: .trap(1, error: 0, address: 0),
            data: [UInt8](UnsafeRawBufferPointer(start: step.memory, count: TestLayout.dataBytes)))
    }

    // MARK: Translated

    public struct Difference: Error, CustomStringConvertible {
        public var description: String
    }

    enum Manner {
        /// As it runs in a machine.
        case whole
        /// One host instruction at a time, every state looked up in the trace; in `restarts` of a hundred the run is
        /// abandoned there and begun again from the recovered state, as an interrupt would.
        case stepping(restarts: UInt64)
    }

    /// Runs the case as translated code and compares it with the trace. Throws the first difference.
    func runTranslated(_ start: GuestState, data: [UInt8], _ manner: Manner, seed: UInt64) throws(Difference) {
        random = SeededGenerator(seed: seed)
        resetCache()
        resetData(memory.guest, data)
        load(start)
        slot(VB_SW_GUEST_FS).pointee = start.fsBase
        slot(VB_SW_GUEST_GS).pointee = start.gsBase
        var rip = start.rip
        var position = 0
        var stepping = false
        var restarts: UInt64 = 0
        if case .stepping(let percent) = manner {
            stepping = true
            restarts = percent
        }
        var resume: UInt64?
        for _ in 0..<Self.hostStepLimit {
            if resume == nil {
                guard memory.layout.codeContains(rip) else {
                    return try finish(recovered(rip), .leftCode, position)
                }
                resume = try entry(rip)
            }
            enter(
                at: resume!, fs: privilege == .supervisor ? Self.window : state.pointee.guest_fs_base,
                gs: UInt64(UInt(bitPattern: state)), stepping: stepping)
            var host = state.pointee.resume
            resume = nil
            if host == state.pointee.in_stub { registers[1] = slot(VB_SW_SPILL)[1] }
            if host == state.pointee.in_stub || host == state.pointee.iret_stub {
                // The trampolines leave to the VMM what they do not handle: here, everything.
                slot(Self.exitKindSlot).pointee = UInt64(VB_SW_EXIT_EMULATE)
                host = state.pointee.exit_stub
            }
            if host == state.pointee.exit_stub {
                switch Int32(truncatingIfNeeded: slot(Self.exitKindSlot).pointee) {
                case VB_SW_EXIT_CHAIN:
                    rip = try follow(exit: Int(state.pointee.exit_id))
                case VB_SW_EXIT_EMULATE:
                    rip = state.pointee.rip
                    try look(up: recovered(rip), &position, "at a callout")
                    if isHalt(rip) { return try finish(recovered(rip), .halted, position) }
                    let (next, ending) = emulate(rip)
                    if let ending { return try finish(next, ending, position) }
                    rip = next.rip
                    try look(up: next, &position, "behind an emulated instruction")
                case let kind:
                    throw Difference(description: "translated code left with exit kind \(kind)")
                }
            } else if host == state.pointee.miss_stub {
                let target = registers[1]
                registers[1] = slot(VB_SW_SPILL)[1]
                registers[2] = slot(VB_SW_SPILL)[2]
                rip = target
                if Self.isCanonical(rip) { try look(up: recovered(rip), &position, "at an indirect branch's target") }
                if memory.layout.codeContains(rip), random.chance(70) {
                    _ = try entry(rip)
                    slot(VB_SW_TABLE)[Int(rip & 0xFFFF)] = entries[rip]!.host
                }
            } else if let ending = endingOfTrap(at: 0, offset: window) {
                return try finish(try recover(host), ending, position)
            } else {
                // A single step.
                let here = try recover(host)
                let line = { "before host offset \(self.place(host))" }
                if Self.isCanonical(here.rip) { try look(up: here, &position, line()) }
                if random.chance(restarts) {
                    rip = here.rip
                    for index in 0..<16 { registers[index] = here.registers[index] }
                } else {
                    resume = host
                }
            }
        }
        throw Difference(description: "translated code does not end")
    }

    private func recovered(_ rip: UInt64) -> GuestState {
        collect(rip: rip, fs: state.pointee.guest_fs_base, gs: state.pointee.guest_gs_base)
    }

    /// The guest's state at an interruption of translated code.
    private func recover(_ host: UInt64) throws(Difference) -> GuestState {
        guard let found = blocks.first(where: { host >= $0.begin && host < $0.end }) else {
            throw Difference(description: "translated code went astray to \(String(host, radix: 16))")
        }
        let entry = found.block.entry(at: UInt32(truncatingIfNeeded: host &- found.begin))
        var result = recovered(entry.guestRIP)
        if entry.undo.contains(.relocatedRDI) { result.registers[7] &-= Self.window }
        if entry.undo.contains(.relocatedRSI) { result.registers[6] &-= Self.window }
        for register in Register.allCases where entry.undo.contains(.spilled(register)) {
            result.registers[Int(register.rawValue)] = slot(VB_SW_SPILL)[Int(register.rawValue)]
        }
        if entry.undo.contains(.stackReleasePending) { result.registers[4] &+= 8 }
        if entry.undo.contains(.branchTaken) { result.rip = entry.guestRIP &+ registers[1] }
        return result
    }

    private func place(_ host: UInt64) -> String {
        guard let found = blocks.first(where: { host >= $0.begin && host < $0.end }) else { return "?" }
        return "\(host - found.begin) of the block of \(String(found.block.guestStart, radix: 16))"
    }

    /// `found` must be a state of the trace, not before `position`.
    private func look(up found: GuestState, _ position: inout Int, _ place: @autoclosure () -> String)
        throws(Difference)
    {
        var index = position
        while index < trace.count {
            if trace[index].state == found {
                position = index
                return
            }
            index += 1
        }
        let nearest = trace[position...].first { $0.state.rip == found.rip } ?? trace[position]
        throw Difference(
            description: "\(place()): a state the CPU never had (native / translated): "
                + nearest.state.differences(from: found).joined(separator: ", "))
    }

    private func finish(_ found: GuestState, _ ending: Ending, _ position: Int) throws(Difference) {
        let last = trace[trace.count - 1]
        var ending = ending
        switch (nativeEnding, ending) {
        case (.trap(13, _, _), .leftCode) where !Self.isCanonical(found.rip):
            // A branch to a non-canonical address faults on the CPU where it is; the VMM notices at the target.
            return
        // The VMM tells #SS and #GP of a non-canonical address by the instruction's operand.
        case (.trap(12, _, _), .trap(13, _, _)): ending = nativeEnding
        case (.trap(12...13, _, _), .trap(14, _, let address)) where !Self.isCanonical(address):
            ending = nativeEnding
        case (.trap(14, _, let address), .trap(13, _, _)) where !Self.isCanonical(address &+ window):
            // Beyond what the window shows: the VMM finds the page fault by the operand.
            ending = nativeEnding
        default: break
        }
        guard ending == nativeEnding else {
            throw Difference(
                description: "ends with \(ending) at \(String(found.rip, radix: 16)), natively \(nativeEnding)")
        }
        guard found == last.state else {
            throw Difference(
                description: "the last state (native / translated): "
                    + last.state.differences(from: found).joined(separator: ", "))
        }
        guard memcmp(last.memory, memory.guest, TestLayout.dataBytes) != 0 else { return }
        let mine = UnsafeRawBufferPointer(start: last.memory, count: TestLayout.dataBytes)
        let theirs = UnsafeRawBufferPointer(start: memory.guest, count: TestLayout.dataBytes)
        let at = (0..<TestLayout.dataBytes).filter { mine[$0] != theirs[$0] }
        throw Difference(
            description: "memory differs at data + \(at.prefix(8)): "
                + "\(at.prefix(8).map { mine[$0] }) / \(at.prefix(8).map { theirs[$0] })")
    }

    /// Bits 63:47 all equal.
    package static func isCanonical(_ address: UInt64) -> Bool {
        let upper = Int64(bitPattern: address) >> 47
        return upper == 0 || upper == -1
    }

    /// Carries an instruction out for translated code, as the VMM would: the CPU does it, on a copy of the data.
    private func emulate(_ rip: UInt64) -> (GuestState, Ending?) {
        memmove(memory.native, memory.guest, TestLayout.dataBytes)
        let result = stepNatively(recovered(rip))
        memmove(memory.guest, memory.native, TestLayout.dataBytes)
        state.pointee.guest_fs_base = result.0.fsBase
        state.pointee.guest_gs_base = result.0.gsBase
        return result
    }

    // MARK: A small code cache

    private func resetCache() {
        used = 0
        entries.removeAll(keepingCapacity: true)
        blocks.removeAll(keepingCapacity: true)
        exits.removeAll(keepingCapacity: true)
        let table = slot(VB_SW_TABLE)
        let begin = Int(memory.layout.code & 0xFFFF)
        // Only addresses of the code have ever been entered.
        for index in begin..<begin + TestLayout.codeBytes { table[index] = state.pointee.miss_stub }
        if !tableIsClear {
            tableIsClear = true
            table.update(repeating: state.pointee.miss_stub, count: Int(VB_SW_TABLE_ENTRIES))
        }
    }

    private var tableIsClear = false

    private func entry(_ rip: UInt64) throws(Difference) -> UInt64 {
        if let known = entries[rip] { return known.direct }
        let offset = Int(rip - memory.layout.code)
        let bytes = UnsafeBufferPointer(
            start: (memory.codeAlias + offset).assumingMemoryBound(to: UInt8.self), count: TestLayout.codeBytes - offset
        )
        let block: TranslatedBlock
        do throws(TranslationError) {
            block = try translator.translate(rip, bytes: bytes)
        } catch {
            throw Difference(description: "the translator refuses \(String(rip, radix: 16)): \(error)")
        }
        do throws(EmittedCode.Violation) {
            try EmittedCode.check(block, Self.layout, privilege)
        } catch {
            throw Difference(description: "emitted code: \(error)")
        }
        guard used + block.code.count <= Self.codeBufferBytes - 64 else {
            throw Difference(description: "more code than the buffer holds")
        }
        let target = codeBuffer + used
        block.code.withUnsafeBytes { target.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        for exit in block.exits {
            (target + exit.identifierOffset).storeBytes(of: UInt32(exits.count), as: UInt32.self)
            exits.append((exit.target, used + exit.displacementOffset))
        }
        let host = UInt64(UInt(bitPattern: target))
        blocks.append((host, host + UInt64(block.code.count), block))
        let direct = host + UInt64(block.directEntry)
        entries[rip] = (host + UInt64(block.indirectEntry), direct)
        used = (used + block.code.count + 15) & ~15
        return direct
    }

    /// Where a chained exit goes; most are linked, as the VMM does.
    private func follow(exit: Int) throws(Difference) -> UInt64 {
        let (target, field) = exits[exit]
        if memory.layout.codeContains(target), random.chance(70) {
            let direct = try entry(target)
            let next = UInt64(UInt(bitPattern: codeBuffer)) + UInt64(field) + 4
            (codeBuffer + field).storeBytes(
                of: Int32(truncatingIfNeeded: Int64(bitPattern: direct &- next)), as: Int32.self)
        }
        return target
    }
}
