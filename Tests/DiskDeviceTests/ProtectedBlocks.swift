import Bytes
import SCSI

/// Blocks with protection information behind each, as an initiator sends them.
struct ProtectedBlocks {
    var blocks: [[UInt8]]
    var information: [ProtectionInformation]

    /// The blocks of `data`, with right guards, one application tag, and reference tags that count from `first` on.
    init(_ data: [UInt8], first: UInt32, application: UInt16 = 0xA5A5, counts: Bool = true, blockSize: Int = 512) {
        blocks = stride(from: 0, to: data.count, by: blockSize).map { Array(data[$0..<$0 + blockSize]) }
        information = blocks.enumerated().map { index, block in
            ProtectionInformation(
                blockGuard: CRC16T10.checksum(block.rawSpan), applicationTag: application,
                referenceTag: counts ? first &+ UInt32(index) : first)
        }
    }

    /// Parts a Data-In.
    init(interleaved bytes: [UInt8], blockSize: Int = 512) {
        blocks = []
        information = []
        for start in stride(from: 0, to: bytes.count, by: blockSize + 8) {
            blocks.append(Array(bytes[start..<start + blockSize]))
            information.append(ProtectionInformation(word: bytes.rawSpan.loadBE64(at: start + blockSize)))
        }
    }

    var bytes: [UInt8] {
        zip(blocks, information).flatMap { block, information in
            var bytes = block
            bytes.appendBE64(information.word)
            return bytes
        }
    }

    var data: [UInt8] { blocks.flatMap { $0 } }
}

extension CDB {
    /// A command of 32 bytes with the fields of type 2 protection.
    static func thirtyTwo(
        _ action: UInt16, lba: UInt64, count: UInt32, flags: UInt8 = 0, reference: UInt32 = 0, application: UInt16 = 0,
        mask: UInt16 = 0
    ) -> [UInt8] {
        var bytes: [UInt8] = [0x7F, 0, 0, 0, 0, 0, 0, 0x18]
        bytes.appendBE16(action)
        bytes += [flags, 0]
        bytes.appendBE64(lba)
        bytes.appendBE32(reference)
        bytes.appendBE16(application)
        bytes.appendBE16(mask)
        bytes.appendBE32(count)
        return bytes
    }
}

/// ABORTED COMMAND for a block that does not pass a check.
func checkFailed(_ field: ProtectionField, _ lba: Int64) -> SenseData {
    SenseData(.abortedCommand, field.checkFailed, information: lba)
}
