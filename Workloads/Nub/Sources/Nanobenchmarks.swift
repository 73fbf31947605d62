import CPU

/// Times an operation in ring 0 for a program (GuestInterface/Nanobenchmark.swift).
@c(systemCallNanobenchmark)
func systemCallNanobenchmark(_ number: UInt32, _ iterations: UInt64, _ address: UInt64) -> Int {
    guard let benchmark = Nanobenchmark(rawValue: number), iterations > 0, iterations <= Nanobenchmark.iterationLimit
    else { return -EINVAL }
    var result = NanobenchmarkResult()
    switch benchmark {
    case .loop:
        result.cycles = vb_nano_loop(iterations)
        result.check = iterations
    case .callReturn:
        let measured = vb_nano_call_return(iterations)
        result.cycles = measured.cycles
        result.check = measured.check
    case .portRead:
        let measured = vb_nano_port_read(iterations, Port.postCode)
        result.cycles = measured.cycles
        result.check = measured.check
    }
    return UserMemory.store(result, at: address) ? 0 : -EFAULT
}
