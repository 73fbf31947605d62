import CPU

/// What Nub needs to know of its machine, from either boot protocol.
struct BootInformation {
    /// End of RAM below and above 4 GiB.
    var lowMemoryEnd: UInt64 = 0
    var highMemoryEnd: UInt64 = 0
    var initrdAddress: UInt64 = 0
    var initrdBytes: UInt64 = 0
    var commandLineBytes = 0
    var mailboxAddress: UInt64 = BootLayout.mailbox
    var mailboxBytes: UInt64 = BootLayout.mailboxBytes
    var tscHertz: UInt64 = 0
    var apicTimerHertz: UInt64 = 0
    /// Whether both frequencies are the machine's own word, not estimates.
    var knowsClocks = false
    var wallClockNanoseconds: UInt64 = 0
    var bootTSC: UInt64 = 0
    var randomSeed0: UInt64 = 0
    var randomSeed1: UInt64 = 0
    var quirks: UInt64 = 0
    /// Physical address of the test device, or 0.
    var testDeviceAddress: UInt64 = 0
    /// How the host at the mailbox is called.
    var doorbell = MailboxDoorbell.none

    var memoryEnd: UInt64 { highMemoryEnd != 0 ? highMemoryEnd : lowMemoryEnd }

    // MARK: vbench boot protocol

    mutating func read(bootInfo address: PhysicalAddress) -> Bool {
        let info = address.raw.load(as: BootInfo.self)
        guard info.magic == BootInfo.magicValue, info.version == BootInfo.currentVersion else { return false }
        lowMemoryEnd = info.lowMemoryBytes < BootLayout.highMemory ? info.lowMemoryBytes : BootLayout.highMemory
        if info.highMemoryBytes != 0 { highMemoryEnd = BootLayout.highMemory &+ info.highMemoryBytes }
        initrdAddress = info.initrdAddress
        initrdBytes = info.initrdBytes
        copyCommandLine(PhysicalAddress(info.commandLineAddress), info.commandLineBytes)
        mailboxAddress = info.mailboxAddress
        mailboxBytes = info.mailboxBytes
        tscHertz = info.tscHertz
        apicTimerHertz = info.apicTimerHertz
        knowsClocks = true
        wallClockNanoseconds = info.wallClockNanoseconds
        bootTSC = info.bootTSC
        randomSeed0 = info.randomSeed0
        randomSeed1 = info.randomSeed1
        quirks = info.quirks
        testDeviceAddress = info.testDeviceAddress
        doorbell = .port
        return true
    }

    private mutating func copyCommandLine(_ address: PhysicalAddress, _ bytes: UInt64) {
        if address.rawValue == 0 { return }
        let count = bytes < UInt64(KERNEL_PATH_BYTES) ? Int(bytes) : Int(KERNEL_PATH_BYTES) - 1
        memcpy(kernel_command_line_buffer(), address.raw, UInt(count))
        commandLineBytes = count
    }

    func commandLineStarts(with word: StaticString) -> Bool {
        commandLineBytes >= word.utf8CodeUnitCount
            && memcmp(kernel_command_line_buffer(), word.utf8Start, UInt(word.utf8CodeUnitCount)) == 0
    }

    /// The decimal number that ends the first word beginning with `option`; 0 where there is no such word.
    private func commandLineNumber(after option: StaticString) -> UInt64 {
        let line = kernel_command_line_buffer().unsafelyUnwrapped
        let length = option.utf8CodeUnitCount
        var word = 0
        while word + length <= commandLineBytes {
            if memcmp(line + word, option.utf8Start, UInt(length)) == 0 {
                var value: UInt64 = 0
                var at = word + length
                while at < commandLineBytes, line[at] >= 48, line[at] <= 57 {
                    value = value &* 10 &+ UInt64(line[at] &- 48)
                    at += 1
                }
                return value
            }
            while word < commandLineBytes, line[word] != 32 { word += 1 }
            word += 1
        }
        return 0
    }

    // MARK: PVH (xen/include/public/arch-x86/hvm/start_info.h)

    mutating func read(startInfo address: PhysicalAddress) -> Bool {
        let info = address.raw
        guard info.load(as: UInt32.self) == 0x336E_C578 else { return false }
        let version = info.load(fromByteOffset: 4, as: UInt32.self)
        let modules = info.load(fromByteOffset: 12, as: UInt32.self)
        let moduleList = PhysicalAddress(info.load(fromByteOffset: 16, as: UInt64.self))
        let commandLine = PhysicalAddress(info.load(fromByteOffset: 24, as: UInt64.self))
        if modules > 0 {
            initrdAddress = moduleList.raw.load(as: UInt64.self)
            initrdBytes = moduleList.raw.load(fromByteOffset: 8, as: UInt64.self)
        }
        if commandLine.rawValue != 0 {
            let length = user_string_length(commandLine.linear, UInt64(KERNEL_PATH_BYTES) - 1)
            copyCommandLine(commandLine, UInt64(length))
            if commandLineStarts(with: Doorbell.serialOption) { doorbell = .serial }
        }
        if version >= 1 {
            let map = PhysicalAddress(info.load(fromByteOffset: 40, as: UInt64.self))
            let entries = info.load(fromByteOffset: 48, as: UInt32.self)
            for index in 0..<Int(entries < 64 ? entries : 64) {
                let entry = map.raw + 24 * index
                let start = entry.load(as: UInt64.self)
                let bytes = entry.load(fromByteOffset: 8, as: UInt64.self)
                guard entry.load(fromByteOffset: 16, as: UInt32.self) == 1 else { continue }
                let end = start &+ bytes
                // The range that holds the kernel, and the one that starts at 4 GiB.
                if start <= BootLayout.kernel && end > BootLayout.kernel && end <= BootLayout.highMemory {
                    lowMemoryEnd = end
                }
                if start == BootLayout.highMemory { highMemoryEnd = end }
            }
        }
        quirks = BootInformation.quirksFromCPUID() | commandLineNumber(after: BootQuirks.commandLineOption)
        let hertz = commandLineNumber(after: BootInfo.tscHertzOption)
        tscHertz = hertz != 0 ? hertz : Clock.measureTSC()
        apicTimerHertz = 1_000_000_000
        bootTSC = cpu_rdtsc()
        randomSeed0 = 1
        return lowMemoryEnd != 0
    }

    private static func quirksFromCPUID() -> UInt64 {
        let leaf = cpu_cpuid(BootQuirks.cpuidLeaf, 0)
        let signature = BootQuirks.cpuidSignature
        guard leaf.ebx == signature.ebx, leaf.ecx == signature.ecx, leaf.edx == signature.edx else { return 0 }
        return UInt64(leaf.eax)
    }
}

nonisolated(unsafe) var bootInformation = BootInformation()
