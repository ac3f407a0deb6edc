public import Platform

/// Why an operation on a disk with snapshots is refused or has failed: one sentence each.
public enum FamilyError: Error, Equatable, Sendable, CustomStringConvertible {
    /// There is no node with that number, or it is being deleted.
    case noNode(UInt32)
    /// The node is a snapshot, or no head any more.
    case notHead(UInt32)
    /// The node is a head.
    case notSnapshot(UInt32)
    /// The node is the only one: the image itself is to be removed.
    case lastNode(UInt32)
    /// The snapshot is locked until then: it is not deleted before, and its lock does not become shorter.
    case locked(UInt32, until: CalendarTime)
    /// A disk uses the node.
    case inUse(UInt32)
    /// An operation on all blocks of the disk is kept: it goes on, or has failed.
    case operation(UInt32)
    /// The image is closed.
    case closed
    /// Data of the image are lost, and nobody has acknowledged that.
    case dataLost(MediaFailure)
    /// It is done, and nobody knows whether that is durable: data of the image are lost, and when that is acknowledged,
    /// or the image is opened again, it is there or not.
    case uncertain(MediaFailure)
    /// The same head is named twice.
    case repeated(UInt32)
    /// The capacity is not a positive multiple of the block size, or above the limit.
    case invalidCapacity(Int64)
    /// A disk has blocks of 512 or 4096 bytes.
    case invalidBlockSize(Int)
    /// Extents are compressed at the levels 1 to 19.
    case invalidCompression(Int)
    /// An encrypted image has no checksums of data: their words are shorter than a sector.
    case encryptedChecksums
    /// A name has 1 to 160 bytes of UTF-8.
    case invalidName
    /// A UUID has 16 bytes.
    case invalidUUID
    /// A disk does not become smaller.
    case smaller(UInt32, capacity: Int64)
    /// The host has no room for what would have to be written.
    case hostFull
    /// A limit of the format is reached: the sentence says which.
    case limit(String)
    /// What the image holds is not right: the sentence says what.
    case damaged(String)
    /// The image is of a newer version, or has features that are not known.
    case unknown(String)
    /// The host's storage has failed, now or before.
    case failed(Int32)

    /// The sentence, without a full stop.
    public var description: String {
        switch self {
        case .noNode(let number): "there is no node \(number)"
        case .notHead(let number): "node \(number) is not a disk that is written"
        case .notSnapshot(let number): "node \(number) is not a snapshot"
        case .lastNode(let number): "node \(number) is the only one of the image"
        case .locked(let number, let time): "node \(number) is locked until \(time.seconds) seconds after 1970 began"
        case .inUse(let number): "node \(number) is in use"
        case .operation(let number): "an operation on all blocks of node \(number) goes on, or has failed"
        case .closed: "the image is closed"
        case .dataLost(let failure): "data of the image are lost (\(failure)); acknowledge that first"
        case .uncertain(let failure):
            "it is done, but not known to be durable (\(failure)); acknowledge the loss of the image, and look whether "
                + "it is there"
        case .repeated(let number): "node \(number) is named twice"
        case .invalidCapacity(let capacity): "a disk of \(capacity) bytes is not possible"
        case .invalidBlockSize(let blockSize): "a disk has blocks of 512 or 4096 bytes, not \(blockSize)"
        case .invalidCompression(let level): "zstd has the levels 1 to \(ZstdContext.levels.upperBound), not \(level)"
        case .encryptedChecksums: "an encrypted image has no checksums of data"
        case .invalidName: "a name has 1 to \(EpochFormat.nameLimit) bytes"
        case .invalidUUID: "a UUID has \(EpochFormat.uuidLength) bytes"
        case .smaller(let number, let capacity): "node \(number) cannot become smaller than its \(capacity) bytes"
        case .hostFull: "the host has no room left"
        case .limit(let sentence), .damaged(let sentence), .unknown(let sentence): sentence
        case .failed(let code): SystemError(code: code, operation: "the image's storage has failed").description
        }
    }

    init(_ fault: EpochFault) {
        switch fault {
        case .device(let code): self.init(code: code)
        case .damaged(let damage): self = .damaged(damage.description)
        case .limit: self = .limit(fault.description)
        }
    }

    /// What an error number of the host means.
    init(code: Int32) {
        self = code == Errno.noSpace || code == Errno.quotaExceeded ? .hostFull : .failed(code)
    }
}

extension EpochFault {
    /// The error number that a command ends with.
    var code: Int32 {
        switch self {
        case .device(let code): code
        case .damaged(.truncated): MediaFailure.truncatedNumber
        case .damaged: MediaFailure.corruptNumber
        case .limit: Errno.noSpace
        }
    }
}
