internal import Media
internal import SCSI
internal import TargetCore

/// A disk that a copy reads or writes, and by which right.
struct CopyParty: Sendable {
    let disk: DiskDeviceServer
    /// The nexus whose reservations count; nil when a ROD token is all that is needed.
    let nexus: ITLNexus?
    /// Where the CSCD descriptor is in the parameter list that names the disk; nil without one.
    let descriptorOffset: Int?
    /// The medium that the copy began with.
    let mediumGeneration: UInt32

    /// Whether the initiator still reaches the disk.
    var isReachable: Bool { nexus?.isAttached ?? true }

    /// What a READ would end with before it reads; nil when nothing is in the way. Unit attentions and deferred errors
    /// of the nexus are left to its own commands.
    var readRefusal: (status: SCSIStatus, sense: SenseData?)? {
        if nexus?.mayRead == false { return (.reservationConflict, nil) }
        return mediumRefusal.map { (.checkCondition, $0) }
    }

    /// What a WRITE would end with before it writes; nil when nothing is in the way.
    var writeRefusal: (status: SCSIStatus, sense: SenseData?)? {
        if nexus?.mayWrite == false { return (.reservationConflict, nil) }
        return (mediumRefusal ?? disk.writeProtectionSense).map { (.checkCondition, $0) }
    }

    /// Why the medium is not used: by the access state of the target port, because it is not ready, or because it is
    /// not the one any more that the copy began with.
    private var mediumRefusal: SenseData? {
        if let sense = nexus?.accessStateRefusal ?? disk.notReadySense { return sense }
        return mediumGeneration == disk.mediumGeneration ? nil : SenseData(.unitAttention, .mediumMayHaveChanged)
    }
}

/// Bytes on their way from blocks of one disk to blocks of another, or of the same: one segment of an EXTENDED COPY, or
/// a WRITE USING TOKEN.
struct CopyTransfer {
    /// Nil for zeros, which need no storage at the destination.
    let source: CopyParty?
    /// The blocks that the bytes come from, one extent after the other.
    let sourceExtents: [BlockExtent]
    /// How many bytes of them are left out first.
    let sourceOffset: Int
    let destination: CopyParty
    /// The blocks that are written, one extent after the other.
    let destinationExtents: [BlockExtent]
    /// The bytes that are written: whole blocks of the destination.
    let length: Int
    /// The bytes that come from the source; zeros follow up to `length`.
    let dataLength: Int
    /// Whether the last bytes go first: the source is not overwritten before it is read.
    let isDescending: Bool
    /// The token that must stay valid while its blocks are read.
    let token: RODToken?

    /// A piece that is read and then written.
    struct Piece {
        /// Where it begins in the transfer, in bytes.
        let position: Int
        /// Its bytes.
        let count: Int
        /// The blocks that it becomes.
        let destination: BlockExtent
    }

    /// The piece that comes when `done` bytes are copied: at most one buffer, in one extent of the destination.
    func piece(after done: Int) -> Piece? {
        guard done < length else { return nil }
        let limit = source == nil ? zerosLength : CopyLimit.bufferLength
        if isDescending {
            let count = min(limit, length - done)
            return piece(at: length - done - count, count: count)
        }
        return piece(at: done, count: min(limit, length - done))
    }

    /// The most bytes that become zeros at a time.
    private var zerosLength: Int { destination.disk.byteCount(destination.disk.image.maximumDeallocation) }

    private func piece(at position: Int, count: Int) -> Piece? {
        guard let (extent, inside) = Self.find(position, in: destinationExtents, destination.disk) else { return nil }
        let count = min(count, destination.disk.byteCount(extent.count) - inside)
        let shift = destination.disk.blockShift
        return Piece(
            position: position, count: count,
            destination: BlockExtent(
                first: extent.first + UInt64(inside) >> shift, count: UInt64(count) >> shift))
    }

    /// What is read next for a piece of which `read` bytes are in the buffer.
    struct Reading {
        let blocks: BlockExtent
        /// How many bytes at the start of the first block are not wanted.
        let skew: Int
        /// The wanted bytes.
        let count: Int
    }

    /// Nil when all of the piece is in the buffer that comes from the source.
    func reading(_ piece: Piece, after read: Int) -> Reading? {
        guard let source else { return nil }
        let wanted = min(piece.count, dataLength - piece.position) - read
        guard wanted > 0,
            let (extent, inside) = Self.find(sourceOffset + piece.position + read, in: sourceExtents, source.disk)
        else { return nil }
        let count = min(wanted, source.disk.byteCount(extent.count) - inside)
        let shift = source.disk.blockShift
        let first = UInt64(inside) >> shift
        let end = (UInt64(inside + count) + (1 << shift) - 1) >> shift
        return Reading(
            blocks: BlockExtent(first: extent.first + first, count: end - first), skew: inside - Int(first << shift),
            count: count)
    }

    /// The extent that has the byte at `position` of all of them, and where in it.
    private static func find(
        _ position: Int, in extents: [BlockExtent], _ disk: DiskDeviceServer
    ) -> (BlockExtent, Int)? {
        var rest = position
        for extent in extents {
            let length = disk.byteCount(extent.count)
            if rest < length { return (extent, rest) }
            rest -= length
        }
        return nil
    }
}
