import CLinux
import Glibc
import GuestInterface
import Host
import Machine
import Translator

/// The software VMM: guest ring 3 runs directly on the CPU, guest ring 0 is translated, guest page tables are shadowed by host
/// mappings. Needs neither /dev/kvm nor privileges.
///
/// One a process at a time, and `run` on one thread: it takes the process's fault handlers and the address ranges of
/// `AddressMap`. Exits are timed from `vb_sw_enter`'s return to its next call: the VMM's own work, without the CPU's and the
/// host kernel's part in getting there (signal delivery for traps).
public final class SoftwareMachine {
    let map = AddressMap()
    let memory: GuestMemory
    let cpu: VirtualCPU
    let shadow: ShadowMMU
    let cache: CodeCache
    let linear: GuestLinearMemory
    let fetch: InstructionFetch
    private let translator: Translator
    private let configuration: MachineConfiguration
    private let tscHertz: UInt64
    private let ledger = ExitLedger()
    private let history = ExitHistory()
    /// Valid while `run` runs.
    private(set) var ports: PortBus! = nil

    // What a handler leaves behind for the run loop.
    var exitReason = ExitReason.other
    var pendingStop: MachineStop?
    var halted = false
    var timerChanged = false
    /// The interrupted host instruction goes on; `cpu.rip` is not known.
    var resumesTranslation = false
    /// Ring-3 page fault given to the guest, until its handler returns.
    var faultedUserAddress: UInt64?
    var repeatedHost: UInt64 = 0
    var repeatedAddress: UInt64 = 0
    var repetitions = 0
    var interruptsDelivered: UInt64 = 0

    /// Pages that blocks were translated from: guest page, memfd offset, and whether the translation is global.
    private var codePages: [UInt64: (offset: UInt64, global: Bool)] = [:]
    private var haltedTicks: UInt64 = 0
    private var armedDeadline: UInt64 = 0
    private var limitTSC: UInt64 = .max
    private let cpuidFaults: Bool

    /// Options of the software VMM.
    public struct Options: Sendable {
        /// Bytes of host code kept before everything is dropped: at least 64 KiB.
        public var codeCacheBytes = 32 << 20
        public init() {}
    }

    /// Sets the machine up and boots nothing yet. Throws what `BootLoader` and the host refuse.
    public init(configuration: MachineConfiguration, options: Options = Options())
        throws(MachineError)
    {
        guard options.codeCacheBytes >= 64 << 10, options.codeCacheBytes <= 1 << 30 else {
            throw .invalidConfiguration(
                "a code cache of \(options.codeCacheBytes) bytes: it takes 64 KiB to 1 GiB")
        }
        if case .unavailable(let reason, let remedy) = Self.support() {
            throw .unavailable(reason: reason, remedy: remedy)
        }
        self.configuration = configuration
        tscHertz = TimestampCounter.hertz
        memory = try GuestMemory(bytes: configuration.memoryBytes, numaNode: configuration.numaNode)
        let boot = try BootLoader.load(
            configuration, into: memory, tscHertz: tscHertz, apicTimerHertz: LocalAPIC.inputHertz,
            quirks: 0)
        cpu = try VirtualCPU(boot: boot, tscHertz: tscHertz)
        shadow = ShadowMMU(memory: memory, map: map)
        linear = GuestLinearMemory(memory: memory)
        fetch = InstructionFetch(memory: memory, linear: linear)
        let state = cpu.state
        state.pointee.user_end = map.userEnd
        state.pointee.vmm_begin = map.vmmBegin
        try Self.install(state)
        cache = try CodeCache(capacity: options.codeCacheBytes, vcpu: state)
        translator = Translator(
            layout: Self.layout, options: TranslationOptions(windowBase: map.window))
        cpuidFaults = vb_sw_fault_cpuid(1) == 0
        if cpuidFaults { _ = vb_sw_fault_cpuid(0) }
    }

    private static let layout = VCPULayout(
        instructionPointer: VB_SW_RIP, branchTarget: VB_SW_TARGET, spillSlots: VB_SW_SPILL,
        exitKind: VB_SW_EXIT_KIND,
        exitIdentifier: VB_SW_EXIT_ID, exitStub: VB_SW_EXIT_STUB, missStub: VB_SW_MISS_STUB,
        guestFSBase: VB_SW_GUEST_FS,
        guestGSBase: VB_SW_GUEST_GS, virtualInterruptFlag: VB_SW_VIF, indirectTable: VB_SW_TABLE,
        chainExit: VB_SW_EXIT_CHAIN, emulateExit: VB_SW_EXIT_EMULATE)

    /// Whether this host can run it.
    public enum Support: Sendable, Equatable {
        case supported
        case unavailable(reason: String, remedy: String)
    }

    /// Looks for what the software VMM builds on. Changes nothing.
    public static func support() -> Support {
        guard vb_sw_has_fsgsbase() != 0 else {
            return .unavailable(
                reason: "the kernel does not let programs use FSGSBASE instructions",
                remedy: "run on a CPU with FSGSBASE (2012 or later) and Linux 5.9 or later")
        }
        guard vb_sw_dispatch_supported() != 0 else {
            return .unavailable(
                reason: "the kernel has no Syscall User Dispatch",
                remedy: "run on Linux 5.11 or later, x86-64")
        }
        return .supported
    }

    private static func install(_ state: UnsafeMutablePointer<vb_sw_vcpu>) throws(MachineError) {
        let bytes = 128 << 10
        guard let stack = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            stack != MAP_FAILED
        else { throw .last("mmap of the signal stack") }
        let result = vb_sw_install(state, stack, bytes)
        guard result == 0 else {
            throw .system(
                operation: "installing the fault handlers", errno: result,
                message: String(cString: strerror(result)))
        }
    }

    // MARK: Running

    /// Runs the guest to the end of its machine. Call once, on the thread that made the machine.
    ///
    /// - Parameter beforeEntry: called when everything is set up and before the guest's first instruction: the place to
    ///   jail this process (`Jail.software`). Its error ends the machine as `hostFailure`.
    public func run(
        observer: any MachineObserver, beforeEntry: (SoftwareMachine) throws -> Void = { _ in }
    ) -> MachineOutcome {
        let start = TimestampCounter.now()
        let end: MachineEnd
        do throws(MachineStop) {
            do throws(MachineError) { ports = try PortBus(memory: memory, observer: observer) } catch {
                throw MachineStop(.hostFailure(error.description))
            }
            guard configuration.timeLimit > 0 else { throw MachineStop(.timeout) }
            limitTSC = start &+ UInt64(min(configuration.timeLimit, 1e9) * Double(tscHertz))
            try takeThread()
            do { try beforeEntry(self) } catch { throw MachineStop(.hostFailure("\(error)")) }
            defer { releaseThread() }
            try loop()
        } catch {
            end = error.end
            return finish(end, start)
        }
    }

    private func takeThread() throws(MachineStop) {
        let begin = map.vmmBegin
        guard vb_sw_dispatch_user_calls(begin, map.vmmEnd - begin) == 0 else {
            throw MachineStop(.hostFailure("Syscall User Dispatch was refused"))
        }
        if cpuidFaults { _ = vb_sw_fault_cpuid(1) }
    }

    private func releaseThread() {
        vb_sw_arm_kick(0)
        if cpuidFaults { _ = vb_sw_fault_cpuid(0) }
        _ = vb_sw_release_user_calls()
        shadow.dropAll()
    }

    private func loop() throws(MachineStop) -> Never {
        armKick()
        var exitTSC = TimestampCounter.now()
        exitReason = .dispatch
        while true {
            try prepareEntry()
            let entryTSC = TimestampCounter.now()
            ledger.record(exitReason, cycles: entryTSC &- exitTSC)
            history.record(exitReason, rip: cpu.rip)
            let kind = vb_sw_enter(cpu.state)
            exitTSC = TimestampCounter.now()
            exitReason = .other
            if cpu.privilege == 3 { takeUserState() }
            let shadowed = cpu.interruptShadow
            cpu.interruptShadow = false
            switch Int32(truncatingIfNeeded: kind) {
            case VB_SW_EXIT_CHAIN: try chain()
            case VB_SW_EXIT_INDIRECT: try indirect()
            case VB_SW_EXIT_EMULATE:
                cpu.rip = cpu.state.pointee.rip
                do throws(GuestException) { try emulateRing0() } catch { try deliver(error) }
            case VB_SW_EXIT_TRAP: try handleTrap()
            case VB_SW_EXIT_KICK:
                exitReason = .externalInterrupt
                if cpu.privilege == 0 {
                    let before = cpu.rip
                    recoverGuestState(cpu.state.pointee.resume)
                    // Refused before the instruction behind STI ran: the shadow stays.
                    cpu.interruptShadow = shadowed && cpu.rip == before
                }
            default: throw MachineStop(.hostFailure("unknown exit \(kind)"))
            }
            try afterExit()
        }
    }

    /// Ring 3 can change more of its state than ring 0: bases by WRFSBASE, flags by POPF.
    private func takeUserState() {
        cpu.rip = cpu.state.pointee.resume
        cpu.keepUserFlags()
        let kind = Int32(truncatingIfNeeded: cpu.state.pointee.exit_kind)
        if kind == VB_SW_EXIT_TRAP || (kind == VB_SW_EXIT_KICK && cpu.state.pointee.trap_fresh != 0) {
            cpu.state.pointee.guest_fs_base = cpu.state.pointee.trap_fs_base
            cpu.state.pointee.guest_gs_base = cpu.state.pointee.trap_gs_base
        }
    }

    /// What may be due after any exit: a stop, the time limit, the timer, a halt, an interrupt.
    private func afterExit() throws(MachineStop) {
        if let stop = pendingStop { throw stop }
        if cpu.state.pointee.kick != 0 {
            cpu.state.pointee.kick = 0
            let now = TimestampCounter.now()
            guard now < limitTSC else { throw MachineStop(.timeout) }
            cpu.apic.poll(now: now)
            armedDeadline = 0
            timerChanged = true
        }
        if halted { try waitForInterrupt() }
        if !resumesTranslation { try deliverPendingInterrupt() }
        if timerChanged { armKick() }
        // An interrupt that STI has let in waits one instruction: come back soon.
        if cpu.interruptShadow, cpu.apic.deliverable != nil { vb_sw_arm_kick(monotonic() + 2_000) }
    }

    /// Where the guest goes on, and with which thread state.
    private func prepareEntry() throws(MachineStop) {
        let state = cpu.state
        if resumesTranslation {
            resumesTranslation = false
            state.pointee.rflags = state.pointee.rflags & Flags.live | Flags.always | Flags.interrupt
            return
        }
        if cpu.singleStepping { throw .unsupported("single-stepping (RFLAGS.TF)") }
        if cpu.privilege == 3 {
            while !map.isUser(cpu.rip) {
                // No code there: the fetch faults, as it would on the CPU.
                exitReason = .exception
                if AddressMap.isCanonical(cpu.rip) {
                    try handleUserPageFault(cpu.rip, Access(execute: true, user: true))
                } else {
                    try deliver(.protection)
                }
                guard cpu.privilege == 3 else { break }
            }
        }
        if cpu.privilege == 3 {
            cpu.prepareFlags()
            state.pointee.enter_fs = state.pointee.guest_fs_base
            state.pointee.enter_gs = state.pointee.guest_gs_base
            state.pointee.resume = cpu.rip
            return
        }
        state.pointee.enter_fs = map.window
        state.pointee.enter_gs = state.pointee.`self`
        state.pointee.resume = cache.directEntry(try blockForCurrentRIP())
        cpu.prepareFlags()
    }

    // MARK: Translation

    /// A direct branch to a block that was not linked: link it, unless translating it dropped the branch itself.
    private func chain() throws(MachineStop) {
        exitReason = .dispatch
        let identifier = cpu.state.pointee.exit_id
        cpu.rip = cache.target(ofExit: identifier)
        let generation = cache.generation
        let target = cpu.rip
        let block = try blockForCurrentRIP()
        if cache.generation == generation && cpu.rip == target {
            cache.link(exit: identifier, to: block)
        }
    }

    private func indirect() throws(MachineStop) {
        exitReason = .dispatch
        cpu.rip = cpu.state.pointee.target
        cache.enterInTable(try blockForCurrentRIP())
    }

    /// The block at `cpu.rip`, translated now if need be. Faults of the fetch go to the guest, whose handler is then the block.
    private func blockForCurrentRIP() throws(MachineStop) -> Int {
        var attempts = 0
        while true {
            if let known = cache.find(cpu.rip) { return known }
            do throws(GuestException) {
                return try translateBlock()
            } catch {
                attempts += 1; 
                guard attempts < 4 else { throw MachineStop(.tripleFault) }
                try deliver(error)
            }
        }
    }

    private func translateBlock() throws(GuestException) -> Int {
        let begin = TimestampCounter.now()
        let mode = cpu.pagingMode
        let rip = cpu.rip
        guard let page = try fetch.page(rip, user: false, mode) else { throw .protection }
        // Protect first, then read: a write that comes between is seen as one.
        markCode(rip, page.offset)
        let block: TranslatedBlock
        do throws(TranslationError) {
            block = try translator.translate(rip, bytes: page.bytes)
        } catch {
            guard let joint = try fetch.acrossPages(rip, user: false, mode) else { throw .protection }
            markCode((rip & ~0xFFF) &+ 4096, joint.offsets.1)
            do throws(TranslationError) {
                block = try translator.translate(rip, bytes: joint.bytes)
            } catch {
                throw .undefined
            }
        }
        let flushes = cache.flushes
        let number = cache.insert(block)
        if cache.flushes != flushes {
            forgetCodePages()
            markCode(rip, page.offset)
            if (rip &+ UInt64(block.guestBytes) &- 1) & ~0xFFF != rip & ~0xFFF,
                let next = try fetch.page((rip & ~0xFFF) &+ 4096, user: false, mode)
            {
                markCode((rip & ~0xFFF) &+ 4096, next.offset)
            }
        }
        ledger.record(.translation, cycles: TimestampCounter.now() &- begin)
        return number
    }

    private func markCode(_ address: UInt64, _ offset: UInt64) {
        let page = address & ~0xFFF
        if codePages[page] == nil {
            let global = shadow.isGlobal(address, cpu.pagingMode)
            codePages[page] = (offset, global)
        }
        if !shadow.markCode(offset) {
            pendingStop = MachineStop(.hostFailure("mprotect of a code page failed"))
        }
    }

    private func forgetCodePages() {
        codePages.removeAll(keepingCapacity: true)
        shadow.unmarkAllCode()
    }

    /// The guest writes to a page that code was translated from.
    func dropCode(_ page: UInt64) {
        cache.flush()
        forgetCodePages()
    }

    /// CR3 was loaded (`all` false) or paging changed altogether.
    func dropTranslations(all: Bool) {
        if all { shadow.dropAll() } else { shadow.dropNonGlobal() }
        faultedUserAddress = nil
        checkCode { all || !$0 }
    }

    /// INVLPG.
    func invalidate(_ address: UInt64) {
        shadow.drop(address)
        let page = address & ~0xFFF
        if codePages[page] != nil { checkCode { _ in true } }
    }

    /// Blocks stay only while each of their pages is where it was and may be executed.
    private func checkCode(where affected: (_ global: Bool) -> Bool) {
        let mode = cpu.pagingMode
        for (page, known) in codePages where affected(known.global) {
            let same =
                linear.walk.look(up: page, mode).map { path in
                    path.translation.executable
                        && memory.fileOffset(of: GuestPhysicalAddress(path.translation.physical(page)))
                            == known.offset
                } ?? false
            if !same {
                cache.flush()
                forgetCodePages()
                return
            }
        }
    }

    // MARK: Time

    private func monotonic() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
    }

    /// Has the thread kicked when the APIC timer or the time limit is due.
    private func armKick() {
        timerChanged = false
        let deadline = min(cpu.apic.deadline ?? .max, limitTSC)
        guard deadline != armedDeadline else { return }
        armedDeadline = deadline
        let now = TimestampCounter.now()
        let ticks = deadline > now ? deadline - now : 0
        let nanoseconds = min(Double(ticks) * 1e9 / Double(tscHertz), 4e18)
        vb_sw_arm_kick(monotonic() &+ UInt64(nanoseconds) &+ 1)
    }

    /// HLT: sleeps until an interrupt can be delivered.
    private func waitForInterrupt() throws(MachineStop) {
        halted = false
        cpu.interruptShadow = false
        let begin = TimestampCounter.now()
        while true {
            let now = TimestampCounter.now()
            guard now < limitTSC else { throw MachineStop(.timeout) }
            cpu.apic.poll(now: now)
            timerChanged = true
            if cpu.interruptsEnabled, cpu.apic.deliverable != nil { break }
            guard cpu.interruptsEnabled, let deadline = cpu.apic.deadline else {
                throw MachineStop(.halted)
            }
            let wake = min(deadline, limitTSC)
            if wake > now {
                let nanoseconds = Double(wake - now) * 1e9 / Double(tscHertz)
                var span = timespec(
                    tv_sec: Int(nanoseconds / 1e9),
                    tv_nsec: Int(nanoseconds.truncatingRemainder(dividingBy: 1e9)))
                clock_nanosleep(CLOCK_MONOTONIC, 0, &span, nil)
            }
        }
        haltedTicks &+= TimestampCounter.now() &- begin
    }

    // MARK: The end

    private func finish(_ end: MachineEnd, _ start: UInt64) -> MachineOutcome {
        let stop = TimestampCounter.now()
        ports?.finish()
        var outcome = MachineOutcome(end: end, startTSC: start, endTSC: stop, tscHertz: tscHertz)
        outcome.exits = ledger.summaries()
        outcome.counters = [
            "software.translatedBlocks": Double(cache.translatedBlocks),
            "software.translatedInstructions": Double(cache.translatedInstructions),
            "software.codeCacheFlushes": Double(cache.flushes),
            "software.shadowFills": Double(shadow.fills),
            "software.shadowDrops": Double(shadow.drops),
            "software.hostMapCalls": Double(shadow.mapCalls),
            "software.interruptsDelivered": Double(interruptsDelivered),
            "software.haltedNanoseconds": Double(haltedTicks) * 1e9 / Double(tscHertz),
            "software.cpuidFaulting": cpuidFaults ? 1 : 0,
        ]
        if case .debugExit = end { return outcome }
        outcome.diagnosis = diagnose()
        return outcome
    }

    private func diagnose() -> [String] {
        var lines = registerLines()
        lines.append("at \(configuration.kernel.describe(cpu.rip)), ring \(cpu.privilege)")
        let user = cpu.privilege == 3
        if let bytes = try? fetch.instruction(cpu.rip, user: user, cpu.pagingMode) {
            lines.append("  " + disassemble(bytes, at: cpu.rip))
        }
        lines.append("last exits, newest first:")
        lines += history.lines { self.configuration.kernel.describe($0) }
        return lines
    }
}

func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
