/// Figures of K. Adams and O. Agesen, "A Comparison of Software and Hardware Techniques for x86 Virtualization", ASPLOS 2006: a 3.8 GHz
/// Pentium 4 672, VMware's software VMM (binary translation) and its hardware VMM on the first generation of VT-x.
enum PublishedFigures {
    static let citation =
        "K. Adams and O. Agesen, “A Comparison of Software and Hardware Techniques for x86 Virtualization”, ASPLOS 2006"
    static let machine = "Pentium 4 672 at 3.8 GHz, first generation of VT-x"

    /// A figure as the paper gives it.
    enum Figure: Equatable {
        case number(Double)
        /// Only in words.
        case words(String)
        /// Not given.
        case absent

        var number: Double? {
            if case .number(let value) = self { return value }
            return nil
        }
    }

    /// What one technique after another takes: the paper's three columns.
    struct Columns: Equatable {
        var native: Figure
        var software: Figure
        var hardware: Figure
    }

    /// Cycles of single operations (section 6.3 and figure 4).
    static func cycles(_ benchmark: PaperNanobenchmark) -> Columns {
        switch benchmark {
        case .syscall:
            Columns(native: .number(242), software: .words("about +2000"), hardware: .words("as native"))
        case .portRead:
            Columns(native: .number(3209), software: .words("15 × faster than native"), hardware: .number(15826))
        case .cr8Write:
            Columns(native: .absent, software: .number(35), hardware: .words("near native"))
        case .callReturn:
            Columns(native: .number(11), software: .number(51), hardware: .number(11))
        case .pageFault:
            Columns(native: .number(1093), software: .number(3927), hardware: .number(11242))
        case .divideByZero:
            Columns(native: .absent, software: .words("far slower than native"), hardware: .words("near native"))
        case .pageTableWrite:
            Columns(native: .number(1), software: .number(391), hardware: .number(12733))
        }
    }

    /// Seconds for 40,000 times fork, exit and wait (section 6.2).
    static let forkwait = Columns(native: .number(6.0), software: .number(36.9), hardware: .number(106.4))
    static let forkwaitOperations = 40_000.0

    /// SPECint 2000 under the software VMM: about 4 % slower than native on average.
    static let computeSlowdown = Columns(native: .number(1), software: .number(1.04), hardware: .absent)

    /// Micro-architectural costs in cycles (table 1).
    static let transitions: [(what: String, pentium4: Double, core2: Double)] = [
        ("VM entry", 2409, 937), ("page-fault VM exit", 1931, 1186), ("VMCB read", 178, 52), ("VMCB write", 171, 44),
    ]
}

/// The paper's seven nanobenchmarks.
enum PaperNanobenchmark: CaseIterable {
    case syscall
    case portRead
    case cr8Write
    case callReturn
    case pageFault
    case divideByZero
    case pageTableWrite

    /// The paper's name of it, which is the phase of the program `nanobench` too.
    var name: String {
        switch self {
        case .syscall: "syscall"
        case .portRead: "in"
        case .cr8Write: "cr8wr"
        case .callReturn: "callret"
        case .pageFault: "pgfault"
        case .divideByZero: "divzero"
        case .pageTableWrite: "ptemod"
        }
    }

    /// What one operation is.
    var operation: String {
        switch self {
        case .syscall: "ring 3 to ring 0 and back by SYSCALL and SYSRET"
        case .portRead: "IN from port 0x80"
        case .cr8Write: "write of CR8, no interrupt pending"
        case .callReturn: "CALL of an empty subroutine, and RET"
        case .pageFault: "page fault that the guest's kernel handles"
        case .divideByZero: "#DE that the guest's kernel handles"
        case .pageTableWrite: "write of a page-table entry"
        }
    }

    /// Who was faster in the paper.
    var winner: PaperTechnique {
        switch self {
        case .syscall, .callReturn, .divideByZero: .hardware
        case .portRead, .cr8Write, .pageFault, .pageTableWrite: .software
        }
    }

    /// What has changed since, for a reader who knows the paper.
    var change: String {
        switch self {
        case .syscall:
            "Direct execution (the paper's technique) pays a host signal for each call; translated user code goes to the kernel's "
                + "translation without leaving translated code. Hardware never exits for it."
        case .portRead:
            "Emulated within translated code by a call; hardware has to exit to the VMM, as then."
        case .cr8Write:
            "The paper's translated code wrote a word in memory; here the write leaves translated code for the VMM's interrupt "
                + "controller. Hardware got a TPR shadow for it after 2006 (VT-x TPR shadow, AMD-V V_TPR) and need not exit."
        case .callReturn:
            "Return targets are verified in line, so a translated return still costs more than the CPU's predicted one."
        case .pageFault:
            "With nested paging (EPT, NPT), which the paper's CPU lacked, the CPU delivers a guest's fault without an exit; the paper's "
                + "hardware VMM had to look at every fault for its shadow page tables."
        case .divideByZero:
            "Hardware delivers it to the guest without an exit; the software VMM takes a trap first."
        case .pageTableWrite:
            "In 2006 both VMMs traced writes to page tables. With nested paging hardware need not; this software VMM does not either: "
                + "its shadow is a virtual TLB that is filled on faults and dropped by INVLPG and CR3 writes."
        }
    }
}

/// The techniques that the paper sets against each other.
enum PaperTechnique: Equatable {
    case software
    case hardware

    var text: String {
        switch self {
        case .software: "the software VMM"
        case .hardware: "the hardware VMM"
        }
    }
}
