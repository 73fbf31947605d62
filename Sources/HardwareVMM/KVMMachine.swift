import CLinux
import Glibc
import GuestInterface
import Host
import Machine

/// A machine of one vCPU under KVM.
///
/// What is timed: an exit's cost is the time from the return of the KVM_RUN system call that brought it to the next call
/// of KVM_RUN, by TSC: the VMM's own work, less what it spends in the observer (`machine.deliveryCycles`). The CPU's
/// world switch and KVM's in-kernel part lie inside KVM_RUN, as does guest code; the counter `kvm.runCycles` is their
/// sum. Exits that KVM handles itself are counted by KVM (`kvm.stats.*`).
///
/// Hostile guests: everything a guest controls that reaches this process (ports, sizes, values, the mailbox) is checked;
/// what the machine does not offer ends it with a diagnosis.
///
/// Belongs to one thread, apart from `cancel()`.
public final class KVMMachine {
    /// Input clock of KVM's local-APIC timer: one cycle a nanosecond (APIC_BUS_CYCLE_NS in arch/x86/kvm/lapic.h).
    private static let apicTimerHertz: UInt64 = 1_000_000_000

    private let configuration: MachineConfiguration
    public let memory: GuestMemory
    public let flavour: KVMFlavour
    private let machine: VirtualMachine
    private let vcpu: VirtualCPU
    /// Clock and keyboard controller; interrupt controllers and timer are KVM's.
    private let platform: PlatformDevices?
    private var serialLine = false
    private var testDevice = TestDevice()
    private let statistics: KVMStatistics
    private let ledger = ExitLedger(rawReasons: KVMExit.ledgerNames)
    private let exitSites: ExitSites?
    private var ring = ExitRing()
    private let tscOffset: Int64
    // Invariant: allocated from init to deinit; the timer and signal that point to it are gone when `run` returns.
    private let kick: UnsafeMutablePointer<clinux_kick>
    private var started = false

    /// Sets the machine up to its first instruction.
    ///
    /// - Throws: `unavailable` without a usable /dev/kvm; `outOfGuestMemory` and `invalidConfiguration` for what does not
    ///   fit; `system` when the host refuses a step.
    public init(configuration: MachineConfiguration) throws(MachineError) {
        let system = try KVMSystem()
        let flavour = KVMFlavour.detect()
        let memory = try GuestMemory(bytes: configuration.memoryBytes, numaNode: configuration.numaNode)
        let machine = try VirtualMachine(
            system: system, memory: memory, hasPlatformDevices: configuration.hasPlatformDevices)
        let vcpu = try VirtualCPU(system: system, machine: machine)
        let cpuid = try system.supportedCPUID()
        cpuid.append(
            kvm_cpuid_entry2(
                function: BootQuirks.cpuidLeaf, index: 0, flags: 0, eax: UInt32(truncatingIfNeeded: flavour.quirks),
                ebx: BootQuirks.cpuidSignature.ebx, ecx: BootQuirks.cpuidSignature.ecx,
                edx: BootQuirks.cpuidSignature.edx, padding: (0, 0, 0)))
        try vcpu.setCPUID(
            cpuid, hasIrqchip: machine.hasIrqchip,
            hasDeadlineTimer: system.capability(KVM_CAP_TSC_DEADLINE_TIMER) > 0)
        tscOffset = vcpu.alignTSC()
        let state = try BootLoader.load(
            configuration, into: memory, tscHertz: TimestampCounter.hertz, apicTimerHertz: Self.apicTimerHertz,
            quirks: flavour.quirks, bootTSC: TimestampCounter.now() &+ UInt64(bitPattern: tscOffset))
        try vcpu.enter(
            state, hasIrqchip: machine.hasIrqchip,
            presetXCR0: flavour.needsPresetXCR0 ? Self.supportedXCR0(cpuid) : nil)
        statistics = KVMStatistics(machine: machine.descriptor.rawValue, vcpu: vcpu.descriptor.rawValue)
        self.configuration = configuration
        exitSites = configuration.profilesExits ? ExitSites() : nil
        self.flavour = flavour
        self.memory = memory
        self.machine = machine
        self.vcpu = vcpu
        platform =
            configuration.hasPlatformDevices
            ? PlatformDevices(lowMemoryBytes: memory.lowBytes, tscHertz: TimestampCounter.hertz) : nil
        kick = .allocate(capacity: 1)
        kick.initialize(to: clinux_kick())
    }

    deinit {
        clinux_kick_detach(kick)
        kick.deallocate()
    }

    /// State components a guest may enable (Intel SDM vol. 2, CPUID leaf 0xD subleaf 0), nil without XSAVE.
    private static func supportedXCR0(_ cpuid: CPUIDTable) -> UInt64? {
        guard let features = cpuid.entry(1), features.ecx & 1 << 26 != 0, let leaf = cpuid.entry(0xD) else {
            return nil
        }
        return UInt64(leaf.edx) << 32 | UInt64(leaf.eax)
    }

    /// Ends the run with `MachineEnd.cancelled`, at once or as soon as it starts. From any thread.
    public func cancel() { clinux_kick_cancel(kick) }

    /// Where the configuration asks for a profile, `run` records the exits that KVM takes (`kernelExits`), which slows the guest down.
    /// CPUs for what reads that record, others than the guest's; empty: those of the thread that calls `run`.
    public var recordingCPUs: [Int] = []
    /// The record, once the machine has run; nil where none was asked for, or none could be made (the outcome says why).
    public private(set) var kernelExits: KernelExitProfile?

    /// While `run` lasts, these signals cancel it. They replace the process's handlers, and stay ignored afterwards.
    public var cancellingSignals: [Int32] = []

    /// Runs the guest to its end, on this thread. Once.
    ///
    /// - Parameter beforeEntry: called when everything is set up and before the guest's first instruction: the place to
    ///   jail this process. Its error ends the machine as `hostFailure`.
    public func run(
        observer: any MachineObserver, beforeEntry: () throws -> Void = {}
    ) -> MachineOutcome {
        guard !started else { return outcome(.hostFailure("a machine runs only once"), from: 0, to: 0) }
        started = true
        let bus: PortBus
        var trace: KernelExitTrace?
        var traceProblem: (any Error)?
        if configuration.profilesExits && configuration.keepsLedger {
            do { trace = try KernelExitTrace(flavour: flavour, otherCPUs: recordingCPUs) } catch {
                traceProblem = error
            }
        }
        do {
            bus = try PortBus(memory: memory, observer: observer, configuration, platform, ledger: ledger)
            try prepareKick()
            try beforeEntry()
        } catch {
            return outcome(.hostFailure("\(error)"), from: 0, to: 0)
        }
        ledger.publish(backend: "kvm", configuration)
        let begin = TimestampCounter.now()
        let (end, runs, runCycles) = enterUntilEnd(bus, trace)
        let finish = TimestampCounter.now()
        clinux_kick_detach(kick)
        for signal in cancellingSignals { _ = clinux_kick_on_signal(signal, nil) }
        bus.finish()

        var result = outcome(end, from: begin, to: finish)
        result.counters["kvm.runs"] = Double(runs)
        if configuration.keepsLedger {
            result.exits = ledger.summaries()
            result.phases = ledger.phaseSummaries
            result.sites = exitSites?.summaries
            result.droppedSites = exitSites?.dropped ?? 0
            result.counters["kvm.runCycles"] = Double(runCycles)
            result.counters["kvm.userspaceCycles"] = Double(finish &- begin &- runCycles)
        } else {
            result.ledgerUnavailable = MachineConfiguration.ledgerIsOff
            result.countersUnavailable["kvm.runCycles"] = MachineConfiguration.ledgerIsOff
            result.countersUnavailable["kvm.userspaceCycles"] = MachineConfiguration.ledgerIsOff
        }
        result.counters["machine.deliveryCycles"] = Double(bus.deliveryCycles)
        result.counters["machine.doorbells"] = Double(bus.doorbells)
        result.counters["machine.unknownPortAccesses"] = Double(bus.unknownAccesses)
        result.counters["machine.mailboxErrors"] = Double(bus.mailboxErrors)
        result.counters["machine.droppedRecords"] = Double(bus.droppedRecords)
        statistics.add(to: &result)
        if let lead = vcpu.tscLead(), lead != tscOffset {
            // KVM re-bases guest TSCs where the kernel has found the host's unstable: guest times are off then.
            result.countersUnavailable["kvm.commonTSC"] =
                "the guest's TSC moved by \(lead &- tscOffset) cycles against the host's: distrust this trial's times"
        }
        kernelExits = trace?.finish()
        if let kernelExits {
            result.exits += kernelExits.exits
            // An exit that goes on to the VMM is there twice: with its time in the VMM and with its time in KVM.
            result.sites = (result.sites ?? []) + kernelExits.sites
            result.droppedSites += kernelExits.droppedSites
            result.counters.merge(kernelExits.counters) { _, new in new }
        } else {
            result.countersUnavailable["kvm.exitLatency.inKernel"] =
                traceProblem.map { "\($0)" }
                ?? "KVM's statistics count the exits it handles itself; only a profile trial times them"
        }
        if case .debugExit = end {
        } else {
            result.diagnosis = diagnosis(of: end, at: finish)
            if let error = bus.firstMailboxError { result.diagnosis.append("mailbox: \(error)") }
        }
        return result
    }

    private func prepareKick() throws(MachineError) {
        guard clinux_kick_attach(kick, &vcpu.run.pointee.immediate_exit) == 0 else {
            throw .last("sigaction for the vCPU's kick signal")
        }
        for signal in cancellingSignals where clinux_kick_on_signal(signal, kick) != 0 {
            throw .last("sigaction for signal \(signal)")
        }
        guard configuration.timeLimit > 0 else {
            throw .invalidConfiguration("a time limit of \(configuration.timeLimit) s: must be positive")
        }
        guard clinux_kick_arm(kick, configuration.timeLimit) == 0 else { throw .last("timer for the time limit") }
    }

    private func outcome(_ end: MachineEnd, from begin: UInt64, to finish: UInt64) -> MachineOutcome {
        let offset = UInt64(bitPattern: tscOffset)
        return MachineOutcome(
            end: end, startTSC: begin &+ offset, endTSC: finish &+ offset, tscHertz: TimestampCounter.hertz)
    }

    // MARK: - The loop

    /// Enters the guest again and again until something ends the machine. Returns why, how often it was entered, and the
    /// cycles spent inside KVM_RUN.
    private func enterUntilEnd(
        _ bus: PortBus, _ trace: KernelExitTrace?
    ) -> (end: MachineEnd, runs: UInt64, runCycles: UInt64) {
        let descriptor = vcpu.descriptor.rawValue
        let run = vcpu.run
        var runs: UInt64 = 0
        var runCycles: UInt64 = 0
        ledger.begin(at: TimestampCounter.now())
        let keepsLedger = configuration.keepsLedger
        while true {
            let entry = keepsLedger ? TimestampCounter.now() : 0
            let status = clinux_kvm_run(descriptor)
            let exit = TimestampCounter.now()
            let delivered = bus.deliveryCycles
            runs &+= 1
            let reason: ExitReason
            let end: MachineEnd?
            let raw = status < 0 ? KVMExit.interruptedIndex : KVMExit.ledgerIndex(run.pointee.exit_reason)
            var origin: (rip: UInt64, ring: UInt8)?
            var profiling: UInt64 = 0
            if exitSites != nil {
                origin = originOfExit()
                profiling = TimestampCounter.now() &- exit
            }
            if status < 0 {
                (reason, end) = interrupted(errno, at: exit)
            } else {
                (reason, end) = handle(run, bus, at: exit)
            }
            if keepsLedger {
                runCycles &+= exit &- entry
                ledger.left(guestCycles: exit &- entry)
                let done = TimestampCounter.now()
                let cycles = done &- exit &- profiling &- (bus.deliveryCycles &- delivered)
                ledger.record(reason, raw: raw, cycles: cycles)
                if let exitSites, let origin {
                    exitSites.record(reason, phase: ledger.phase, rip: origin.rip, ring: origin.ring, cycles: cycles)
                }
                if end != nil { ledger.end(at: done) }
                ledger.settle(exit: exit, entry: done)
            }
            if let end { return (end, runs, runCycles) }
            if let trace { trace.enter(ledger.phase) }
        }
    }

    /// Guest RIP and ring, for profile trials only: two more system calls an exit. Nil where KVM does not tell.
    private func originOfExit() -> (rip: UInt64, ring: UInt8)? {
        let code = errno
        defer { errno = code }
        guard let registers = try? vcpu.registers(), let special = try? vcpu.specialRegisters() else { return nil }
        return (registers.rip, UInt8(special.cs.selector & 3))
    }

    private func interrupted(_ code: Int32, at tsc: UInt64) -> (ExitReason, MachineEnd?) {
        ring.record(
            .init(reason: ExitRing.interrupted, address: 0, data: 0, isWrite: false, size: 0, tsc: tsc))
        guard code == EINTR || code == EAGAIN else {
            let message = String(cString: strerror(code))
            return (.other, .hostFailure("KVM_RUN: \(message) (errno \(code))"))
        }
        switch UInt32(clinux_kick_reason(kick)) {
        case CLINUX_KICK_TIMEOUT.rawValue:
            // With the in-kernel irqchip a HLT that nothing can end does not come out by itself.
            let flags = (try? vcpu.registers())?.rflags
            let isDead = vcpu.isHalted && flags.map { $0 & 0x200 == 0 } ?? false
            return (.externalInterrupt, isDead ? .halted : .timeout)
        case CLINUX_KICK_CANCEL.rawValue: return (.externalInterrupt, .cancelled)
        default: return (.externalInterrupt, nil)
        }
    }

    @inline(__always)
    private func handle(
        _ run: UnsafeMutablePointer<kvm_run>, _ bus: PortBus, at tsc: UInt64
    ) -> (ExitReason, MachineEnd?) {
        switch Int32(bitPattern: run.pointee.exit_reason) {
        case KVM_EXIT_IO: return (.portIO, portIO(run, bus, at: tsc))
        case KVM_EXIT_MMIO where TestDevice.contains(GuestPhysicalAddress(run.pointee.mmio.phys_addr)):
            accessTestDevice(run, at: tsc)
            return (.mmio, nil)
        case KVM_EXIT_INTR, KVM_EXIT_IRQ_WINDOW_OPEN:
            recordPlain(run, at: tsc)
            return (.externalInterrupt, nil)
        default:
            return final(run, at: tsc)
        }
    }

    /// KVM puts `count` values of `size` bytes at `data_offset` in the run page (api.rst, KVM_EXIT_IO).
    @inline(__always)
    private func portIO(_ run: UnsafeMutablePointer<kvm_run>, _ bus: PortBus, at tsc: UInt64) -> MachineEnd? {
        let io = run.pointee.io
        let size = Int(io.size)
        let offset = Int(truncatingIfNeeded: io.data_offset)
        guard size == 1 || size == 2 || size == 4, offset >= 0, offset <= vcpu.runBytes,
            Int(io.count) <= (vcpu.runBytes - offset) / size
        else { return .emulationFailure("KVM_EXIT_IO with size \(size), count \(io.count)") }
        let isWrite = io.direction == UInt8(KVM_EXIT_IO_OUT)
        var data = UnsafeMutableRawPointer(run) + offset
        for _ in 0..<io.count {
            var value: UInt32 = 0
            if isWrite {
                memcpy(&value, data, size)
                ring.record(
                    .init(
                        reason: UInt32(KVM_EXIT_IO), address: UInt64(io.port), data: UInt64(value), isWrite: true,
                        size: io.size, tsc: tsc))
                switch bus.write(io.port, size: size, value: value) {
                case .continue: break
                case .exit(let code): return .debugExit(code: code)
                case .reset: return .reset
                }
            } else {
                value = bus.read(io.port, size: size)
                memcpy(data, &value, size)
                ring.record(
                    .init(
                        reason: UInt32(KVM_EXIT_IO), address: UInt64(io.port), data: UInt64(value), isWrite: false,
                        size: io.size, tsc: tsc))
            }
            data += size
        }
        if platform != nil { setSerialLine(bus.serialInterrupt()) }
        return nil
    }

    /// KVM puts the value into the guest's register at the next entry (api.rst, KVM_EXIT_MMIO).
    @inline(__always)
    private func accessTestDevice(_ run: UnsafeMutablePointer<kvm_run>, at tsc: UInt64) {
        let address = GuestPhysicalAddress(run.pointee.mmio.phys_addr)
        let size = Int(min(run.pointee.mmio.len, 8))
        let isWrite = run.pointee.mmio.is_write != 0
        let value = withUnsafeMutableBytes(of: &run.pointee.mmio.data) { data in
            if !isWrite { data.storeBytes(of: testDevice.read(address, size: size), as: UInt64.self) }
            return data.loadUnaligned(as: UInt64.self)
        }
        if isWrite { testDevice.write(address, size: size, value: value) }
        ring.record(
            .init(
                reason: UInt32(KVM_EXIT_MMIO), address: address.rawValue, data: value, isWrite: isWrite,
                size: UInt8(size), tsc: tsc))
    }

    /// The serial port's interrupt line at KVM's controllers.
    private func setSerialLine(_ level: Bool) {
        guard level != serialLine else { return }
        serialLine = level
        machine.setLine(UInt32(PortBus.serialLine), level)
    }

    private func recordPlain(_ run: UnsafeMutablePointer<kvm_run>, at tsc: UInt64) {
        ring.record(
            .init(reason: run.pointee.exit_reason, address: 0, data: 0, isWrite: false, size: 0, tsc: tsc))
    }

    /// Exits that end the machine.
    private func final(_ run: UnsafeMutablePointer<kvm_run>, at tsc: UInt64) -> (ExitReason, MachineEnd?) {
        switch Int32(bitPattern: run.pointee.exit_reason) {
        case KVM_EXIT_MMIO:
            let mmio = run.pointee.mmio
            let data = withUnsafeBytes(of: mmio.data) { $0.loadUnaligned(as: UInt64.self) }
            let isWrite = mmio.is_write != 0
            ring.record(
                .init(
                    reason: UInt32(KVM_EXIT_MMIO), address: mmio.phys_addr, data: isWrite ? data : 0, isWrite: isWrite,
                    size: UInt8(truncatingIfNeeded: mmio.len), tsc: tsc))
            let address = String(mmio.phys_addr, radix: 16)
            let access = isWrite ? "wrote to" : "read from"
            return (
                .mmio, .guestMemoryFault("the guest \(access) guest-physical 0x\(address): neither RAM nor a device")
            )
        case KVM_EXIT_HLT:
            recordPlain(run, at: tsc)
            return (.halt, .halted)
        case KVM_EXIT_SHUTDOWN:
            recordPlain(run, at: tsc)
            return (.shutdown, .tripleFault)
        case KVM_EXIT_SYSTEM_EVENT:
            recordPlain(run, at: tsc)
            return (.shutdown, .emulationFailure("KVM reports system event \(run.pointee.system_event.type)"))
        case KVM_EXIT_INTERNAL_ERROR:
            recordPlain(run, at: tsc)
            return (.emulatedInstruction, .emulationFailure(internalError(run.pointee.`internal`.suberror)))
        case KVM_EXIT_FAIL_ENTRY:
            recordPlain(run, at: tsc)
            let code = String(run.pointee.fail_entry.hardware_entry_failure_reason, radix: 16)
            return (.other, .emulationFailure("the CPU refused to enter the guest, hardware reason 0x\(code)"))
        default:
            recordPlain(run, at: tsc)
            return (
                .other, .emulationFailure("\(KVMExit.name(run.pointee.exit_reason)), which this VMM does not handle")
            )
        }
    }

    private func internalError(_ suberror: UInt32) -> String {
        switch Int32(bitPattern: suberror) {
        case KVM_INTERNAL_ERROR_EMULATION:
            "KVM cannot emulate the instruction at RIP"
                + (flavour.isHardwareAssisted ? "" : " (KVM flavour \(flavour.rawValue) emulates guest ring 0 in part)")
        case KVM_INTERNAL_ERROR_SIMUL_EX: "KVM reports simultaneous exceptions"
        case KVM_INTERNAL_ERROR_DELIVERY_EV: "KVM could not deliver an event to the guest"
        case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON: "KVM met an exit reason it does not know"
        default: "KVM internal error \(suberror)"
        }
    }

    private func diagnosis(of end: MachineEnd, at tsc: UInt64) -> [String] {
        var lines = GuestDiagnosis(vcpu: vcpu, memory: memory, kernel: configuration.kernel).lines
        if case .tripleFault = end, flavour == .amd {
            lines.insert("AMD-V leaves the registers undefined after a shutdown; KVM shows them reset.", at: 0)
        }
        let exits = ring.lines(until: tsc, tscHertz: TimestampCounter.hertz)
        lines.append(exits.isEmpty ? "no exits before the end" : "last \(exits.count) exits to the VMM, oldest first:")
        return lines + exits
    }
}
