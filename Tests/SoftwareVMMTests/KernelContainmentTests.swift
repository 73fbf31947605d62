import Glibc
import GuestInterface
import Machine
import MachineTesting
import SoftwareVMM
import Testing

/// Guest ring-0 code that tries to reach the host's kernel, or the VMM's code. It is translated, so all it can run is guest memory.
@Suite(.serialized, .enabled(if: softwareWorks, "this host lacks what the software VMM builds on"))
struct KernelContainmentTests {
    /// A folder that the attacks try to make by a system call of the host; never there.
    private static let marker = "/tmp/vbench-no-guest-makes-this-folder"

    private func end(_ build: (inout GuestCode) -> Void) throws -> MachineEnd {
        var code = GuestCode()
        build(&code)
        let image = try KernelImage(path: "guest", bytes: ElfBuilder(code: code.bytes).bytes)
        return try ExclusiveProcess.run {
            let machine = try SoftwareMachine(
                configuration: MachineConfiguration(kernel: image, memoryBytes: 16 << 20, timeLimit: 10))
            return machine.run(observer: RecordingObserver()).end
        }
    }

    /// RAX = mkdir, RDI = the marker's host address, RSI = rights.
    private func arguments(_ path: UnsafePointer<CChar>, _ guest: inout GuestCode) {
        guest.raw(0x48, 0xBF)  // mov rdi, imm64
        for byte in ElfBuilder.little(UInt64(UInt(bitPattern: path))) { guest.raw(byte) }
        guest.raw(0xBE, 0xFF, 0x01, 0, 0)  // mov esi, 0777
        guest.eax(83)
    }

    /// The host's `syscall` instruction in libc, and what ring 0 would have to write for it through its window onto memory.
    @Test(arguments: [UInt64(0), 0x4800_0000_0000])
    func aJumpIntoTheVMMIsTheGuestsOwnFault(window: UInt64) throws {
        let function = try #require(dlsym(nil, "mkdir"))
        try Self.marker.withCString { path in
            for isCall in [false, true] {
                let end = try end { guest in
                    arguments(path, &guest)
                    guest.rbx(UInt64(UInt(bitPattern: function)) &- window)
                    guest.raw(0xFF, isCall ? 0xD3 : 0xE3)  // call rbx; jmp rbx
                }
                // Nothing is mapped there for the guest, and it has no handler.
                #expect(end == .tripleFault)
            }
        }
        #expect(access(Self.marker, F_OK) != 0)
    }

    @Test func aReturnIntoTheVMMIsTheGuestsOwnFault() throws {
        let function = try #require(dlsym(nil, "mkdir"))
        try Self.marker.withCString { path in
            let end = try end { guest in
                arguments(path, &guest)
                guest.rbx(UInt64(UInt(bitPattern: function)))
                guest.raw(0xBC, 0, 0, 0x30, 0)  // mov esp, 0x300000
                guest.raw(0x53, 0xC3)  // push rbx; ret
            }
            #expect(end == .tripleFault)
        }
        #expect(access(Self.marker, F_OK) != 0)
    }

    @Test(
        arguments: [
            ("syscall", [0x0F, 0x05]), ("sysenter", [0x0F, 0x34]), ("int 0x80", [0xCD, 0x80]),
        ] as [(String, [UInt8])])
    func aSystemCallOfRing0IsTheGuests(instruction: (name: String, code: [UInt8])) throws {
        try Self.marker.withCString { path in
            let end = try end { guest in
                // LSTAR: where the guest has nothing mapped.
                guest.ecx(0xC000_0082)
                guest.eax(0)
                guest.edx(0xFFFF_8000)
                guest.raw(0x0F, 0x30)
                arguments(path, &guest)
                for byte in instruction.code { guest.raw(byte) }
            }
            #expect(end == .tripleFault, "\(instruction.name)")
        }
        #expect(access(Self.marker, F_OK) != 0)
    }
}
