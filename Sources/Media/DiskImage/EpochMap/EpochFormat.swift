internal import Bytes

/// The measures of a disk image with snapshots. `DiskImageFormat` in the documentation draws the bytes and gives the
/// rules.
enum EpochFormat {
    /// "CRSLDISK", the first eight bytes of a superblock.
    static let superblockMagic: UInt64 = 0x4352_534C_4449_534B
    /// "CRSLJRNL", the first eight bytes of a frame of the journal.
    static let frameMagic: UInt64 = 0x4352_534C_4A52_4E4C
    /// The format that this source code writes.
    static let version: UInt32 = 1
    /// The features without which an image may not be opened that this source code knows.
    static let knownFeatures = checksumFeature | compressionFeature
    /// Checksums of data.
    static let checksumFeature: UInt32 = 1 << 0
    /// Extents may be compressed.
    static let compressionFeature: UInt32 = 1 << 1

    /// The bytes of a unit: of allocation, of copy-on-write, and of every page.
    static let unitLength = 4096
    static let unitShift = 12
    /// The logical units of a region, the leaf of a map: 2 MiB.
    static let regionUnits = 512
    /// The logical units of an extent, which is compressed as a whole: 64 KiB.
    static let extentUnits = 16
    static let extentShift: UInt64 = 4
    static let extentLength = extentUnits * unitLength
    /// The bytes of an entry of a map.
    static let entryLength = 8
    /// The pointers of a page of level 1 and above.
    static let fanOut = 256
    static let fanOutShift = 8
    /// The most levels of pages above the leaves of a tree.
    static let levelLimit = 4
    /// The physical units that a leaf of the free map covers.
    static let freeMapUnits = 32768
    static let freeMapShift = 15

    /// The most bytes of a disk.
    static let maximumCapacity: UInt64 = 1 << 48
    /// The most units of the file.
    static let physicalUnitLimit: UInt64 = 1 << 37
    /// The last epoch of a family.
    static let epochLimit: UInt32 = 1 << 24 - 1
    /// The most nodes of a family.
    static let nodeLimit = 65536
    /// The most bytes of a name of a node, in UTF-8.
    static let nameLimit = 160
    static let uuidLength = 16

    /// The copies of the superblock are the first unit of four groups of so many units.
    static let superblockStride: UInt64 = 4
    static let superblockCopies = 4
    /// Where the journal begins, in units.
    static let journalStart: UInt64 = 16
    /// The fewest and the most units of the journal: 256 KiB and 1 GiB.
    static let journalLimits: ClosedRange<UInt32> = 64...262_144
    /// The most units of a frame of the journal: 1 MiB.
    static let frameUnitLimit: UInt32 = 256
    /// The bytes before the first slot of a frame.
    static let frameHeaderLength = 64
    /// The bytes of a slot of a frame.
    static let slotLength = 32

    /// The units of the journal of a family whose first head has that capacity in bytes.
    static func journalUnits(capacity: UInt64) -> UInt32 {
        let units = min(capacity, maximumCapacity) / 4096 / UInt64(unitLength)
        return min(max(UInt32(clamping: units), journalLimits.lowerBound), journalLimits.upperBound)
    }

    /// The most units of a frame in a journal of that many units: a sixteenth of a small one, so that frames go on
    /// while a commit makes room.
    static func frameUnits(journalUnits: UInt32) -> UInt32 { min(frameUnitLimit, journalUnits / 16) }

    /// The runs of units with storage of their own for commits on a full host that a superblock names.
    static let reserveRunLimit = 128
    /// The most units of them: 1 GiB.
    static let reserveLimit: UInt64 = 262_144

    /// The units with storage of their own that a family keeps for commits on a full host, of disks of that capacity in
    /// bytes: 256 KiB, the pages above the regions, and a page for each sixteenth region.
    static func reserveUnits(capacity: UInt64) -> UInt64 {
        min(reserveLimit, 64 + regions(capacity: capacity) / 16 + upperPages(capacity: capacity))
    }

    /// The pages above level 0 of a map of which all regions are pages.
    static func upperPages(capacity: UInt64) -> UInt64 {
        var (pages, level) = (UInt64(0), regions(capacity: capacity))
        repeat {
            level = (level + UInt64(fanOut) - 1) / UInt64(fanOut)
            pages += level
        } while level > 1
        return pages
    }

    /// The units of a disk of that capacity in bytes; the last one may be a part.
    static func logicalUnits(capacity: UInt64) -> UInt64 {
        capacity >> UInt64(unitShift) + (capacity & UInt64(unitLength - 1) == 0 ? 0 : 1)
    }

    /// The regions of a disk of that capacity in bytes; the last one may be a part.
    static func regions(capacity: UInt64) -> UInt64 {
        (logicalUnits(capacity: capacity) + UInt64(regionUnits - 1)) / UInt64(regionUnits)
    }

    /// The leaves of a free map that covers that many units.
    static func freeMapLeaves(units: UInt64) -> UInt64 {
        units >> UInt64(freeMapShift) + (units & UInt64(freeMapUnits - 1) == 0 ? 0 : 1)
    }

    /// The levels of pages above that many leaves, at least one.
    static func levels(leaves: UInt64) -> Int {
        var levels = 1
        var span = UInt64(fanOut)
        while span < leaves, levels < levelLimit {
            levels += 1
            span <<= UInt64(fanOutShift)
        }
        return levels
    }

    /// The leaves that one pointer in a page of that level stands for.
    static func leavesOfPointer(level: Int) -> UInt64 { 1 << UInt64(fanOutShift * (level - 1)) }

    /// What checksums of pages and frames of a family begin with.
    static func seed(uuid: [UInt8]) -> UInt32 { CRC32C.checksum(uuid.rawSpan) }

    /// The byte of the file at which a unit begins.
    static func offset(ofUnit unit: UInt64) -> Int64 { Int64(unit << UInt64(unitShift)) }

    /// The bytes of a name as they are stored: whole characters, at most `nameLimit` bytes.
    static func bytes(ofName name: String) -> [UInt8] {
        guard name.utf8.count > nameLimit else { return Array(name.utf8) }
        var bytes: [UInt8] = []
        for scalar in name.unicodeScalars {
            let more = String(scalar).utf8
            guard bytes.count + more.count <= nameLimit else { break }
            bytes.append(contentsOf: more)
        }
        return bytes
    }
}
