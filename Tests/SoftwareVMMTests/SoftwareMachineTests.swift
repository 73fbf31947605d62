import GuestInterface
import Machine
import MachineTesting
import SoftwareVMM
import Testing

/// Whether this host can run the software VMM.
let softwareWorks = SoftwareMachine.support() == .supported

@Suite(.serialized, .enabled(if: softwareWorks, "this host lacks what the software VMM builds on"))
struct SoftwareMachineTests {
    private func run(
        _ observer: RecordingObserver = RecordingObserver(), memoryBytes: UInt64 = 16 << 20, timeLimit: Double = 20,
        codeCacheBytes: Int = 1 << 20, _ build: (inout GuestCode) -> Void
    ) throws -> MachineOutcome {
        var code = GuestCode()
        build(&code)
        let image = try KernelImage(path: "guest", bytes: ElfBuilder(code: code.bytes).bytes)
        return try ExclusiveProcess.run {
            var options = SoftwareMachine.Options()
            options.codeCacheBytes = codeCacheBytes
            let machine = try SoftwareMachine(
                configuration: MachineConfiguration(kernel: image, memoryBytes: memoryBytes, timeLimit: timeLimit),
                options: options)
            return machine.run(observer: observer)
        }
    }

    private func count(_ outcome: MachineOutcome, _ reason: ExitReason) -> UInt64 {
        outcome.exits.reduce(0) { $1.reason == reason ? $0 + $1.count : $0 }
    }

    @Test func aGuestPrintsAndExits() throws {
        let observer = RecordingObserver()
        let outcome = try run(observer) { guest in
            guest.print("hello\n")
            guest.exit(0x42)
        }
        #expect(outcome.end == .debugExit(code: 0x42))
        #expect(observer.serialText == "hello\n")
        #expect(outcome.diagnosis.isEmpty)
    }

    @Test func everyPortAccessIsOneExit() throws {
        let outcome = try run { guest in
            guest.edx(0x80)
            guest.loop(1000) { $0.raw(0xEC) }  // in al, dx
            guest.exit(1)
        }
        #expect(outcome.end == .debugExit(code: 1))
        #expect(count(outcome, .portIO) == 1000)
    }

    @Test func stringOutputReachesThePort() throws {
        let observer = RecordingObserver()
        let outcome = try run(observer) { guest in
            guest.raw(0x48, 0x8D, 0x35, 21, 0, 0, 0)  // lea rsi, [rip + 21]
            guest.ecx(3)
            guest.edx(0x3F8)
            guest.raw(0xF3, 0x6E)  // rep outsb
            guest.edx(0xF4)
            guest.raw(0xB0, 1, 0xEE)  // mov al, 1; out dx, al
            guest.raw(0xF4)
            guest.raw(0x61, 0x62, 0x63)
        }
        #expect(outcome.end == .debugExit(code: 1))
        #expect(observer.serialText == "abc")
    }

    @Test func anExceptionWithoutHandlersIsATripleFaultWithADiagnosis() throws {
        let outcome = try run { guest in
            guest.rbx(0x1234_5678_9ABC)
            guest.raw(0x0F, 0x0B)  // ud2
        }
        #expect(outcome.end == .tripleFault)
        #expect(outcome.diagnosis.contains { $0.contains("0000123456789abc") })
        #expect(outcome.diagnosis.contains { $0.contains("ud2") })
    }

    @Test func anEndlessLoopEndsAtItsTimeLimit() throws {
        let outcome = try run(timeLimit: 0.2) { $0.raw(0xEB, 0xFE) }  // jmp to itself
        #expect(outcome.end == .timeout)
        #expect(count(outcome, .externalInterrupt) >= 1)
    }

    @Test func haltWithInterruptsOffNeverEnds() throws {
        #expect(try run { $0.raw(0xF4) }.end == .halted)
    }

    @Test func accessOutsideMemoryIsReportedWithItsAddress() throws {
        // The boot page tables map 4 GiB; RAM is 16 MiB.
        let outcome = try run { guest in
            guest.rbx(0x4000_0000)
            guest.raw(0x8B, 0x03)  // mov eax, [rbx]
        }
        guard case .guestMemoryFault(let message) = outcome.end else {
            Issue.record("ended with \(outcome.end)")
            return
        }
        #expect(message.contains("0x40000000"))
    }

    @Test func wildPointersIntoTheVMMsOwnRangeDoNotHarmTheTestProcess() throws {
        // Unmapped for the guest, so a page fault without a handler: a triple fault, not a crash.
        let outcome = try run { guest in
            guest.rbx(0x0000_1000_0000_0000)
            guest.raw(0x8B, 0x03)  // mov eax, [rbx]
        }
        #expect(outcome.end == .tripleFault)
    }

    @Test func selfModifyingCodeRunsWhatItWrote() throws {
        let observer = RecordingObserver()
        let outcome = try run(observer) { guest in
            guest.edx(0x3F8)
            // First round prints 'a', then the immediate of MOV AL is changed to 'b' and the loop runs again.
            guest.raw(0x41, 0xBF, 2, 0, 0, 0)  // mov r15d, 2
            guest.raw(0xB0, 0x61)  // L: mov al, 'a'
            guest.raw(0xEE)  // out dx, al
            guest.raw(0xC6, 0x05, 0xF7, 0xFF, 0xFF, 0xFF, 0x62)  // mov byte [rip - 9], 'b'
            guest.raw(0x41, 0xFF, 0xCF)  // dec r15d
            guest.raw(0x75, 0xF1)  // jnz L
            guest.exit(1)
        }
        #expect(outcome.end == .debugExit(code: 1))
        #expect(observer.serialText == "ab")
        // Each write hits the page that the writing code itself is in.
        #expect(count(outcome, .tracedWrite) == 2)
    }

    @Test func aStoreThatKeepsTrappingBecomesACallout() throws {
        let observer = RecordingObserver()
        let outcome = try run(observer) { guest in
            guest.raw(0x31, 0xDB)  // xor ebx, ebx
            guest.raw(0x31, 0xED)  // xor ebp, ebp
            guest.loop(1000) { body in
                body.raw(0xFF, 0xC3)  // inc ebx
                body.raw(0x89, 0x1D, 0x00, 0x01, 0x00, 0x00)  // mov [rip + 256], ebx: in the page of the code
                body.raw(0x03, 0x2D, 0xFA, 0x00, 0x00, 0x00)  // add ebp, [rip + 250]: the same place
            }
            guest.raw(0x81, 0xFD, 0x14, 0xA3, 0x07, 0x00)  // cmp ebp, 500500
            guest.raw(0x0F, 0x94, 0xC0)  // sete al
            guest.raw(0x0F, 0xB6, 0xC0)  // movzx eax, al
            guest.raw(0xE7, 0xF4)  // out 0xF4, eax
        }
        #expect(outcome.end == .debugExit(code: 1))
        #expect(count(outcome, .tracedWrite) == 1000)
        #expect(outcome.counters["software.calloutSites"] == 1)
        #expect(outcome.counters["software.calloutAccesses"] == 993)
    }

    @Test func aCalloutIsForTheCodeThatTrappedAndNoOther() throws {
        let outcome = try run { guest in
            guest.raw(0xBB, 3, 0, 0, 0)  // mov ebx, 3
            guest.ecx(7)
            guest.loop(40) { body in
                body.raw(0x89, 0x1D, 0x00, 0x01, 0x00, 0x00)  // mov [rip + 256], ebx
                body.raw(0x41, 0x83, 0xFF, 20)  // cmp r15d, 20
                body.raw(0x75, 7)  // jne behind the next
                body.raw(0xC6, 0x05, 0xEE, 0xFF, 0xFF, 0xFF, 0x0D)  // the store is of ECX from here on
            }
            guest.raw(0x8B, 0x05, 0xE8, 0x00, 0x00, 0x00)  // mov eax, [what was stored]
            guest.exitWithEAX()
        }
        #expect(outcome.end == .debugExit(code: 7))
        #expect(outcome.counters["software.calloutSites", default: 0] >= 1)
    }

    @Test func deviceRegistersBecomeCallouts() throws {
        let outcome = try run { guest in
            // From x2APIC mode by way of disabled to xAPIC mode.
            guest.raw(0xB9, 0x1B, 0, 0, 0)  // mov ecx, IA32_APIC_BASE
            guest.edx(0)
            guest.eax(0xFEE0_0100)
            guest.raw(0x0F, 0x30)  // wrmsr
            guest.eax(0xFEE0_0900)
            guest.raw(0x0F, 0x30)  // wrmsr
            guest.rbx(0xFEE0_0080)  // the task-priority register, of eight bits
            guest.raw(0x31, 0xED)  // xor ebp, ebp
            guest.loop(500) { body in
                body.raw(0x44, 0x89, 0x3B)  // mov [rbx], r15d
                body.raw(0x8B, 0x03)  // mov eax, [rbx]
                body.raw(0x01, 0xC5)  // add ebp, eax
            }
            guest.raw(0x81, 0xFD, 0x42, 0xF4, 0x00, 0x00)  // cmp ebp, the sum of 1…500 modulo 256
            guest.raw(0x0F, 0x94, 0xC0)  // sete al
            guest.raw(0x0F, 0xB6, 0xC0)  // movzx eax, al
            guest.raw(0xE7, 0xF4)  // out 0xF4, eax
        }
        #expect(outcome.end == .debugExit(code: 1))
        #expect(count(outcome, .mmio) == 1000)
        #expect(outcome.counters["software.calloutSites"] == 2)
        #expect(outcome.counters["software.calloutAccesses"] == 984)
    }

    @Test func aTinyCodeCacheIsFlushedAndStillRight() throws {
        let observer = RecordingObserver()
        let outcome = try run(observer, codeCacheBytes: 64 << 10) { guest in
            // A block a character.
            guest.print(String(repeating: "x", count: 2000))
            guest.exit(3)
        }
        #expect(outcome.end == .debugExit(code: 3))
        #expect(observer.serialText == String(repeating: "x", count: 2000))
        #expect(outcome.counters["software.codeCacheEvictions", default: 0] >= 1)
    }

    @Test func controlRegistersReadBackAsWritten() throws {
        let outcome = try run { guest in
            guest.eax(5)
            guest.raw(0x44, 0x0F, 0x22, 0xC0)  // mov cr8, rax
            guest.eax(0)
            guest.raw(0x44, 0x0F, 0x20, 0xC0)  // mov rax, cr8
            guest.exitWithEAX()
        }
        #expect(outcome.end == .debugExit(code: 5))
    }

    @Test func whatIsNotSupportedIsSaidAndNotGuessed() throws {
        let outcome = try run { guest in
            guest.eax(1)
            guest.raw(0x0F, 0x23, 0xF8)  // mov dr7, rax (L0)
        }
        guard case .emulationFailure(let message) = outcome.end else {
            Issue.record("ended with \(outcome.end)")
            return
        }
        #expect(message.contains("hardware breakpoints"))
    }

    /// Without handlers a fault is the end, and its instruction is in the diagnosis.
    @Test(arguments: [
        (cr0: 8, code: [0xDB, 0xE3] as [UInt8], text: "fninit"),  // TS: x87
        (8, [0x0F, 0x28, 0xC1], "movaps"),  // TS: SSE
        (8, [0xC5, 0xF8, 0x77], "vzeroupper"),  // TS: AVX
        (0xA, [0x9B], "wait"),  // TS and MP: WAIT
        (4, [0xDB, 0xE3], "fninit"),  // EM: x87
        (4, [0x0F, 0x28, 0xC1], "movaps"),  // EM: SSE
    ])
    func floatingPointFaultsWhileItIsWithheld(_ bits: Int, _ code: [UInt8], _ text: String) throws {
        func change(_ guest: inout GuestCode) {
            guest.raw(0x0F, 0x20, 0xC0)  // mov rax, cr0
            guest.raw(0x48, 0x83, 0xE0, 0xF1)  // and rax, ~14
            guest.raw(0x48, 0x83, 0xC8, UInt8(bits))  // or rax, bits
            guest.raw(0x0F, 0x22, 0xC0)  // mov cr0, rax
        }
        let faulting = try run { guest in
            guest.raw(code)
            change(&guest)
            guest.raw(code)
            guest.exit(1)
        }
        #expect(faulting.end == .tripleFault)
        #expect(faulting.diagnosis.contains { $0.contains(text) })
        let restored = try run { guest in
            change(&guest)
            guest.raw(0x0F, 0x06)  // clts
            guest.raw(0x0F, 0x20, 0xC0)  // mov rax, cr0
            guest.raw(0x48, 0x83, 0xE0, 0xF1)  // and rax, ~14
            guest.raw(0x0F, 0x22, 0xC0)  // mov cr0, rax
            guest.raw(code)
            guest.exit(1)
        }
        #expect(restored.end == .debugExit(code: 1))
    }

    @Test func aCodeCacheTooSmallIsRefused() throws {
        #expect(throws: MachineError.self) { try run(codeCacheBytes: 4096) { $0.exit(1) } }
    }
}
