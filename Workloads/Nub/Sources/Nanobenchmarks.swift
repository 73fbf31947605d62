import CPU

/// Times an operation in ring 0 for a program (GuestInterface/Nanobenchmark.swift).
@c(systemCallNanobenchmark)
func systemCallNanobenchmark(_ number: UInt32, _ iterations: UInt64, _ address: UInt64) -> Int {
    guard let benchmark = Nanobenchmark(rawValue: number), benchmark != .nullSystemCall,
        iterations <= Nanobenchmark.iterationLimit
    else { return -EINVAL }
    var result = NanobenchmarkResult()
    var status = 0
    switch Nanobenchmarks.run(benchmark, iterations) {
    case .done(let times): result = times
    case .hindered(let obstacle):
        result.check = obstacle.rawValue
        status = -EOPNOTSUPP
    }
    return UserMemory.store(result, at: address) ? status : -EFAULT
}

enum Nanobenchmarks {
    enum Outcome {
        case done(NanobenchmarkResult)
        case hindered(NanobenchmarkObstacle)
    }

    /// Made when the first nanobenchmark needs it.
    nonisolated(unsafe) private static var space: NanobenchmarkSpace?
    /// Benchmarks that were tried and can be done, by raw value.
    nonisolated(unsafe) private static var proven: UInt64 = 0

    private static let kernelGSBase: UInt32 = 0xC000_0102
    private static let biosSignature: UInt32 = 0x8B

    /// Tries a benchmark the first time; then runs it, unless for no iterations.
    static func run(_ benchmark: Nanobenchmark, _ iterations: UInt64) -> Outcome {
        let bit = UInt64(1) << UInt64(benchmark.rawValue)
        if proven & bit == 0 {
            if space == nil { space = NanobenchmarkSpace() }
            guard let space else { return .hindered(.noMemory) }
            if let obstacle = obstacle(benchmark, space) { return .hindered(obstacle) }
            proven |= bit
        }
        guard let space else { return .hindered(.noMemory) }
        if iterations == 0 { return .done(limits(of: benchmark)) }
        switch benchmark {
        case .selfInterrupt, .timerArm, .timerDelivery, .haltWakeup:
            guard let result = interrupts(benchmark, iterations) else { return .hindered(.noInterrupt) }
            return .done(result)
        case .coldPage:
            guard let result = touchColdPages(iterations, space) else { return .hindered(.noMemory) }
            return .done(result)
        default: return .done(time(benchmark, iterations, space))
        }
    }

    /// What a call for no iterations gives: in `cycles` the most operations that can be done altogether, 0 for no limit.
    private static func limits(of benchmark: Nanobenchmark) -> NanobenchmarkResult {
        var result = NanobenchmarkResult()
        if benchmark == .coldPage { result.cycles = physicalMemory.untouchedFrames }
        return result
    }

    // MARK: What can be done

    private static func obstacle(_ benchmark: Nanobenchmark, _ space: NanobenchmarkSpace) -> NanobenchmarkObstacle? {
        let quirks = bootInformation.quirks
        switch benchmark {
        case .rdtscp:
            if quirks & BootQuirks.basicKernelISA != 0 { return .quirk }
            return cpu_cpuid(0x8000_0001, 0).edx >> 27 & 1 == 0 ? .undefined : nil
        case .hypercall:
            if quirks & BootQuirks.noHypercall != 0 { return .quirk }
            return faults(6, nano_undefined_entry()) { _ = hypercall(1) } ? .undefined : nil
        case .mmioRead, .mmioWrite:
            guard bootInformation.testDeviceAddress != 0 else { return .noDevice }
            _ = KernelPageTables.mapDevice(at: PhysicalAddress(bootInformation.testDeviceAddress))
            return nil
        case .msrReadEmulated, .msrWriteEmulated:
            let isRefused = faults(13, nano_protected_entry()) {
                cpu_wrmsr(biosSignature, cpu_rdmsr(biosSignature))
            }
            return isRefused ? .protected : nil
        case .selfInterrupt, .timerArm: return interrupts(benchmark, 1) == nil ? .noInterrupt : nil
        case .timerDelivery, .haltWakeup:
            if !bootInformation.knowsClocks, !NanobenchmarkInterrupts.hasDeadlines { return .unknownClock }
            // HLT would wait for ever.
            return interrupts(.timerDelivery, 1) == nil ? .noInterrupt : nil
        case .coldPage: return physicalMemory.untouchedFrames == 0 ? .noMemory : nil
        default: return nil
        }
    }

    /// Whether `body` raises the exception, with a handler for it that steps on.
    private static func faults(_ vector: Int, _ handler: UInt64, _ body: () -> Void) -> Bool {
        let before = nano_count
        DescriptorTables.withGate(vector, handler, body)
        return nano_count != before
    }

    // MARK: Doing it

    private static func interrupts(_ benchmark: Nanobenchmark, _ iterations: UInt64) -> NanobenchmarkResult? {
        switch benchmark {
        case .selfInterrupt: NanobenchmarkInterrupts.interruptSelf(iterations)
        case .timerArm: NanobenchmarkInterrupts.arm(iterations)
        default: NanobenchmarkInterrupts.deliver(iterations, halts: benchmark == .haltWakeup)
        }
    }

    private static func time(_ benchmark: Nanobenchmark, _ iterations: UInt64, _ space: NanobenchmarkSpace)
        -> NanobenchmarkResult
    {
        var result = NanobenchmarkResult()
        // Where nothing shows it, the operations were done, as the code has been run through.
        let operations = iterations &* benchmark.unrolled
        result.check = operations
        switch benchmark {
        case .callReturn:
            let measured = vb_nano_call_return(iterations)
            result.cycles = measured.cycles
            result.check = measured.check
        case .portRead:
            let measured = vb_nano_port_read(iterations, Port.postCode)
            result.cycles = measured.cycles
            // A port without a device floats high.
            if measured.check != 0xFF { result.check = 0 }
        case .cr8Write:
            result.cycles = vb_nano_cr8_write(iterations, 1)
            if cpu_read_cr8() != 1 { result.check = 0 }
            cpu_write_cr8(0)
        case .pageFault:
            count(14, nano_page_fault_entry(), &result) {
                space.enter { vb_nano_fault(iterations, NanobenchmarkSpace.unmappedAddress) }
            }
        case .divideError: count(0, nano_divide_error_entry(), &result) { vb_nano_divide(iterations) }
        case .pageTableWrite:
            let value = space.table[0].rawValue & ~NanobenchmarkSpace.ignoredBit
            let other = value | NanobenchmarkSpace.ignoredBit
            result.cycles = space.enter {
                _ = cpu_load32(rawPointer(NanobenchmarkSpace.window))
                return withUnsafeMutablePointer(to: &space.table[0].rawValue) {
                    vb_nano_store_turns(iterations, $0, value, other)
                }
            }
            if space.table[0].rawValue & NanobenchmarkSpace.ignoredBit == 0 { result.check = 0 }
        case .cpuid: result.cycles = vb_nano_cpuid(iterations)
        case .rdtsc: result.cycles = vb_nano_rdtsc(iterations)
        case .rdtscp: result.cycles = vb_nano_rdtscp(iterations)
        case .hypercall: result.cycles = hypercall(iterations)
        case .portWrite: result.cycles = vb_nano_port_write8(iterations, Port.postCode)
        case .worldSwitch: result.cycles = vb_nano_port_write32(iterations, Port.worldSwitch)
        case .mmioRead: result.cycles = vb_nano_load32(iterations, testDevice)
        case .mmioWrite:
            let value = UInt32(truncatingIfNeeded: iterations) ^ 0x5642_4E43
            result.cycles = vb_nano_store32(iterations, testDevice, value)
            if cpu_load32(rawPointer(testDevice)) != value { result.check = 0 }
        case .msrRead: result.cycles = vb_nano_msr_read(iterations, kernelGSBase)
        case .msrWrite: result.cycles = vb_nano_msr_write(iterations, kernelGSBase, cpu_rdmsr(kernelGSBase))
        case .msrReadEmulated: result.cycles = vb_nano_msr_read(iterations, biosSignature)
        case .msrWriteEmulated: result.cycles = vb_nano_msr_write(iterations, biosSignature, 0)
        case .cr3Write: result.cycles = space.enter { vb_nano_cr3_write(iterations, space.cr3) }
        case .cr3WriteWorkingSet:
            result.cycles = space.enter {
                nano_cr3_working_set(iterations, space.cr3, NanobenchmarkSpace.window)
            }
        case .invlpg:
            result.cycles = space.enter {
                _ = cpu_load32(rawPointer(NanobenchmarkSpace.window))
                return vb_nano_invlpg(iterations, NanobenchmarkSpace.window)
            }
        case .contextSwitch:
            let before = nano_count
            let own = cpu_read_cr3()
            result.cycles = nano_context_switches(iterations, own, space.cr3, space.stackTop)
            result.check = nano_count &- before
        case .timeStamp:
            let measured = vb_nano_time_stamp(iterations)
            result.cycles = measured.cycles
            result.check = measured.check
        // The rest is not for here (see `run`).
        default: result.cycles = vb_nano_loop(iterations)
        }
        return result
    }

    /// Operations that raise an exception; the handler counts them.
    private static func count(
        _ vector: Int, _ handler: UInt64, _ result: inout NanobenchmarkResult, _ body: () -> UInt64
    ) {
        let before = nano_count
        result.cycles = DescriptorTables.withGate(vector, handler, body)
        result.check = nano_count &- before
    }

    private static func touchColdPages(_ iterations: UInt64, _ space: NanobenchmarkSpace) -> NanobenchmarkResult? {
        let unrolled = Nanobenchmark.coldPage.unrolled
        let most = UInt64(NanobenchmarkSpace.coldPages) / unrolled
        let first = NanobenchmarkSpace.window &+ UInt64(NanobenchmarkSpace.firstColdPage) &* pageBytes
        return space.enter {
            var result = NanobenchmarkResult()
            var left = iterations
            while left > 0 {
                let batch = left < most ? left : most
                guard space.mapColdPages(Int(batch &* unrolled)) else {
                    _ = space.unmapColdPages()
                    return nil
                }
                result.cycles &+= vb_nano_touch(batch, first)
                result.check &+= space.unmapColdPages()
                left &-= batch
            }
            return result
        }
    }

    private static var testDevice: UInt64 { PhysicalAddress(bootInformation.testDeviceAddress).linear }

    /// AMD's CPUs, and those made to their design, have VMMCALL.
    private static func hypercall(_ iterations: UInt64) -> UInt64 {
        let vendor = cpu_cpuid(0, 0).ebx
        let isAMD = vendor == 0x6874_7541 || vendor == 0x6F67_7948  // "Auth", "Hygo"
        return isAMD ? vb_nano_vmmcall(iterations) : vb_nano_vmcall(iterations)
    }
}
