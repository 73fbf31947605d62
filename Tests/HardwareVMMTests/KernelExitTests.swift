import GuestInterface
import Host
import Machine
import MachineTesting
import Testing

@testable import HardwareVMM

/// Whether KVM's events of this process may be recorded.
private let kvmTracingWorks: Bool = {
    guard kvmWorks, let points = try? KVMTracepoints(flavour: KVMFlavour.detect()) else { return false }
    return (try? TraceBuffer(points.all, bufferBytes: 1 << 17)) != nil
}()

/// KVM's exits as traced, against counts that others take of the same run.
@Suite(.enabled(if: kvmTracingWorks, "KVM's tracepoints are not available here")) struct KernelExitTests {
    private let flavour = KVMFlavour.detect()

    private func machine(profiles: Bool = true, _ build: (inout GuestCode) -> Void) throws -> KVMMachine {
        var code = GuestCode()
        build(&code)
        var configuration = MachineConfiguration(
            kernel: try KernelImage(path: "guest", bytes: ElfBuilder(code: code.bytes).bytes), memoryBytes: 16 << 20,
            timeLimit: 60)
        configuration.profilesExits = profiles
        return try KVMMachine(configuration: configuration)
    }

    /// Hits of a tracepoint in this thread from now on, counted the way of `perf stat -e`.
    private func counter(_ event: String) throws -> TracepointCounter {
        try TracepointCounter(Tracepoint(system: "kvm", event: event))
    }

    @Test func exitsToTheVMMAreThoseThatTheVMMCounts() throws {
        let machine = try machine { guest in
            guest.edx(UInt32(Port.postCode))
            guest.loop(100) { $0.raw(0xEC) }  // in al, dx
            guest.exit(1)
        }
        let outcome = machine.run(observer: RecordingObserver())
        let trace = try #require(machine.kernelExits)
        #expect(outcome.counters["kvm.runs"] == 101)
        #expect(trace.hits["kvm:kvm_userspace_exit"] == 101)
        #expect(trace.lostEvents == 0)
        // Each is one exit that KVM took, too.
        #expect(trace.exits.filter { $0.reason == .portIO }.reduce(0) { $0 + $1.count } == 101)
    }

    @Test func everyHitIsReadAndAgreesWithAnotherCounter() throws {
        let machine = try machine { guest in
            guest.loop(2000) { $0.raw(0x31, 0xC0, 0x0F, 0xA2, 0xB9, 0, 0, 0, 0) }  // xor eax, eax; cpuid
            guest.exit(1)
        }
        let exits = try counter("kvm_exit")
        let entries = try counter("kvm_entry")
        let instructions = try counter("kvm_emulate_insn")
        let userspace = try counter("kvm_userspace_exit")
        // The guest that measures the cost of tracing runs before the record begins; what it causes is not in the record.
        var before: [UInt64?] = []
        let outcome = machine.run(observer: RecordingObserver()) {
            before = [exits.count, entries.count, instructions.count, userspace.count]
        }
        #expect(outcome.end == .debugExit(code: 1))
        let after = [exits.count, entries.count, instructions.count, userspace.count]
        let trace = try #require(machine.kernelExits)
        let names = ["kvm_exit", "kvm_entry", "kvm_emulate_insn", "kvm_userspace_exit"]
        for (index, name) in names.enumerated() {
            guard let hits = trace.hits["kvm:\(name)"] else { continue }
            #expect(try hits == #require(after[index]) - #require(before[index]), "\(name)")
        }
        #expect(trace.lostEvents == 0)
        if flavour == .pvm {
            #expect(trace.hits["kvm:kvm_exit"] == nil)
        } else {
            let lines = trace.exits.reduce(0) { $0 + $1.count }
            #expect(lines == trace.hits["kvm:kvm_exit"])
            #expect(try #require(trace.exits.first { $0.reason == .cpuid }).count == 2000)
        }
    }

    /// Flavour pvm tells of each instruction of guest ring 0.
    @Test func theInstructionsThatPVMEmulatesAreExact() throws {
        guard flavour == .pvm else { return }
        func emulated(rounds: UInt32) throws -> (trace: KernelExitProfile, outcome: MachineOutcome) {
            let machine = try machine { guest in
                guest.loop(rounds) { $0.raw(0x0F, 0x20, 0xD8) }  // mov rax, cr3
                guest.exit(1)
            }
            let outcome = machine.run(observer: RecordingObserver())
            return (try #require(machine.kernelExits), outcome)
        }
        let few = try emulated(rounds: 100)
        let many = try emulated(rounds: 1100)
        func count(_ trace: KernelExitProfile, _ reason: ExitReason) -> UInt64 {
            trace.exits.filter { $0.reason == reason }.reduce(0) { $0 + $1.count }
        }
        #expect(count(many.trace, .controlRegister) == 1100)
        #expect(count(many.trace, .controlRegister) - count(few.trace, .controlRegister) == 1000)
        for (trace, outcome) in [few, many] {
            let lines = trace.exits.reduce(0) { $0 + $1.count }
            #expect(trace.exits.allSatisfy { $0.rawReason.hasPrefix("emulate") })
            #expect(lines == trace.hits["kvm:kvm_emulate_insn"])
            // KVM's own statistics count the same instructions.
            #expect(Double(lines) == outcome.counters["kvm.stats.insn_emulation"])
            let latency = try #require(trace.exits.first { $0.reason == .controlRegister }?.latency)
            #expect(latency.minimumCycles <= latency.medianCycles && latency.medianCycles <= latency.maximumCycles)
            let site = try #require(trace.sites.max { $0.count < $1.count })
            #expect(0x20_0000..<0x20_0100 ~= site.rip && site.ring == 0)
        }
    }

    @Test func whyThereIsNoRecordIsSaid() throws {
        let machine = try machine(profiles: false) { $0.exit(1) }
        let outcome = machine.run(observer: RecordingObserver())
        #expect(machine.kernelExits == nil)
        #expect(outcome.countersUnavailable["kvm.exitLatency.inKernel"] != nil)
    }
}
