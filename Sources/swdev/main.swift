import Machine
import SoftwareVMM
import GuestInterface
import Glibc
final class O: MachineObserver {
    func record(_ h: MailboxRecordHeader, payload: UnsafeRawBufferPointer) {
        if h.kind == 6 || h.kind == 7 { print(String(decoding: payload, as: UTF8.self), terminator: h.kind == 7 ? "\n" : "") } else { print("record", h.kind, h.detail, payload.count) }
    }
    func serialOutput(_ b: UnsafeRawBufferPointer) { print("serial:", String(decoding: b, as: UTF8.self)) }
}
let a = CommandLine.arguments
var initrd: [UInt8] = []
if a.count > 2 { let f = fopen(a[2], "r")!; var buf = [UInt8](repeating: 0, count: 1<<20); while true { let n = fread(&buf, 1, buf.count, f); if n == 0 { break }; initrd += buf[0..<n] } }
let c = MachineConfiguration(kernel: try KernelImage(path: a[1]), initrd: initrd, commandLine: a.count > 3 ? a[3] : "", timeLimit: 10)
let m = try SoftwareMachine(configuration: c)
let o = m.run(observer: O())
print(o.end)
for l in o.diagnosis { print(l) }
for e in o.exits { print(e.reason.name, e.count, e.totalCycles / e.count, e.medianCycles) }
print(o.counters)
