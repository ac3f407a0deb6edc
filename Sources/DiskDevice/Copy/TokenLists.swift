internal import Bytes
internal import SCSI

/// The block device range descriptors of POPULATE TOKEN and WRITE USING TOKEN (SBC-4 clause 5.12.3).
struct BlockRanges {
    /// The bytes of each.
    static let length = 16

    let extents: [BlockExtent]
    /// The blocks of all of them.
    let blocks: UInt64
    /// Where the first is in the parameter list.
    let start: Int

    /// The descriptors from `start` on, whose length in bytes is at `lengthOffset`, for a disk. Those that are not
    /// whole, or beyond the data, do not count.
    init(_ list: RawSpan, lengthOffset: Int, start: Int, _ disk: DiskDeviceServer) throws(CopyListError) {
        let named = Int(list.loadBE16(at: lengthOffset))
        // The data length counts what follows it (SBC-4 clauses 5.12.2 and 5.59.2).
        guard Int(list.loadBE16(at: 0)) == start - 2 + named, named >= Self.length else {
            throw .field(named < Self.length ? lengthOffset : 0)
        }
        let count = min(named, list.byteCount - start) / Self.length
        guard count > 0 else { throw .length }
        guard count <= CopyLimit.ranges else {
            throw .illegal(SenseData(.illegalRequest, .tooManySegmentDescriptors))
        }
        var extents: [BlockExtent] = []
        var blocks: UInt64 = 0
        for index in 0..<count {
            let offset = start + index * Self.length
            let extent = BlockExtent(first: list.loadBE64(at: offset), count: UInt64(list.loadBE32(at: offset + 8)))
            guard extent.isInside(disk.blockCount) else {
                throw .illegal(SenseData(.illegalRequest, .logicalBlockAddressOutOfRange))
            }
            guard !extents.contains(where: { $0.overlaps(extent) }) else { throw .field(offset) }
            blocks += extent.count
            guard blocks <= UInt64(CopyLimit.tokenLength) >> disk.blockShift else { throw .field(offset + 8) }
            extents.append(extent)
        }
        self.extents = extents
        self.blocks = blocks
        self.start = start
    }
}

/// The parameter list of POPULATE TOKEN (SBC-4 table 72).
struct PopulateTokenList {
    /// The bytes before the block device range descriptors.
    static let headerLength = 16

    /// The inactivity timeout of the token, in seconds.
    let inactivity: UInt32
    let ranges: BlockRanges

    init(_ bytes: [UInt8], _ disk: DiskDeviceServer) throws(CopyListError) {
        let list = bytes.rawSpan
        guard list.byteCount >= Self.headerLength else { throw .length }
        // At least one range.
        guard list.loadBE16(at: 0) >= UInt16(Self.headerLength + BlockRanges.length - 2) else { throw .field(0) }
        let timeout = list.loadBE32(at: 4)
        guard timeout <= CopyLimit.maximumInactivity else { throw .field(4) }
        inactivity = timeout == 0 ? CopyLimit.defaultInactivity : timeout
        // RTV.
        if list.byte(at: 2) & 0x02 != 0 {
            let type = list.loadBE32(at: 8)
            guard type == RODToken.type || type == RODToken.anyPointInTime else { throw .field(8) }
        }
        ranges = try BlockRanges(list, lengthOffset: 14, start: Self.headerLength, disk)
    }
}

/// The parameter list of WRITE USING TOKEN (SBC-4 table 159).
struct WriteUsingTokenList {
    /// The bytes before the block device range descriptors.
    static let headerLength = 536
    static let offsetIntoRODOffset = 8
    private static let tokenOffset = 16

    /// DEL_TKN.
    let deletesToken: Bool
    /// OFFSET INTO ROD, in blocks of the disk that is written.
    let offset: UInt64
    /// Whether the token is the block device zero ROD token.
    let isZero: Bool
    /// ROD TOKEN.
    let token: [UInt8]
    let ranges: BlockRanges

    init(_ bytes: [UInt8], _ disk: DiskDeviceServer) throws(CopyListError) {
        let list = bytes.rawSpan
        guard list.byteCount >= Self.headerLength else { throw .length }
        guard list.loadBE16(at: 0) >= UInt16(Self.headerLength + BlockRanges.length - 2) else { throw .field(0) }
        deletesToken = list.byte(at: 2) & 0x02 != 0
        offset = list.loadBE64(at: Self.offsetIntoRODOffset)
        ranges = try BlockRanges(list, lengthOffset: 534, start: Self.headerLength, disk)
        guard list.loadBE16(at: Self.tokenOffset + 6) == RODToken.lengthField else {
            throw .illegal(SenseData(.illegalRequest, .invalidTokenLength))
        }
        let type = list.loadBE32(at: Self.tokenOffset)
        guard type == RODToken.zeroType || type == RODToken.type else {
            throw .illegal(SenseData(.illegalRequest, .unsupportedTokenType))
        }
        isZero = type == RODToken.zeroType
        token = list.extracting(Self.tokenOffset..<Self.tokenOffset + RODToken.length).copyToArray()
    }
}
