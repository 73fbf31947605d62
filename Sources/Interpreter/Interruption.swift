/// An exception that the guest must see (Intel SDM vol. 3, 6.15).
public struct ProcessorException: Error, Sendable, Equatable {
    public var vector: UInt8
    public var errorCode: UInt32?
    /// CR2, for page faults.
    public var address: UInt64?

    public init(vector: UInt8, errorCode: UInt32? = nil, address: UInt64? = nil) {
        self.vector = vector
        self.errorCode = errorCode
        self.address = address
    }

    static let divideError = ProcessorException(vector: 0)
    static let overflow: UInt8 = 4
    static let invalidOpcode = ProcessorException(vector: 6)
    static let doubleFaultVector: UInt8 = 8
    static func invalidTask(_ selector: UInt16) -> Self { Self(vector: 10, errorCode: UInt32(selector & ~3)) }
    static func notPresent(_ selector: UInt16) -> Self { Self(vector: 11, errorCode: UInt32(selector & ~3)) }
    static func stack(_ code: UInt16 = 0) -> Self { Self(vector: 12, errorCode: UInt32(code & ~3)) }
    static func protection(_ code: UInt16 = 0) -> Self { Self(vector: 13, errorCode: UInt32(code & ~3)) }
}

/// Why an instruction was not carried out to its end.
enum Interruption: Error {
    case exception(ProcessorException)
    /// The interpreter does not do this; says what.
    case unsupported(String)

    static let undefined = Interruption.exception(.invalidOpcode)
    static func protection(_ code: UInt16 = 0) -> Self { .exception(.protection(code)) }
}

/// RFLAGS bits (Intel SDM vol. 1, 3.4.3).
enum Flag {
    static let carry: UInt64 = 1 << 0
    static let always: UInt64 = 1 << 1
    static let parity: UInt64 = 1 << 2
    static let adjust: UInt64 = 1 << 4
    static let zero: UInt64 = 1 << 6
    static let sign: UInt64 = 1 << 7
    static let trap: UInt64 = 1 << 8
    static let interrupt: UInt64 = 1 << 9
    static let direction: UInt64 = 1 << 10
    static let overflow: UInt64 = 1 << 11
    static let nestedTask: UInt64 = 1 << 14
    static let resume: UInt64 = 1 << 16
    static let virtual8086: UInt64 = 1 << 17
    static let alignmentCheck: UInt64 = 1 << 18
    static let arithmetic: UInt64 = 0x8D5
    /// What POPF and IRET change at CPL 0, VM apart: also IOPL and ID.
    static let writable: UInt64 = 0x24_7FD5
}

/// Bits of CR0, CR4 and EFER (Intel SDM vol. 3, 2.5 and 2.2.1).
enum Control {
    static let protectionEnable: UInt64 = 1 << 0
    static let taskSwitched: UInt64 = 1 << 3
    static let extensionType: UInt64 = 1 << 4
    static let writeProtect: UInt64 = 1 << 16
    static let notWriteThrough: UInt64 = 1 << 29
    static let cacheDisable: UInt64 = 1 << 30
    static let paging: UInt64 = 1 << 31
    static let pageSizeExtensions: UInt64 = 1 << 4
    static let physicalAddressExtension: UInt64 = 1 << 5
    static let longModeEnable: UInt64 = 1 << 8
    static let longModeActive: UInt64 = 1 << 10
    static let noExecuteEnable: UInt64 = 1 << 11
}
