internal import Platform

/// Why the parts of a disk image with snapshots could not be read or written: a value, never zeros in place of data.
enum EpochFault: Error, Equatable, Sendable {
    /// The host's storage failed with this error number; ENOSPC when it is full.
    case device(Int32)
    /// What was read is not what was written, or never was right.
    case damaged(EpochDamage)
    /// A limit of the format is reached.
    case limit(EpochLimit)
}

/// A limit of the format that an operation would exceed.
enum EpochLimit: Equatable, Sendable {
    case physicalUnits
    case epochs
    case nodes
    /// Or numbers of frames, or what else a superblock has.
    case commits
}

/// What of a disk image is not right, and where.
enum EpochDamage: Equatable, Hashable, Sendable {
    /// Nobody knows any more what was there.
    case lost
    /// It is of a newer version, or has features that are not known.
    case unknownFormat
    /// No valid superblock.
    case superblock
    /// The page in that physical unit, of a level, does not match its checksum; level 0 is a leaf.
    case page(unit: UInt64, level: Int)
    /// The data in that unit do not match their checksum.
    case data(unit: UInt64)
    /// The file ends before that unit, to which something points.
    case truncated(unit: UInt64)
    /// A pointer with number `index` in the page of a unit is none, or leads out of the file, or is a run where none
    /// may be.
    case pointer(unit: UInt64, index: Int)
    /// An entry in the leaf of a unit is none, leads out of the file or is from an epoch that has not been.
    case entry(unit: UInt64, index: Int)
    /// The newest valid superblock is that of a commit which a newer one has followed.
    case olderSuperblock(commit: UInt64)
    /// What is stored of the compressed extent that begins at that physical unit is not what was written.
    case extent(unit: UInt64)
    /// The record of a node contradicts itself or others.
    case node(UInt32)
    /// The number of nodes that are there is not possible.
    case nodeTable
    /// The bits of the free map behind the units that it covers are not zero.
    case freeMap
    /// The frame that belongs at a unit of the journal was there once.
    case journal(unit: UInt32, sequence: UInt64)
    /// A whole frame of the journal has a record that does not exist, or one that does not fit the state.
    case record(sequence: UInt64, slot: Int)
}

extension EpochDamage: CustomStringConvertible {
    /// One sentence without a full stop.
    var description: String {
        switch self {
        case .lost: "what was there is lost"
        case .unknownFormat: "the image is of a newer version, or has features that are not known"
        case .superblock: "the image has no valid superblock"
        case .page(let unit, let level): "the page in unit \(unit) (level \(level)) does not match its checksum"
        case .data(let unit): "the data in unit \(unit) do not match their checksum"
        case .olderSuperblock(let commit):
            "commit \(commit) is not the last one, and the superblock of the last one cannot be read"
        case .truncated(let unit): "the file ends before unit \(unit)"
        case .pointer(let unit, let index): "pointer \(index) of the page in unit \(unit) is not possible"
        case .entry(let unit, let index): "entry \(index) of the map's page in unit \(unit) is not possible"
        case .extent(let unit): "the compressed extent at unit \(unit) is not what was written"
        case .node(let number): "the record of node \(number) is not possible"
        case .nodeTable: "the table of nodes is not possible"
        case .freeMap: "the free map is longer than what it covers"
        case .journal(let unit, let sequence): "frame \(sequence) of the journal, at its unit \(unit), is damaged"
        case .record(let sequence, let slot): "slot \(slot) of frame \(sequence) of the journal is not possible"
        }
    }
}

extension EpochFault: CustomStringConvertible {
    /// One sentence without a full stop.
    var description: String {
        switch self {
        case .device(let code): SystemError(code: code, operation: "the host's storage has failed").description
        case .damaged(let damage): damage.description
        case .limit(.physicalUnits): "the image has as many units as the format allows"
        case .limit(.epochs): "the image has as many epochs as the format allows"
        case .limit(.nodes): "the image has as many nodes as the format allows"
        case .limit(.commits): "the image has as many commits as the format allows"
        }
    }
}
