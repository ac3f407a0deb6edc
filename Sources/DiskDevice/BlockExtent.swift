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
        case 3:
            first = block.bytes.loadBE64(at: 12)
            count = UInt64(block.bytes.loadBE32(at: 28))
        case 4:
            first = block.bytes.loadBE64(at: 2)
            switch block.operationCode {
            // One byte, in another place (SBC-4 clause 5.3).
            case OperationCode.compareAndWrite: count = UInt64(block[13])
            // Two bytes, behind ATOMIC BOUNDARY (SBC-4 clause 5.48).
            case OperationCode.writeAtomic16: count = UInt64(block.bytes.loadBE16(at: 12))
            default: count = UInt64(block.bytes.loadBE32(at: 10))
            }
        default:
            first = UInt64(block.bytes.loadBE32(at: 2))
            count = UInt64(block.bytes.loadBE16(at: 7))
        }
    }

    /// Where the length is in a command of that operation code, for field pointers.
    static func lengthOffset(_ operationCode: UInt8) -> Int {
        switch operationCode >> 5 {
        case 0: 4
        case 3: 28
        case 4:
            switch operationCode {
            case OperationCode.compareAndWrite: 13
            case OperationCode.writeAtomic16: 12
            default: 10
            }
        case 5: 6
        default: 7
        }
    }

    /// Whether all of it is below `blockCount`; an empty one may begin there.
    func isInside(_ blockCount: UInt64) -> Bool {
        first <= blockCount && count <= blockCount - first
    }

    /// All from its first block on; nothing when that is behind the end.
    func toEnd(_ blockCount: UInt64) -> BlockExtent {
        BlockExtent(first: first, count: blockCount - min(first, blockCount))
    }

    /// Whether a block is in both.
    func overlaps(_ other: BlockExtent) -> Bool {
        first <= other.first ? other.count > 0 && other.first - first < count : other.overlaps(self)
    }
}

extension CommandDescriptorBlock {
    /// The byte of a medium access command that has DPO, FUA and BYTCHK.
    var flags: UInt8 { isVariableLength ? self[10] : self[1] }
}
