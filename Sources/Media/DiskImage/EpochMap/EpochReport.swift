internal import Platform

/// Something of a disk image with snapshots that is not as the format says.
enum EpochFinding: Equatable, Hashable, Sendable {
    /// A part cannot be used.
    case damaged(EpochDamage)
    /// The host's storage failed with this error number.
    case unreadable(Int32)
    /// The format is newer, or the image has features that are not known.
    case unknownFormat
    /// A copy of the superblock, counted from 0, is not valid, or cannot be read. Commits write it anew; a crash may
    /// have left one of an image that nobody has open.
    case superblockCopy(Int)
    /// The superblock in the file is not that of the last commit.
    case otherCommit
    /// A unit has two owners, or is both a page and data.
    case ownedTwice(unit: UInt64)
    /// Something of a node refers to a unit that the free map does not cover.
    case notCovered(unit: UInt64)
    /// A page or data of a node was born in an epoch in which the node cannot have made it.
    case wrongBirth(node: UInt32, unit: UInt64)
    /// A node has data behind its end.
    case behindEnd(node: UInt32, unit: UInt64)
    /// Units that are referred to and free.
    case notInUse(Range<UInt64>)
    /// Units that are in use and that nothing refers to.
    case leaked(Range<UInt64>)
}

extension EpochFinding {
    /// Whether no repair takes it away: what has two owners, or is where it cannot be, has no right version.
    var isContradiction: Bool {
        switch self {
        case .damaged(.page), .damaged(.pointer), .damaged(.entry), .unreadable(Errno.inputOutput): false
        case .damaged(.freeMap), .notInUse, .leaked, .superblockCopy: false
        case .damaged, .unreadable, .unknownFormat, .otherCommit, .ownedTwice, .notCovered, .wrongBirth, .behindEnd:
            true
        }
    }
}

/// Logical units of a node that are lost.
struct LostUnits: Equatable, Hashable, Sendable {
    let node: UInt32
    var units: Range<UInt64>
}

/// What tells one page from another one that has been in its unit.
struct PageName: Hashable, Sendable {
    let unit: UInt64
    let checksum: UInt32

    init(_ pointer: UnitPointer) { (unit, checksum) = (pointer.unit, pointer.checksum) }
}

/// What a check has found.
struct EpochReport: Equatable, Sendable {
    /// At most `EpochChecker.findingLimit`.
    var findings: [EpochFinding] = []
    /// How many there are.
    var findingCount = 0
    /// The units that nodes and their pages have in use.
    var usedUnits: UInt64 = 0
    /// Whether the free map cannot be read, or is not what the maps say.
    var isFreeMapWrong = false
    /// The pages of maps that are damaged, or that the host cannot read.
    var damagedPages: Set<PageName> = []
    /// The copies of the superblock, counted from 0, that are not valid. A crash in a commit leaves such ones.
    var invalidCopies: [Int] = []
    /// What cannot be read because of a damaged page, each place once for the node that owns it.
    var unreadable: [LostUnits] = []
    /// What is lost, each place once for the node that owns it, at most `EpochChecker.findingLimit`.
    var losses: [LostUnits] = []

    /// Logical units of a node that are lost are added, joined with those before.
    mutating func add(_ lost: LostUnits) {
        if let last = losses.last, last.node == lost.node, last.units.upperBound == lost.units.lowerBound {
            losses[losses.count - 1].units = last.units.lowerBound..<lost.units.upperBound
        } else if losses.count < EpochChecker.findingLimit, !lost.units.isEmpty {
            losses.append(lost)
        }
    }

    /// Whether anything was found that no repair takes away.
    var hasContradiction = false

    mutating func add(_ finding: EpochFinding) {
        findingCount += 1
        if finding.isContradiction { hasContradiction = true }
        if findings.count < EpochChecker.findingLimit { findings.append(finding) }
    }

    mutating func add(fault: EpochFault) {
        switch fault {
        case .damaged(let damage): add(.damaged(damage))
        case .device(let code): add(.unreadable(code))
        case .limit: add(.unknownFormat)
        }
    }
}
