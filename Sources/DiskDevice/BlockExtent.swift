internal import Bytes
internal import SCSI

/// Consecutive logical blocks: what a command's LOGICAL BLOCK ADDRESS and TRANSFER LENGTH name.
struct BlockExtent: Equatable {
    /// The first logical block address.
    let first: UInt64
    /// How many blocks; zero is none, except in READ(6) and WRITE(6), where it was taken as 256.
    let count: UInt64

    init(first: UInt64, count: UInt64) {
        self.first = first
        self.count = count
    }

    /// The extent that a medium access command names, by the form of its group (SPC-5 clause 4.2.5; SBC-4 clause 5).
    init(_ block: borrowing CommandDescriptorBlock) {
        switch block.operationCode >> 5 {
        case 0:
            first = UInt64(block.bytes.loadBE24(at: 1) & 0x1F_FFFF)
            count = block[4] == 0 ? 256 : UInt64(block[4])
        case 5:
            first = UInt64(block.bytes.loadBE32(at: 2))
            count = UInt64(block.bytes.loadBE32(at: 6))
        case 4:
            first = block.bytes.loadBE64(at: 2)
            // COMPARE AND WRITE has one byte, and room for it elsewhere (SBC-4 clause 5.4).
            count =
                block.operationCode == OperationCode.compareAndWrite
                ? UInt64(block[13]) : UInt64(block.bytes.loadBE32(at: 10))
        default:
            first = UInt64(block.bytes.loadBE32(at: 2))
            count = UInt64(block.bytes.loadBE16(at: 7))
        }
    }

    /// Where the length is in a command of that operation code, for field pointers.
    static func lengthOffset(_ operationCode: UInt8) -> Int {
        switch operationCode >> 5 {
        case 0: 4
        case 4: operationCode == OperationCode.compareAndWrite ? 13 : 10
        case 5: 6
        default: 7
        }
    }

    /// Whether all of it is below `blockCount`; an empty one may begin there.
    func isInside(_ blockCount: UInt64) -> Bool {
        first <= blockCount && count <= blockCount - first
    }

    /// Whether a block is in both.
    func overlaps(_ other: BlockExtent) -> Bool {
        first <= other.first ? other.count > 0 && other.first - first < count : other.overlaps(self)
    }
}
