import GuestInterface
import Machine
import MachineTesting
import SoftwareVMM
import TranslatorTesting

/// A guest of nothing but page tables, descriptor tables and exception handlers that halt: it runs a case in ring 0 or ring 3
/// and stands still where the case ends.
///
///     guest virtual                  guest-physical
///     case's code, 2 pages           0x50_0000           readable, executable
///     case's data, 3 pages           0x51_0000           the third read-only
///     0xFFFF_FFFF_8000_0000          0x60_0000           IDT, handlers, TSS and GDT, exception stack: a page each
package struct BareGuest {
    static let system: UInt64 = 0xFFFF_FFFF_8000_0000
    static let handlers = system + 0x1000
    private static let tables: UInt64 = 0x40_0000
    private static let code: UInt64 = 0x50_0000
    private static let data: UInt64 = 0x51_0000
    private static let systemPhysical: UInt64 = 0x60_0000
    private static let task = system + 0x2000
    private static let descriptors = system + 0x2800
    static let stackTop = system + 0x4000
    private static let halt: UInt8 = 0xF4
    /// Selectors: ring-0 code and data, ring-3 data and code; those of ring 3 are Linux's, so that a case sees the same natively.
    private static let selectors: (code: UInt16, data: UInt16, userData: UInt16, userCode: UInt16) = (
        0x10, 0x18, 0x2B, 0x33
    )

    package let machine: SoftwareMachine
    private let test: TestCase
    private var nextTable = tables

    package init(
        _ test: TestCase, _ start: GuestState, data content: [UInt8], user: Bool, options: SoftwareMachine.Options
    )
        throws
    {
        self.test = test
        let image = try KernelImage(path: "case", bytes: ElfBuilder(code: [Self.halt]).bytes)
        machine = try SoftwareMachine(
            configuration: MachineConfiguration(kernel: image, memoryBytes: 16 << 20, timeLimit: 10), options: options)
        nextTable += 0x1000
        let memory = machine.inspectedMemory
        let pages = TestLayout.codeBytes / 4096
        for page in 0..<UInt64(pages) {
            try map(
                test.layout.code + page << 12, Self.code + page << 12, writable: test.layout.writableCode, user: user)
        }
        for page in 0..<UInt64(3) {
            try map(test.layout.data + page << 12, Self.data + page << 12, writable: page < 2, user: user)
            try map(Self.system + page << 12, Self.systemPhysical + page << 12, writable: true, user: false)
        }
        try map(Self.system + 3 << 12, Self.systemPhysical + 3 << 12, writable: true, user: false)

        try fill(Self.code, test.code + [UInt8](repeating: Self.halt, count: TestLayout.codeBytes - test.code.count))
        try fill(Self.data, content)
        try fill(Self.data + UInt64(TestLayout.dataBytes), DifferentialHarness.readOnlyContent)
        try fill(Self.systemPhysical + 0x1000, [UInt8](repeating: Self.halt, count: 4096))
        for vector in 0..<UInt64(32) {
            // Present 64-bit interrupt gate on the first interrupt stack (Intel SDM vol. 3, 6.14.1).
            let handler = Self.handlers + vector * 16
            let low =
                handler & 0xFFFF | UInt64(Self.selectors.code) << 16 | 1 << 32 | 0x8E << 40 | (handler >> 16 & 0xFFFF)
                << 48
            try memory.write(low, at: GuestPhysicalAddress(Self.systemPhysical + vector * 16))
            try memory.write(handler >> 32, at: GuestPhysicalAddress(Self.systemPhysical + vector * 16 + 8))
        }
        let task = Self.systemPhysical + 0x2000
        try memory.write(Self.stackTop, at: GuestPhysicalAddress(task + 4))
        try memory.write(Self.stackTop, at: GuestPhysicalAddress(task + 36))
        // No I/O bitmap: it would begin behind the segment's limit.
        try memory.write(UInt16(0x68), at: GuestPhysicalAddress(task + 102))
        let descriptors: [UInt64] = [
            0, 0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF, 0, 0x00CF_F300_0000_FFFF, 0x00AF_FB00_0000_FFFF,
        ]
        for (index, descriptor) in descriptors.enumerated() {
            try memory.write(descriptor, at: GuestPhysicalAddress(task + 0x800 + UInt64(index) * 8))
        }

        var state = machine.inspectedState
        state.registers = start.registers
        state.rip = start.rip
        state.flags = start.flags
        state.privilege = user ? 3 : 0
        state.codeSelector = user ? Self.selectors.userCode : Self.selectors.code
        state.stackSelector = user ? Self.selectors.userData : Self.selectors.data
        state.dataSelectors = [0, 0, 0, 0, 0, 0]
        state.fsBase = start.fsBase
        state.gsBase = start.gsBase
        // PG, WP, NE, ET, MP, PE; PAE, PGE, OSFXSR, OSXMMEXCPT, FSGSBASE, OSXSAVE; SCE, LME, LMA, NXE.
        state.cr0 = 0x8001_0033
        state.cr3 = Self.tables
        state.cr4 = 0x506A0
        state.efer = 0xD01
        state.xcr0 = DifferentialHarness.xcr0
        state.gdt = (Self.descriptors, UInt16(descriptors.count * 8 - 1))
        state.idt = (Self.system, 32 * 16 - 1)
        state.taskBase = Self.task
        state.vector = start.vector
        machine.inspectedState = state
    }

    /// In ring 3 the HLT that ends a case is a #GP.
    private func isHalt(_ rip: UInt64) -> Bool {
        let offset = rip &- test.layout.code
        guard offset < UInt64(TestLayout.codeBytes) else { return false }
        return offset >= UInt64(test.code.count) || test.code[Int(offset)] == Self.halt
    }

    private func fill(_ address: UInt64, _ bytes: [UInt8]) throws {
        let target = GuestPhysicalAddress(address)
        guard let start = machine.inspectedMemory.pointer(to: target, count: UInt64(bytes.count)) else {
            throw MachineError.badGuestAddress(target, bytes: UInt64(bytes.count))
        }
        start.assumingMemoryBound(to: UInt8.self).update(from: bytes, count: bytes.count)
    }

    /// Maps one page (Intel SDM vol. 3, 4.5).
    private mutating func map(_ address: UInt64, _ physical: UInt64, writable: Bool, user: Bool) throws {
        let memory = machine.inspectedMemory
        let rights: UInt64 = 1 | 2 | (user ? 4 : 0)
        var table = Self.tables
        for shift in [39, 30, 21] as [UInt64] {
            let entry = GuestPhysicalAddress(table + (address >> shift & 511) * 8)
            let present = try memory.read(UInt64.self, at: entry)
            if present == 0 {
                try memory.write(nextTable | rights, at: entry)
                table = nextTable
                nextTable += 0x1000
            } else {
                table = present & 0xF_FFFF_FFFF_F000
            }
        }
        let leaf = GuestPhysicalAddress(table + (address >> 12 & 511) * 8)
        try memory.write(physical | 1 | (writable ? 2 : 0) | (user ? 4 : 0), at: leaf)
    }

    /// Runs the case to its end.
    package func run() throws -> NativeResult {
        let outcome = machine.run(observer: RecordingObserver())
        guard outcome.end == .halted else { throw Stopped(end: outcome.end) }
        let found = machine.inspectedState
        var state = GuestState()
        state.registers = found.registers
        state.flags = found.flags & DifferentialHarness.arithmeticFlags
        // Behind the HLT.
        state.rip = found.rip &- 1
        state.fsBase = found.fsBase
        state.gsBase = found.gsBase
        state.vector = DifferentialHarness.normalized(found.vector)
        var ending = Ending.halted
        if state.rip >= Self.handlers, state.rip < Self.handlers + 32 * 16 {
            let vector = (state.rip - Self.handlers) / 16
            let hasErrorCode = [8, 10, 11, 12, 13, 14, 17, 21].contains(vector)
            func slot(_ index: UInt64) throws -> UInt64 {
                let address = found.registers[4] &- Self.system &+ Self.systemPhysical &+ index * 8
                return try machine.inspectedMemory.read(at: GuestPhysicalAddress(address))
            }
            let error = hasErrorCode ? try slot(0) : 0
            let frame: UInt64 = hasErrorCode ? 1 : 0
            state.rip = try slot(frame)
            state.flags = try slot(frame + 2) & DifferentialHarness.arithmeticFlags
            state.registers[4] = try slot(frame + 3)
            ending =
                vector == 14 && error & 16 != 0
                ? .leftCode : .trap(vector, error: error, address: vector == 14 ? found.cr2 : 0)
        }
        let data = try machine.inspectedMemory.readBytes(
            at: GuestPhysicalAddress(Self.data), count: UInt64(TestLayout.dataBytes))
        if case .trap(13, _, _) = ending, isHalt(state.rip) { ending = .halted }
        return NativeResult(state: state, ending: ending, data: data)
    }
}

/// The machine ended otherwise than at a HLT.
package struct Stopped: Error {
    package var end: MachineEnd
}
