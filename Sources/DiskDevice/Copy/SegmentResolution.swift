internal import SCSI
internal import TargetCore

/// From a segment descriptor to disks, blocks and bytes (SPC-5 clauses 5.17.7.2 and 6.4.6.4).
extension DiskDeviceServer {
    /// What the segment of `operation` that has just been begun asks for.
    func copyTransfer(_ list: ExtendedCopyList, _ operation: CopyOperation) -> Result<CopyTransfer, CopySense> {
        let number = operation.segment
        let segment = list.segments[number]
        do throws(CopySense) {
            let source = try party(segment.source, CopySegment.sourceOffset, list, operation)
            let destination = try party(segment.destination, CopySegment.destinationOffset, list, operation)
            let isLast = number == list.segments.count - 1
            let size = try SegmentSize(
                segment, number: number, isLast: isLast,
                source: .init(blockSize: source.disk.blockSize, isPadded: isPadded(segment.source, list)),
                destination: .init(blockSize: destination.disk.blockSize, isPadded: isPadded(segment.destination, list))
            )
            let read = BlockExtent(first: segment.sourceAddress, count: size.sourceBlocks)
            let written = BlockExtent(first: segment.destinationAddress, count: size.destinationBlocks)
            if size.data > 0 {
                try check(read, source, CopySegment.sourceAddressOffset, number)
                try check(written, destination, CopySegment.destinationAddressOffset, number)
            }
            let isSame = source.disk === destination.disk
            return .success(
                CopyTransfer(
                    source: source, sourceExtents: [read], sourceOffset: segment.sourceByte, destination: destination,
                    destinationExtents: [written], length: destination.disk.byteCount(written.count),
                    dataLength: min(size.data, destination.disk.byteCount(written.count)),
                    isDescending: isSame && read.first < written.first && read.overlaps(written), token: nil))
        } catch {
            return .failure(error)
        }
    }

    /// The disk that a CSCD descriptor ID means (SPC-5 table 148), if the initiator reaches it. `field` is where the ID
    /// is in the segment descriptor.
    private func party(
        _ identifier: UInt16, _ field: Int, _ list: ExtendedCopyList, _ operation: CopyOperation
    ) throws(CopySense) -> CopyParty {
        let number = operation.segment
        // The logical unit that contains the copy manager.
        if identifier == 0xFFFF {
            return CopyParty(
                disk: self, nexus: operation.nexus, descriptorOffset: nil,
                mediumGeneration: operation.mediumGeneration(of: self))
        }
        guard let descriptor = list.descriptor(identifier) else {
            throw CopySense(.unreachableCopyTarget, segment: number, pointer: .segment(field))
        }
        guard descriptor.peripheralType == PeripheralDeviceType.directAccessBlock.rawValue else {
            throw CopySense(.incorrectCopyTargetDeviceType, segment: number, pointer: .list(descriptor.offset))
        }
        guard let found = disk(descriptor.naa, operation.nexus) else {
            throw CopySense(.copyTargetDeviceNotReachable, segment: number, pointer: .list(descriptor.offset))
        }
        guard descriptor.blockLength == 0 || descriptor.blockLength == found.disk.blockSize else {
            throw CopySense(
                .invalidFieldInParameterList, segment: number,
                pointer: .list(descriptor.offset + CSCDDescriptor.blockLengthOffset))
        }
        return CopyParty(
            disk: found.disk, nexus: found.nexus, descriptorOffset: descriptor.offset,
            mediumGeneration: operation.mediumGeneration(of: found.disk))
    }

    /// The disk with that NAA identifier that the initiator of `nexus` reaches.
    private func disk(_ naa: UInt64?, _ nexus: ITLNexus) -> (disk: DiskDeviceServer, nexus: ITLNexus)? {
        if naa == identity.naa { return (self, nexus) }
        guard let naa, let unit = copyManager.unit(naa: naa), let disk = unit.server as? DiskDeviceServer,
            let access = nexus.access(to: unit)
        else { return nil }
        return (disk, access)
    }

    private func isPadded(_ identifier: UInt16, _ list: ExtendedCopyList) -> Bool {
        list.descriptor(identifier)?.isPadded ?? false
    }

    /// Checks that blocks are on the medium. The copy manager finds that out itself: it is an error in the segment
    /// descriptor (SPC-5 clause 5.17.7.4, g), for which no additional sense code is named.
    private func check(
        _ extent: BlockExtent, _ party: CopyParty, _ field: Int, _ segment: Int
    ) throws(CopySense) {
        guard extent.isInside(party.disk.blockCount) else {
            throw CopySense(.noAdditionalSenseInformation, segment: segment, pointer: .segment(field))
        }
    }
}

/// How many blocks and bytes a block to block segment moves, with DC, CAT and PAD (SPC-5 clause 5.17.7.2, table 116).
/// It begins at any byte of its first source block, and with a destination block: a part of one is not written.
///
/// Data that do not fill a block are padded with zeros, discarded, or an error. They are not retained for a later
/// segment: where CAT or PAD ask for that, and there is a later one, the segment is refused.
struct SegmentSize: Equatable {
    /// What counts of a CSCD.
    struct Side {
        var blockSize: Int
        /// PAD of its CSCD descriptor.
        var isPadded: Bool
    }

    /// The bytes that are processed.
    let data: Int
    /// The blocks that are read.
    let sourceBlocks: UInt64
    /// The blocks that are written.
    let destinationBlocks: UInt64

    init(
        _ segment: CopySegment, number: Int, isLast: Bool, source: Side, destination: Side
    ) throws(CopySense) {
        /// The field at `offset` cannot be carried out.
        func invalid(_ offset: Int) -> CopySense {
            CopySense(.invalidFieldInParameterList, segment: number, pointer: .segment(offset))
        }
        let unit =
            switch segment.kind {
            case .blocks: segment.countsDestination ? destination.blockSize : source.blockSize
            case .bytes: 1
            }
        data = Int(segment.count) * unit
        guard data <= CopyLimit.segmentLength else { throw invalid(segment.kind.countOffset) }
        guard segment.sourceByte < source.blockSize else { throw invalid(CopySegment.sourceByteOffset) }
        guard segment.destinationByte == 0 else { throw invalid(CopySegment.destinationByteOffset) }
        /// Data would have to be retained.
        func checkRetention() throws(CopySense) {
            guard isLast else {
                throw CopySense(.invalidFieldInParameterList, segment: number, pointer: .segment(1, bit: 0))
            }
        }
        let inexact = CopySense(.unexpectedInexactSegment, segment: number)
        if segment.countsDestination {
            // What is left over of the last block that was read.
            if data % source.blockSize != 0, segment.isConcatenated || !source.isPadded {
                guard segment.isConcatenated || destination.isPadded else { throw inexact }
                try checkRetention()
            }
            sourceBlocks = UInt64((data + source.blockSize - 1) / source.blockSize)
            destinationBlocks = segment.count
            return
        }
        // What does not fill the last block that is written.
        var isExtended = false
        if data % destination.blockSize != 0 {
            if segment.isConcatenated {
                try checkRetention()
            } else {
                guard source.isPadded || destination.isPadded else { throw inexact }
                isExtended = destination.isPadded
            }
        }
        sourceBlocks = data == 0 ? 0 : UInt64((segment.sourceByte + data + source.blockSize - 1) / source.blockSize)
        destinationBlocks = UInt64((data + (isExtended ? destination.blockSize - 1 : 0)) / destination.blockSize)
    }
}
