internal import Platform

/// Why an operation on a medium did not succeed: a value, for the data path.
public enum MediaFailure: Error, Equatable, Sendable, CustomStringConvertible {
    /// The host's file system (or the user's quota) has no room: space allocation failed, not a broken medium.
    case hostFull
    /// The file ends before what it must hold: a medium error.
    case truncated
    /// What was read does not carry the right checksum or header: a medium error.
    case corrupt
    /// An application client has marked a block as unreadable until it is written: a medium error.
    case marked
    /// The protection information of a block does not fit it.
    case protection
    /// The medium is a snapshot, which is not written.
    case writeProtected
    /// The medium has other content than when the command began: nothing was done.
    case replaced
    /// The host's device failed with this error number: a hardware or medium error.
    case device(Int32)

    /// What stands for `truncated` where error numbers are kept: one above all that Linux has (4095).
    static let truncatedNumber: Int32 = 4096
    /// What stands for `marked` there.
    static let markedNumber: Int32 = 4097
    /// What stands for `protection` there.
    static let protectionNumber: Int32 = 4098
    /// What stands for `corrupt` there.
    static let corruptNumber: Int32 = 4099
    /// What stands for `writeProtected` there.
    static let writeProtectedNumber: Int32 = 4100
    /// What stands for `replaced` there.
    static let replacedNumber: Int32 = 4101

    /// The failure that an error number, or `truncatedNumber`, stands for.
    init(errorNumber: Int32) {
        switch errorNumber {
        case Errno.noSpace, Errno.quotaExceeded: self = .hostFull
        case Self.truncatedNumber: self = .truncated
        case Self.markedNumber: self = .marked
        case Self.protectionNumber: self = .protection
        case Self.corruptNumber: self = .corrupt
        case Self.writeProtectedNumber: self = .writeProtected
        case Self.replacedNumber: self = .replaced
        default: self = .device(errorNumber)
        }
    }

    /// The error number that stands for it in the result of a request.
    public var errorNumber: Int32 {
        switch self {
        case .hostFull: Errno.noSpace
        case .truncated: Self.truncatedNumber
        case .corrupt: Self.corruptNumber
        case .marked: Self.markedNumber
        case .protection: Self.protectionNumber
        case .writeProtected: Self.writeProtectedNumber
        case .replaced: Self.replacedNumber
        case .device(let code): code
        }
    }

    /// The failure of a call that gives 0 or an error number.
    static func of(_ errorNumber: Int32) -> MediaFailure? {
        errorNumber == 0 ? nil : MediaFailure(errorNumber: errorNumber)
    }

    /// One sentence without a full stop.
    public var description: String {
        switch self {
        case .hostFull: "the host's file system is full"
        case .truncated: "the file is shorter than the medium"
        case .corrupt: "the data do not match their checksum"
        case .marked: "a block is marked as unreadable"
        case .protection: "a block does not fit its protection information"
        case .writeProtected: "the medium is a snapshot"
        case .replaced: "the medium has other content now"
        case .device(let code): SystemError(code: code, operation: "the host's storage has failed").description
        }
    }
}

/// The outcome of a transfer between a medium and a lease.
public enum MediaResult: Equatable, Sendable {
    /// All bytes were transferred.
    case done
    /// The page cache does not hold everything; repeat it on a thread that may wait.
    case wouldBlock
    /// Nothing is promised about the bytes.
    case failed(MediaFailure)
}
