import CLinux
import Glibc
import Host
import Machine

/// KVM's own counters of a VM and its vCPU, through the binary statistics descriptors (api.rst 4.133).
final class KVMStatistics {
    private let sources: [Source]

    /// Opens both descriptors now, so that reading them later works in a jail.
    init(machine: Int32, vcpu: Int32) {
        sources = [
            Source(prefix: "kvm.stats.", descriptor: clinux_kvm_stats_fd(vcpu), error: errno),
            Source(prefix: "kvm.stats.vm.", descriptor: clinux_kvm_stats_fd(machine), error: errno),
        ]
    }

    /// Adds every scalar counter, or says why there is none.
    func add(to outcome: inout MachineOutcome) {
        for source in sources {
            do throws(MachineError) {
                outcome.counters.merge(try source.read()) { _, new in new }
            } catch {
                outcome.countersUnavailable[source.prefix + "*"] = "\(error)"
            }
        }
    }

    /// One statistics descriptor.
    private final class Source {
        let prefix: String
        // Invariant: open, or -1; closed in deinit only.
        private let raw: Int32
        private let openError: Int32

        init(prefix: String, descriptor: Int32, error: Int32) {
            self.prefix = prefix
            raw = descriptor
            openError = error
        }

        deinit {
            if raw >= 0 { close(raw) }
        }

        /// Layout: kvm_stats_header, then descriptors of fixed part plus `name_size` bytes, then values. Everything is
        /// bounds-checked all the same; a short read gives an error, not garbage.
        func read() throws(MachineError) -> [String: Double] {
            let header = try bytes(at: 0, count: MemoryLayout<kvm_stats_header>.size)
            let (nameBytes, count, descriptors, values) = header.withUnsafeBytes { raw in
                let header = raw.loadUnaligned(as: kvm_stats_header.self)
                return (Int(header.name_size), Int(header.num_desc), Int(header.desc_offset), Int(header.data_offset))
            }
            let fixed = MemoryLayout<kvm_stats_desc>.size
            guard nameBytes > 0, nameBytes < 4096, count < 4096 else {
                throw .invalidConfiguration("KVM's statistics header makes no sense")
            }
            let table = try bytes(at: descriptors, count: count * (fixed + nameBytes))
            var counters: [String: Double] = [:]
            for index in 0..<count {
                let start = index * (fixed + nameBytes)
                let descriptor = table.withUnsafeBytes { raw in
                    raw.loadUnaligned(fromByteOffset: start, as: kvm_stats_desc.self)
                }
                // Size 1 is a scalar; longer ones are KVM's histograms.
                guard descriptor.size == 1 else { continue }
                let name = String(
                    decoding: table[(start + fixed)..<(start + fixed + nameBytes)].prefix { $0 != 0 }, as: UTF8.self)
                let value = try bytes(at: values + Int(descriptor.offset), count: 8)
                counters[prefix + name] = Double(value.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) })
            }
            return counters
        }

        private func bytes(at offset: Int, count: Int) throws(MachineError) -> [UInt8] {
            guard raw >= 0 else {
                throw .system(
                    operation: "KVM_GET_STATS_FD", errno: openError, message: String(cString: strerror(openError)))
            }
            var result = [UInt8](repeating: 0, count: count)
            let got = result.withUnsafeMutableBytes { pread(raw, $0.baseAddress, count, off_t(offset)) }
            guard got >= 0 else { throw .last("read of KVM's statistics") }
            guard got == count else {
                throw .invalidConfiguration("KVM's statistics end early: \(got) of \(count) bytes at \(offset)")
            }
            return result
        }
    }
}
