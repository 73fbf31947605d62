import CLinux
import Glibc
import GuestInterface
import Host
import Machine
import Translator

/// The software VMM: guest ring 0 is translated, guest ring 3 runs directly on the CPU or translated too (`UserMode`), guest page
/// tables are shadowed by host mappings. Needs neither /dev/kvm nor privileges.
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
    let translators: Translators
    let sites = FaultSites()
    var userMode: UserModePolicy
    var stress: Stress?
    /// The instruction being run began with RFLAGS.TF (see `finishStep`), in this block if in ring 0.
    var stepping = false
    var steppedBlock: Int?
    var exceptionsBeforeStep: UInt64 = 0
    /// Exceptions and interrupts the guest has been given.
    var exceptionsEntered: UInt64 = 0
    /// Runs the guest outside 64-bit mode.
    let legacy: LegacyExecution
    private let configuration: MachineConfiguration
    let tscHertz: UInt64
    let ledger = ExitLedger(rawReasons: RawExit.names)
    let keepsLedger: Bool
    /// Calibrated when the machine starts.
    var transitions: TransitionCosts?
    let exitSites: ExitSites?
    private let history = ExitHistory()
    /// Writes down what the machine does. Set before `run`.
    public var tracer: ExecutionTracer?
    /// With a tracer: where the last exit came from, and whether the guest was entered for one instruction.
    var exitOrigin: (rip: UInt64, ring: UInt8) = (0, 0)
    var enteredStep = false
    var testDevice = TestDevice()
    /// Valid while `run` runs.
    private(set) var ports: PortBus! = nil

    // What a handler leaves behind for the run loop.
    var exitReason = ExitReason.other
    /// By what means the guest was left.
    private var exitRaw = RawExit.none
    /// Operations of trampolines that the ledger has.
    var countedCalls: UInt64 = 0
    var countedReturns: UInt64 = 0
    var pendingStop: MachineStop?
    var halted = false
    private static let shortestShadowWait: UInt64 = 2_000
    /// How long an interrupt that STI has let in waits for the instruction behind STI.
    private var shadowWaitNanoseconds = SoftwareMachine.shortestShadowWait
    var timerChanged = false
    /// The interrupted host instruction goes on; `cpu.rip` is not known.
    var resumesTranslation = false
    /// Ring-3 page fault given to the guest, until its handler returns.
    var userFault: UserFault?
    /// Page faults of translated ring 3 that the guest was given.
    var translatedUserFaults: UInt64 = 0
    var repeatedHost: UInt64 = 0
    var repeatedAddress: UInt64 = 0
    var repetitions = 0
    var interruptsDelivered: UInt64 = 0

    /// The instruction at RIP writes to a page of translated code, maybe its own: it runs in a block of one instruction, its page
    /// open to writes, which goes when it is done.
    var stepsOverCodeWrite = false
    var unprotectedBlocks: [Int] = []
    /// One instruction of translated ring 3 runs directly, because the translator has no form for it.
    var stepsDirectly = false
    /// TSC when the guest was last left, plus what has been charged elsewhere since.
    var exitTSC: UInt64 = 0
    /// What all exits so far have taken.
    private var vmmCycles: UInt64 = 0
    /// Cycles without those, since some point in the past.
    var guestClock: UInt64 { exitTSC &- vmmCycles }
    var haltedTicks: UInt64 = 0
    var armedDeadline: UInt64 = 0
    var limitTSC: UInt64 = .max
    private let cpuidFaults: Bool

    /// Options of the software VMM.
    public struct Options: Sendable {
        /// Bytes of host code kept before the oldest is dropped: at least 64 KiB.
        public var codeCacheBytes = 32 << 20
        public var userMode = UserMode.adaptive
        /// Most host mappings to shadow the guest's page tables with; nil: what vm.max_map_count leaves. At least 64.
        public var hostMappingLimit: Int?
        /// Seed of disturbances that must not show: kicks, evictions, lost shadows. Nil: none. For tests.
        public var stress: UInt64?
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
        keepsLedger = configuration.keepsLedger
        exitSites = configuration.profilesExits ? ExitSites() : nil
        tscHertz = TimestampCounter.hertz
        memory = try GuestMemory(bytes: configuration.memoryBytes, numaNode: configuration.numaNode)
        let boot = try BootLoader.load(
            configuration, into: memory, tscHertz: tscHertz, apicTimerHertz: LocalAPIC.inputHertz,
            quirks: 0)
        let platform =
            configuration.hasPlatformDevices
            ? PlatformDevices(lowMemoryBytes: memory.lowBytes, tscHertz: tscHertz) : nil
        cpu = try VirtualCPU(boot: boot, tscHertz: tscHertz, platform: platform)
        shadow = ShadowMMU(memory: memory, map: map, mappingLimit: options.hostMappingLimit)
        linear = GuestLinearMemory(memory: memory)
        legacy = LegacyExecution(cpu: cpu, memory: memory)
        fetch = InstructionFetch(memory: memory, linear: linear)
        let state = cpu.state
        state.pointee.vmm_begin = map.vmmBegin
        cache = try CodeCache(capacity: options.codeCacheBytes, vcpu: state)
        state.pointee.user_end = map.userEnd
        state.pointee.window = map.window
        translators = Translators(map: map)
        userMode = UserModePolicy(mode: options.userMode)
        stress = options.stress.map { Stress(seed: $0) }
        cpuidFaults = vb_sw_fault_cpuid(1) == 0
        if cpuidFaults { _ = vb_sw_fault_cpuid(0) }
        legacy.machine = self
        if !boot.isLongMode { legacy.start(boot) }
    }

    /// Whether this host can run it.
    public enum Support: Sendable, Equatable {
        case supported
        case unavailable(reason: String, remedy: String)
    }

    /// Looks for what the software VMM builds on. Changes nothing.
    public static func support() -> Support {
        guard clinux_probe_fsgsbase() == 0 else {
            return .unavailable(
                reason: "the kernel does not let programs use FSGSBASE instructions",
                remedy: "run on a CPU with FSGSBASE (2012 or later) and Linux 5.9 or later")
        }
        guard clinux_probe_syscall_user_dispatch() == 0 else {
            return .unavailable(
                reason: "the kernel has no Syscall User Dispatch",
                remedy: "run on Linux 5.11 or later, x86-64")
        }
        return .supported
    }

    // MARK: Running

    /// Runs the guest to the end of its machine. Call once. The calling thread becomes the vCPU's until it returns.
    ///
    /// - Parameter beforeEntry: called when everything is set up and before the guest's first instruction: the place to
    ///   jail this process (`Jail.software`). Its error ends the machine as `hostFailure`.
    public func run(
        observer: any MachineObserver, beforeEntry: (SoftwareMachine) throws -> Void = { _ in }
    ) -> MachineOutcome {
        let start = TimestampCounter.now()
        let end: MachineEnd
        do throws(MachineStop) {
            do throws(MachineError) {
                ports = try PortBus(
                    memory: memory, observer: observer, configuration, cpu.platform, ledger: ledger)
            } catch {
                throw MachineStop(.hostFailure(error.description))
            }
            publishSteadyPorts()
            guard configuration.timeLimit > 0 else { throw MachineStop(.timeout) }
            limitTSC = start &+ UInt64(min(configuration.timeLimit, 1e9) * Double(tscHertz))
            let stack = try takeThread()
            defer { releaseThread(stack) }
            if keepsLedger { transitions = TransitionCosts(cpu) }
            do { try beforeEntry(self) } catch { throw MachineStop(.hostFailure("\(error)")) }
            try loop()
        } catch {
            end = error.end
            // The exit that ended it has not been followed by an entry.
            let stop = TimestampCounter.now()
            if exitTSC > 0, keepsLedger { ledger.record(exitReason, raw: exitRaw.rawValue, cycles: stop &- exitTSC) }
            countInlineOperations()
            ledger.end(at: stop)
            return finish(end, start)
        }
    }

    private static let signalStackBytes = 128 << 10

    /// Installs the fault handlers, their stack (returned) and the diversion of guest system calls.
    private func takeThread() throws(MachineStop) -> UnsafeMutableRawPointer {
        guard
            let stack = mmap(
                nil, Self.signalStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            stack != MAP_FAILED
        else { throw MachineStop(.hostFailure("mmap of the signal stack: \(String(cString: strerror(errno)))")) }
        let installed = vb_sw_install(cpu.state, stack, Self.signalStackBytes)
        let begin = map.vmmBegin
        guard installed == 0, vb_sw_dispatch_user_calls(begin, map.vmmEnd - begin) == 0 else {
            vb_sw_uninstall()
            munmap(stack, Self.signalStackBytes)
            let reason = installed == 0 ? "Syscall User Dispatch was refused" : String(cString: strerror(installed))
            throw MachineStop(.hostFailure("the software VMM's fault handlers: \(reason)"))
        }
        if cpuidFaults { _ = vb_sw_fault_cpuid(1) }
        return stack
    }

    private func releaseThread(_ stack: UnsafeMutableRawPointer) {
        vb_sw_arm_kick(0)
        if cpuidFaults { _ = vb_sw_fault_cpuid(0) }
        _ = vb_sw_release_user_calls()
        vb_sw_uninstall()
        munmap(stack, Self.signalStackBytes)
        shadow.dropAll()
    }

    private func loop() throws(MachineStop) -> Never {
        armKick()
        exitTSC = TimestampCounter.now()
        ledger.publish(backend: "software", configuration)
        ledger.begin(at: exitTSC)
        exitReason = .dispatch
        exitOrigin = (cpu.rip, cpu.privilege)
        while true {
            let resumes = resumesTranslation
            if !legacy.isActive { try prepareEntry() }
            let entryTSC = TimestampCounter.now()
            if keepsLedger {
                ledger.record(exitReason, raw: exitRaw.rawValue, cycles: entryTSC &- exitTSC)
                if let exitSites { noteSite(exitSites, cycles: entryTSC &- exitTSC) }
                if ledger.isChanging { countInlineOperations() }
                ledger.settle(exit: exitTSC, entry: entryTSC)
            }
            vmmCycles &+= entryTSC &- exitTSC
            history.record(exitReason, rip: cpu.rip)
            if let tracer, !legacy.isActive { traceEntry(tracer, cycles: entryTSC &- exitTSC, resumes: resumes) }
            if legacy.isActive {
                // All of it is the VMM's own work.
                exitTSC = entryTSC
                exitRaw = .interpreter
                try interpretLegacy()
                try afterExit()
                continue
            }
            let kind = vb_sw_enter(cpu.state)
            exitTSC = TimestampCounter.now()
            if keepsLedger { ledger.left(guestCycles: exitTSC &- entryTSC) }
            exitReason = .other
            exitRaw = RawExit(
                exit: Int32(truncatingIfNeeded: kind), signal: Int32(truncatingIfNeeded: cpu.state.pointee.trap_signal))
            if tracer != nil || exitSites != nil { noteOrigin(ofExit: Int32(truncatingIfNeeded: kind)) }
            recordPortReads()
            let ranDirectly = cpu.state.pointee.direct != 0
            if ranDirectly { takeUserState() }
            let shadowed = cpu.interruptShadow
            cpu.interruptShadow = false
            var completed = true
            switch Int32(truncatingIfNeeded: kind) {
            case VB_SW_EXIT_CHAIN: try chain()
            case VB_SW_EXIT_INDIRECT: try indirect()
            case VB_SW_EXIT_EMULATE:
                cpu.rip = cpu.state.pointee.rip
                do throws(GuestException) {
                    if try !carryOutSite() {
                        if cpu.privilege == 3 { try emulateRing3() } else { try emulateRing0() }
                    }
                } catch { try deliver(error) }
            case VB_SW_EXIT_TRAP:
                completed = false
                if ranDirectly { try handleDirectTrap() } else { try handleTranslatedTrap() }
            case VB_SW_EXIT_TO_USER:
                exitReason = .interruptReturn
                cpu.rip = cpu.state.pointee.target
                prefillAfterFault()
            case VB_SW_EXIT_KICK:
                exitReason = .externalInterrupt
                if !ranDirectly {
                    let before = cpu.rip
                    recoverGuestState(cpu.state.pointee.resume)
                    // Refused before the instruction behind STI ran: the shadow stays.
                    cpu.interruptShadow = shadowed && cpu.rip == before
                    completed = cpu.rip != before
                }
            default: throw MachineStop(.hostFailure("unknown exit \(kind)"))
            }
            if stepping, !ranDirectly, !resumesTranslation { try finishStep(completed: completed) }
            try afterExit()
        }
    }

    /// Ring 3 run directly can change state behind the VMM's back: bases by WRFSBASE, flags by POPF.
    private func takeUserState() {
        cpu.state.pointee.direct = 0
        cpu.rip = cpu.state.pointee.resume
        cpu.keepUserFlags()
        // TF was the VMM's.
        if stepsDirectly, !stepping { cpu.endDirectStep() }
        let kind = Int32(truncatingIfNeeded: cpu.state.pointee.exit_kind)
        if kind == VB_SW_EXIT_TRAP || (kind == VB_SW_EXIT_KICK && cpu.state.pointee.trap_fresh != 0) {
            cpu.state.pointee.guest_fs_base = cpu.state.pointee.trap_fs_base
            cpu.state.pointee.guest_gs_base = cpu.state.pointee.trap_gs_base
        }
    }

    /// What would have been a host signal had ring 3 run directly: system calls and page faults of translated ring 3.
    var userEvents: UInt64 { cpu.state.pointee.inline_syscalls &+ translatedUserFaults }

    /// What may be due after any exit: a stop, the time limit, the timer, a halt, an interrupt.
    private func afterExit() throws(MachineStop) {
        if let stop = pendingStop { throw stop }
        if stepsOverCodeWrite, !resumesTranslation, exitReason != .tracedWrite {
            dropUnprotectedCode()
        }
        if cpu.state.pointee.kick != 0 {
            cpu.state.pointee.kick = 0
            let now = TimestampCounter.now()
            guard now < limitTSC else { throw MachineStop(.timeout) }
            cpu.pollTimers(now: now)
            armedDeadline = 0
            timerChanged = true
        }
        if halted { try waitForInterrupt() }
        if !resumesTranslation { try deliverPendingInterrupt() }
        if timerChanged { armKick() }
        if userMode.isTranslated {
            userMode.noteTranslated(calls: userEvents, now: guestClock)
        }
        // An interrupt that STI has let in waits one instruction: come back soon. On a busy host entering the guest may
        // take longer than the wait, and the kick comes too early again: each refusal doubles the wait.
        if cpu.interruptShadow, cpu.hasDeliverableInterrupt {
            vb_sw_arm_kick(monotonic() + shadowWaitNanoseconds)
            shadowWaitNanoseconds = min(2 * shadowWaitNanoseconds, 10_000_000)
        } else {
            shadowWaitNanoseconds = Self.shortestShadowWait
        }
        disturb()
    }

    /// Where the guest goes on, and with which thread state.
    private func prepareEntry() throws(MachineStop) {
        let state = cpu.state
        if resumesTranslation {
            resumesTranslation = false
            state.pointee.rflags = state.pointee.rflags & Flags.live | Flags.always | Flags.interrupt
            // Translated code may have changed rings since it was entered.
            state.pointee.enter_fs = cpu.privilege == 3 ? state.pointee.guest_fs_base : map.window
            state.pointee.enter_gs = state.pointee.`self`
            return
        }
        // Ring 3 single-steps itself best.
        let isTranslated = userMode.isTranslated || !translators.withheld.isEmpty
        let translatesUser = isTranslated && !stepsDirectly && !cpu.singleStepping
        state.pointee.translate_user = translatesUser ? 1 : 0
        if cpu.privilege == 3, !translatesUser {
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
        stepping = cpu.singleStepping
        exceptionsBeforeStep = exceptionsEntered
        if cpu.privilege == 3, !translatesUser {
            cpu.prepareFlags()
            if stepsDirectly { state.pointee.rflags |= Flags.trap }
            state.pointee.enter_fs = state.pointee.guest_fs_base
            state.pointee.enter_gs = state.pointee.guest_gs_base
            state.pointee.resume = cpu.rip
            state.pointee.direct = 1
        } else {
            // Looking for the block may deliver a fault of the fetch, and end in another ring.
            state.pointee.resume = cache.directEntry(stepping ? try blockOfOneStep() : try blockForCurrentRIP())
            state.pointee.enter_fs = cpu.privilege == 3 ? state.pointee.guest_fs_base : map.window
            state.pointee.enter_gs = state.pointee.`self`
            cpu.prepareFlags()
        }
        if cpu.privilege == 3 { shadow.prepareUser(cpu.pagingMode) }
        // A return to ring 3 that something waits for is the VMM's.
        let waits = cpu.hasDeliverableInterrupt || userFault != nil || shadow.userNeedsAttention
        state.pointee.attention = waits || stepping ? 1 : 0
    }

    // MARK: The end

    private func finish(_ end: MachineEnd, _ start: UInt64) -> MachineOutcome {
        let stop = TimestampCounter.now()
        ports?.finish()
        var outcome = MachineOutcome(end: end, startTSC: start, endTSC: stop, tscHertz: tscHertz)
        addLedger(to: &outcome)
        outcome.counters = [
            "software.translatedBlocks": Double(cache.translatedBlocks),
            "software.translatedInstructions": Double(cache.translatedInstructions),
            "software.codeCacheEvictions": Double(cache.evictions),
            "software.codeInvalidations": Double(cache.invalidations),
            "software.inlineSystemCalls": Double(cpu.state.pointee.inline_syscalls),
            "software.inlineReturns": Double(cpu.state.pointee.inline_returns),
            "software.calloutSites": Double(sites.made),
            "software.calloutSitesReverted": Double(sites.reverted),
            "software.calloutAccesses": Double(sites.callouts),
            "software.trapsSpared": Double(sites.trapsSpared),
            "software.movesToTranslation": Double(userMode.movesToTranslation),
            "software.movesToDirect": Double(userMode.movesToDirect),
            "software.shadowFills": Double(shadow.fills),
            "software.shadowKept": Double(shadow.kept),
            "software.shadowDrops": Double(shadow.dropped),
            "software.shadowRestored": Double(shadow.restored),
            "software.shadowEvictions": Double(shadow.evictions),
            "software.hostMapCalls": Double(shadow.mapCalls),
            "software.hostProtectCalls": Double(shadow.protectCalls),
            "software.hostUnmapCalls": Double(shadow.unmapCalls),
            "software.hostMappingsPeak": Double(shadow.peakMappings),
            "software.interruptsDelivered": Double(interruptsDelivered),
            "software.haltedNanoseconds": Double(haltedTicks) * 1e9 / Double(tscHertz),
            "software.cpuidFaulting": cpuidFaults ? 1 : 0,
        ]
        if let ports { outcome.counters["machine.doorbells"] = Double(ports.doorbells) }
        if let stress { outcome.counters["software.stressEvents"] = Double(stress.events) }
        if userMode.mode == .adaptive { outcome.decisions = userMode.decisions.map(\.text) }
        if case .debugExit = end { return outcome }
        outcome.diagnosis = diagnose()
        return outcome
    }

    private func diagnose() -> [String] {
        var lines = registerLines()
        lines.append("at \(configuration.kernel.describe(cpu.rip)), ring \(cpu.privilege)")
        let user = cpu.privilege == 3
        if legacy.isActive {
            lines.append("  " + (legacy.interpreter.disassembleCurrent() ?? "(the code cannot be read)"))
        } else if let bytes = try? fetch.instruction(cpu.rip, user: user, cpu.pagingMode) {
            lines.append("  " + disassemble(bytes, at: cpu.rip))
        }
        lines.append("last exits, newest first:")
        lines += history.lines { self.configuration.kernel.describe($0) }
        return lines
    }
}

func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
