import CZydis
import Machine
import SoftwareVMM
import TranslatorTesting

/// Compares cases between the CPU and whole machines: the guest runs them in ring 0 or ring 3, with the VMM's own page tables,
/// code cache, emulated instructions and delivery of exceptions.
///
/// Takes this process's fault handlers and low addresses: one at a time (`ExclusiveProcess`).
public final class MachineTester {
    /// Where the guest runs the case, and how the VMM runs that ring.
    public enum Manner: String, CaseIterable, Sendable { case supervisor, userDirect, userTranslated }

    public let manner: Manner
    private var options: SoftwareMachine.Options
    public private(set) var compared = 0
    public private(set) var unfit = 0
    /// Cases that ended with a statement of what is not supported, by statement.
    public private(set) var unsupported: [String: Int] = [:]
    public private(set) var lastWasDefined = true

    /// - Parameter stress: seed of disturbances by the VMM (`SoftwareMachine.Options.stress`).
    public init(_ manner: Manner, stress: UInt64? = nil) {
        self.manner = manner
        options = Self.options(manner)
        options.stress = stress
    }

    /// Options of a machine that runs ring 3 in this manner.
    package static func options(_ manner: Manner) -> SoftwareMachine.Options {
        var options = SoftwareMachine.Options()
        options.codeCacheBytes = 64 << 10
        options.userMode = manner == .userTranslated ? .translate : .direct
        return options
    }

    /// The first difference, nil when the machine agrees with the CPU.
    public func difference(in test: TestCase) -> String? {
        guard isComparable(test) else {
            unfit += 1
            return nil
        }
        var start: InitialState! = nil
        var native: NativeResult! = nil
        do {
            // Its memory lies where the machine's will.
            let harness = DifferentialHarness([test.layout])
            start = InitialState(test.layout, seed: test.seed)
            harness.runNatively(test, start.state, data: start.data)
            native = harness.nativeResult
        }
        guard native.ending != .endless, native.ending != .unfit else {
            unfit += 1
            return nil
        }
        lastWasDefined = true
        if case .trap(6, _, _) = native.ending { lastWasDefined = false }
        let found: NativeResult
        do {
            let guest = try BareGuest(
                test, start.state, data: start.data, user: manner != .supervisor, options: options)
            found = try guest.run()
        } catch let stop as Stopped {
            guard case .emulationFailure(let reason) = stop.end, reason.contains("does not support") else {
                return "the machine ends with \(stop.end)"
            }
            unsupported[reason, default: 0] += 1
            return nil
        } catch {
            return "\(error)"
        }
        compared += 1
        return compare(native, found)
    }

    /// Whether nothing in the case depends on the ring, or on the host's own descriptor tables.
    private func isComparable(_ test: TestCase) -> Bool {
        var decoder = ZydisDecoder()
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)
        var position = 0
        while position < test.code.count {
            var info = ZydisDecodedInstruction()
            let status = test.code[position...].withUnsafeBytes {
                ZydisDecoderDecodeInstruction(&decoder, nil, $0.baseAddress, ZyanUSize($0.count), &info)
            }
            guard status & 0x8000_0000 == 0 else { return true }
            position += Int(info.length)
            switch info.mnemonic {
            // Where a case ends.
            case ZYDIS_MNEMONIC_HLT: continue
            case ZYDIS_MNEMONIC_LAR, ZYDIS_MNEMONIC_LSL, ZYDIS_MNEMONIC_VERR, ZYDIS_MNEMONIC_VERW: return false
            default: break
            }
            guard manner == .supervisor else { continue }
            switch info.mnemonic {
            // Privileged, but the decoder does not say so.
            case ZYDIS_MNEMONIC_LGDT, ZYDIS_MNEMONIC_LIDT, ZYDIS_MNEMONIC_LLDT, ZYDIS_MNEMONIC_LTR, ZYDIS_MNEMONIC_LMSW:
                return false
            default: break
            }
            let isMoveFromSegment =
                info.mnemonic == ZYDIS_MNEMONIC_MOV && info.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT
                && info.opcode == 0x8C
            let isInput = [ZYDIS_CATEGORY_IO, ZYDIS_CATEGORY_IOSTRINGOP].contains { $0 == info.meta.category }
            if info.attributes & UInt64(ZYDIS_ATTRIB_IS_PRIVILEGED) != 0 || isMoveFromSegment || isInput {
                return false
            }
        }
        return true
    }

    /// With RFLAGS.TF set the case ends in a debug exception behind its first instruction, in the state that the CPU had there.
    public func stepDifference(in test: TestCase) -> String? {
        guard isComparable(test) else {
            unfit += 1
            return nil
        }
        var start: InitialState! = nil
        var native: NativeResult! = nil
        do {
            let harness = DifferentialHarness([test.layout])
            start = InitialState(test.layout, seed: test.seed)
            harness.runNatively(test, start.state, data: start.data)
            guard harness.nativeEnding != .unfit else {
                unfit += 1
                return nil
            }
            native = harness.firstStep
        }
        let found: NativeResult
        do {
            start.state.flags |= 1 << 8
            let guest = try BareGuest(
                test, start.state, data: start.data, user: manner != .supervisor, options: options)
            found = try guest.run()
        } catch let stop as Stopped {
            guard case .emulationFailure(let reason) = stop.end, reason.contains("does not support") else {
                return "the machine ends with \(stop.end)"
            }
            unsupported[reason, default: 0] += 1
            return nil
        } catch {
            return "\(error)"
        }
        compared += 1
        return compare(native, found)
    }

    private func compare(_ native: NativeResult, _ found: NativeResult) -> String? {
        // A branch to a non-canonical address faults on the CPU where it is; the VMM notices at the target.
        if case .trap(13, _, _) = native.ending, case .trap(13, _, _) = found.ending,
            !DifferentialHarness.isCanonical(found.state.rip)
        {
            return nil
        }
        // Misaligned, and beyond what the window shows: #GP goes first on the CPU, and the VMM looks for the page fault.
        if case .trap(13, _, _) = native.ending, case .trap(14, _, let address) = found.ending,
            !DifferentialHarness.isCanonical(address &+ DifferentialHarness.window), address & 15 != 0
        {
            return nil
        }
        guard comparable(native.ending) == comparable(found.ending) else {
            return "ends with \(found.ending) at \(String(found.state.rip, radix: 16)), natively \(native.ending)"
        }
        guard native.state == found.state else {
            return "the last state (native / machine): "
                + native.state.differences(from: found.state).joined(separator: ", ")
        }
        guard native.data != found.data else { return nil }
        let at = native.data.indices.filter { native.data[$0] != found.data[$0] }
        return "memory differs at data + \(at.prefix(8))"
    }

    /// Without what differs by nature: the host's page tables are not the guest's, and its ring is another.
    private func comparable(_ ending: Ending) -> Ending {
        guard case .trap(14, let error, let address) = ending else { return ending }
        return .trap(14, error: error & ~5, address: address)
    }

    /// The case, shrunk, when it fails.
    public func check(_ test: TestCase) -> DifferentialTester.Failure? {
        guard difference(in: test) != nil else { return nil }
        let small = Shrinker { self.difference(in: $0) != nil }.shrink(test)
        return DifferentialTester.Failure(test: small, reason: difference(in: small) ?? "does not always fail")
    }
}
