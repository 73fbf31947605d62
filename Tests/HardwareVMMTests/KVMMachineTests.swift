import Glibc
import GuestInterface
import HardwareVMM
import Host
import Machine
import MachineTesting
import Testing

/// Whether this host has a /dev/kvm that vbench can use.
let kvmWorks: Bool = {
    do {
        _ = try KVMSystem()
        return true
    } catch { return false }
}()

@Suite(.enabled(if: kvmWorks, "there is no usable /dev/kvm here")) struct KVMMachineTests {
    private func machine(
        memoryBytes: UInt64 = 16 << 20, timeLimit: Double = 20, symbols: [ElfBuilder.Symbol] = [],
        _ build: (inout GuestCode) -> Void
    ) throws -> KVMMachine {
        var code = GuestCode()
        build(&code)
        var elf = ElfBuilder(code: code.bytes)
        elf.symbols = symbols
        return try KVMMachine(
            configuration: MachineConfiguration(
                kernel: KernelImage(path: "guest", bytes: elf.bytes), memoryBytes: memoryBytes, timeLimit: timeLimit))
    }

    private func count(_ outcome: MachineOutcome, _ reason: ExitReason) -> UInt64 {
        outcome.exits.reduce(0) { $1.reason == reason ? $0 + $1.count : $0 }
    }

    @Test func aGuestPrintsAndExits() throws {
        let observer = RecordingObserver()
        let outcome = try machine { guest in
            guest.print("hello\n")
            guest.exit(0x42)
        }.run(observer: observer)
        #expect(outcome.end == .debugExit(code: 0x42))
        #expect(observer.serialText == "hello\n")
        #expect(outcome.diagnosis.isEmpty)
    }

    @Test func stringOutputIsOneExitOfManyBytes() throws {
        let observer = RecordingObserver()
        let outcome = try machine { guest in
            guest.raw(0x48, 0x8D, 0x35, 21, 0, 0, 0)  // lea rsi, [rip + 21]
            guest.ecx(3)
            guest.edx(0x3F8)
            guest.raw(0xF3, 0x6E)  // rep outsb
            guest.edx(0xF4)
            guest.raw(0xB0, 1, 0xEE)  // mov al, 1; out dx, al
            guest.raw(0xF4)
            guest.raw(0x61, 0x62, 0x63)
        }.run(observer: observer)
        #expect(outcome.end == .debugExit(code: 1))
        #expect(observer.serialText == "abc")
    }

    @Test func everyExitIsCountedAndTimed() throws {
        let outcome = try machine { guest in
            guest.edx(UInt32(Port.postCode))
            guest.loop(100) { $0.raw(0xEC) }  // in al, dx
            guest.raw(0x0F, 0xB6, 0xC0)  // movzx eax, al
            guest.exitWithEAX()
        }.run(observer: RecordingObserver())
        #expect(outcome.end == .debugExit(code: 0xFF), "port 0x80 reads as ones")
        let line = try #require(outcome.exits.first { $0.reason == .portIO })
        #expect(line.count == 101)
        #expect(line.rawReason == "KVM_EXIT_IO" && line.handler == .vmm && line.phase == .boot)
        let latency = try #require(line.latency)
        #expect(latency.minimumCycles > 0)
        #expect(latency.totalCycles >= latency.minimumCycles * 101)
        #expect(latency.maximumCycles < outcome.endTSC - outcome.startTSC)
        #expect(outcome.counters["kvm.runs"] == 101)
        let inside = try #require(outcome.counters["kvm.runCycles"])
        let outside = try #require(outcome.counters["kvm.userspaceCycles"])
        #expect(inside + outside == Double(outcome.endTSC - outcome.startTSC))
        let phase = try #require(outcome.phases.first)
        #expect(outcome.phases.count == 1 && phase.phase == .boot && phase.entries == 1)
        #expect(Double(phase.guestCycles) == inside)
        #expect(phase.cycles >= phase.guestCycles + latency.totalCycles)
    }

    @Test func kvmsOwnCountersAreReportedOrExplained() throws {
        let outcome = try machine { $0.exit(1) }.run(observer: RecordingObserver())
        let hasStatistics = outcome.counters.keys.contains { $0.hasPrefix("kvm.stats.") }
        #expect(hasStatistics != (outcome.countersUnavailable["kvm.stats.*"] != nil))
        if hasStatistics { #expect(try #require(outcome.counters["kvm.stats.exits"]) >= 1) }
    }

    @Test func theBootProtocolHolds() throws {
        // RDI points at the boot info: its magic's low word, plus IF, must come back.
        let outcome = try machine { guest in
            guest.raw(0x8B, 0x07)  // mov eax, [rdi]
            guest.exitWithEAX()
        }.run(observer: RecordingObserver())
        #expect(outcome.end == .debugExit(code: UInt32(truncatingIfNeeded: BootInfo.magicValue)))
    }

    @Test func mailboxRecordsArriveWithTheDoorbell() throws {
        let observer = RecordingObserver()
        let machine = try machine { guest in
            guest.out32(Port.doorbell, Doorbell.drain)
            guest.exit(1)
        }
        var header = MailboxHeader()
        header.used = 16
        try machine.memory.write(header, at: GuestPhysicalAddress(BootLayout.mailbox))
        try machine.memory.write(
            MailboxRecordHeader(kind: MailboxRecordKind.phase, detail: 3, length: 0, tsc: 99),
            at: GuestPhysicalAddress(BootLayout.mailbox + 64))
        #expect(machine.run(observer: observer).end == .debugExit(code: 1))
        #expect(observer.records == [.init(kind: 2, detail: 3, tsc: 99, payload: [])])
    }

    @Test func guestAndHostShareTheTSC() throws {
        let machine = try machine { guest in
            guest.raw(0x0F, 0x31)  // rdtsc
            guest.rbx(0x40_0000)
            guest.raw(0x89, 0x03, 0x89, 0x53, 0x04)  // mov [rbx], eax; mov [rbx+4], edx
            guest.exit(1)
        }
        let outcome = machine.run(observer: RecordingObserver())
        let guest = try machine.memory.read(UInt64.self, at: GuestPhysicalAddress(0x40_0000))
        // A host without TSC control may be off by the time of one system call.
        #expect(guest > outcome.startTSC - outcome.tscHertz / 1000)
        #expect(guest < outcome.endTSC + outcome.tscHertz / 1000)
        #expect(outcome.countersUnavailable["kvm.commonTSC"] == nil)
    }

    @Test func theAPICIsInX2Mode() throws {
        let outcome = try machine { guest in
            guest.ecx(0x1B)  // IA32_APIC_BASE
            guest.raw(0x0F, 0x32)  // rdmsr
            guest.raw(0x25, 0x00, 0x0D, 0x00, 0x00)  // and eax, BSP | x2APIC | enable
            guest.exitWithEAX()
        }.run(observer: RecordingObserver())
        #expect(outcome.end == .debugExit(code: 0xD00))
    }

    @Test func memoryAboveFourGiBIsThere() throws {
        // One 2 MiB page of the identity map is turned to 4 GiB; the word written there must be in high RAM.
        let machine = try machine(memoryBytes: 4 << 30) { guest in
            guest.rbx(0x4000 + 8 * 511)  // directory 0, entry 511
            guest.raw(0xB8)  // mov eax, …
            guest.raw(0x83, 0, 0, 0)
            guest.raw(0x89, 0x03)  // mov [rbx], eax
            guest.eax(1)
            guest.raw(0x89, 0x43, 0x04)  // mov [rbx+4], eax: physical 4 GiB
            guest.rbx(0x3FE0_0000)
            guest.raw(0x0F, 0x01, 0x3B)  // invlpg [rbx]
            guest.eax(0xFEED)
            guest.raw(0x89, 0x03)
            guest.exit(1)
        }
        #expect(machine.run(observer: RecordingObserver()).end == .debugExit(code: 1))
        #expect(try machine.memory.read(UInt32.self, at: GuestPhysicalAddress(4 << 30)) == 0xFEED)
    }

    // MARK: - Bad ends

    @Test func aTripleFaultIsDiagnosed() throws {
        let outcome = try machine(symbols: [.init("crash_here", at: 0x20_0000, size: 64)]) { guest in
            guest.raw(0xEB, 0x00)  // jmp next
            guest.out8(Port.serial, 0x0A)
            guest.raw(0x0F, 0x0B)  // ud2, with no IDT
        }.run(observer: RecordingObserver())
        #expect(outcome.end == .tripleFault)
        let text = outcome.diagnosis.joined(separator: "\n")
        #expect(text.contains("RIP="))
        #expect(text.contains("out port 0x3f8, 1 bytes, value 0xa"))
        if KVMFlavour.detect() != .amd {
            #expect(text.contains("crash_here+0x"))
            #expect(text.contains("ud2"))
        }
    }

    @Test func anEndlessLoopEndsAtTheTimeLimit() throws {
        let outcome = try machine(timeLimit: 0.2, symbols: [.init("spin", at: 0x20_0000, size: 2)]) { guest in
            guest.raw(0xEB, 0xFE)  // jmp $
        }.run(observer: RecordingObserver())
        #expect(outcome.end == .timeout)
        #expect(outcome.diagnosis.contains { $0.contains("at 0x200000 spin+0x0, ring 0") })
        #expect(outcome.diagnosis.contains { $0.contains("jmp") })
        #expect(Double(outcome.endTSC - outcome.startTSC) / Double(outcome.tscHertz) > 0.19)
    }

    @Test func anEndlessStreamOfExitsEndsAtTheTimeLimit() throws {
        let outcome = try machine(timeLimit: 0.2) { guest in
            guest.edx(0x80)
            guest.raw(0xEC, 0xEB, 0xFD)  // in al, dx; jmp back
        }.run(observer: RecordingObserver())
        #expect(outcome.end == .timeout)
        #expect(count(outcome, .portIO) > 10)
        #expect(outcome.diagnosis.filter { $0.contains("in port 0x80") }.count >= 15)
    }

    @Test func aHaltThatNothingEndsIsNamed() throws {
        let outcome = try machine(timeLimit: 0.2) { $0.raw(0xFA, 0xF4) }.run(observer: RecordingObserver())
        #expect(outcome.end == .halted, "\(outcome.diagnosis.joined(separator: "\n"))")
    }

    @Test func anAccessToNothingIsAGuestMemoryFault() throws {
        let outcome = try machine { guest in
            guest.rbx(0xD000_0000)
            guest.raw(0x8B, 0x03)  // mov eax, [rbx]
            guest.exit(1)
        }.run(observer: RecordingObserver())
        guard case .guestMemoryFault(let message) = outcome.end else {
            Issue.record("ended by \(outcome.end)")
            return
        }
        #expect(message.contains("read from guest-physical 0xd0000000"))
    }

    @Test(.enabled(if: KVMFlavour.detect() == .pvm, "only KVM flavour pvm fails to emulate it"))
    func anEmulationFailureShowsTheInstruction() throws {
        let outcome = try machine { guest in
            guest.raw(0xF3, 0x48, 0x0F, 0xB8, 0xC3)  // popcnt rax, rbx
            guest.exit(1)
        }.run(observer: RecordingObserver())
        #expect(outcome.end != .debugExit(code: 1))
        #expect(outcome.diagnosis.contains { $0.contains("popcnt rax, rbx") })
    }

    @Test func aFailureInAFunctionShowsItsCallers() throws {
        let outcome = try machine(
            timeLimit: 0.2, symbols: [.init("outer", at: 0x20_0000, size: 30), .init("inner", at: 0x20_001E, size: 16)]
        ) { guest in
            guest.raw(0x48, 0xC7, 0xC4, 0x00, 0x00, 0x40, 0x00)  // mov rsp, 0x400000
            guest.raw(0x31, 0xED)  // xor ebp, ebp
            guest.raw(0xE8, 16, 0, 0, 0)  // call inner
            for _ in 0..<16 { guest.raw(0x90) }
            guest.raw(0x55, 0x48, 0x89, 0xE5)  // inner: push rbp; mov rbp, rsp
            guest.raw(0xEB, 0xFE)
        }.run(observer: RecordingObserver())
        #expect(outcome.end == .timeout)
        #expect(outcome.diagnosis.contains { $0.contains("called from 0x20000e outer+0xe") })
    }

    @Test func wildStatesNeverHarmTheVMM() throws {
        // CR3, RSP and RBP at the ends of the address space; diagnosis must still come.
        let outcome = try machine(timeLimit: 1) { guest in
            guest.rbx(0xFFFF_FFFF_FFFF_FFF8)
            guest.raw(0x48, 0x89, 0xDD)  // mov rbp, rbx
            guest.raw(0x48, 0x89, 0xDC)  // mov rsp, rbx
            guest.rbx(0x000F_FFFF_FFFF_F000)
            guest.raw(0x0F, 0x22, 0xDB)  // mov cr3, rbx
            guest.raw(0x0F, 0x0B)
        }.run(observer: RecordingObserver())
        #expect(outcome.end != .debugExit(code: 1))
        #expect(!outcome.diagnosis.isEmpty)
    }

    // MARK: - Control

    @Test func cancellingFromAnotherThreadStopsTheGuest() throws {
        let machine = try machine { $0.raw(0xEB, 0xFE) }
        let box = UncheckedBox(machine)
        let canceller = try Thread {
            usleep(100_000)
            box.value.cancel()
        }
        let outcome = machine.run(observer: RecordingObserver())
        canceller.join()
        #expect(outcome.end == .cancelled)
    }

    @Test func aSignalCancelsAndIsIgnoredAfterwards() throws {
        let machine = try machine { $0.raw(0xEB, 0xFE) }
        machine.cancellingSignals = [SIGUSR2]
        let sender = try Thread {
            usleep(100_000)
            kill(getpid(), SIGUSR2)
        }
        let outcome = machine.run(observer: RecordingObserver())
        sender.join()
        #expect(outcome.end == .cancelled)
        kill(getpid(), SIGUSR2)
    }

    @Test func cancellingBeforeTheStartHolds() throws {
        let machine = try machine { $0.raw(0xEB, 0xFE) }
        machine.cancel()
        #expect(machine.run(observer: RecordingObserver()).end == .cancelled)
    }

    @Test func aMachineRunsOnce() throws {
        let machine = try machine { $0.exit(1) }
        _ = machine.run(observer: RecordingObserver())
        guard case .hostFailure = machine.run(observer: RecordingObserver()).end else {
            Issue.record("ran twice")
            return
        }
    }

    @Test func aGuestLargerThanItsMemoryIsRefused() throws {
        let elf = ElfBuilder(code: [0xF4], memorySize: 64 << 20)
        let kernel = try KernelImage(path: "guest", bytes: elf.bytes)
        #expect { try KVMMachine(configuration: MachineConfiguration(kernel: kernel, memoryBytes: 8 << 20)) } throws: {
            "\($0)".contains("needs 66 MiB, it has 8 MiB")
        }
    }
}

/// Carries a machine to the thread that cancels it; only `cancel()` is called there.
private struct UncheckedBox<T>: @unchecked Sendable {
    let value: T
    init(_ value: T) { self.value = value }
}

/// A joinable pthread running a closure.
private final class Thread {
    private var handle = pthread_t()

    init(_ body: @escaping @Sendable () -> Void) throws {
        let context = Unmanaged.passRetained(Body(body))
        let status = pthread_create(
            &handle, nil,
            { raw in
                Unmanaged<Body>.fromOpaque(raw!).takeRetainedValue().run()
                return nil
            }, context.toOpaque())
        try #require(status == 0)
    }

    func join() { pthread_join(handle, nil) }

    private final class Body {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }
}
