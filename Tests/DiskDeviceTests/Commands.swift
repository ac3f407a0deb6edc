import Bytes
import SCSI

/// Commands as an initiator writes them.
enum CDB {
    static func six(_ code: UInt8, lba: Int, count: Int) -> [UInt8] {
        [code, UInt8(lba >> 16 & 0x1F), UInt8(lba >> 8 & 0xFF), UInt8(lba & 0xFF), UInt8(count & 0xFF), 0]
    }

    static func ten(_ code: UInt8, lba: Int, count: Int, flags: UInt8 = 0) -> [UInt8] {
        var bytes: [UInt8] = [code, flags]
        bytes.appendBE32(UInt32(truncatingIfNeeded: lba))
        bytes.append(0)
        bytes.appendBE16(UInt16(count))
        return bytes + [0]
    }

    static func twelve(_ code: UInt8, lba: Int, count: Int, flags: UInt8 = 0) -> [UInt8] {
        var bytes: [UInt8] = [code, flags]
        bytes.appendBE32(UInt32(truncatingIfNeeded: lba))
        bytes.appendBE32(UInt32(count))
        return bytes + [0, 0]
    }

    static func sixteen(_ code: UInt8, lba: UInt64, count: Int, flags: UInt8 = 0) -> [UInt8] {
        var bytes: [UInt8] = [code, flags]
        bytes.appendBE64(lba)
        bytes.appendBE32(UInt32(count))
        return bytes + [0, 0]
    }

    /// A 32-byte command of that service action.
    static func thirtyTwo(
        _ action: UInt16, lba: UInt64, count: UInt32, flags: UInt8 = 0, additionalLength: UInt8 = 0x18
    ) -> [UInt8] {
        var bytes: [UInt8] = [OperationCode.variableLength, 0, 0, 0, 0, 0, 0, additionalLength]
        bytes.appendBE16(action)
        bytes += [flags, 0]
        bytes.appendBE64(lba)
        bytes.appendBE64(0)
        bytes.appendBE32(count)
        return bytes
    }

    static func writeAtomic(lba: UInt64, count: Int, boundary: UInt16 = 0, flags: UInt8 = 0) -> [UInt8] {
        var bytes: [UInt8] = [OperationCode.writeAtomic16, flags]
        bytes.appendBE64(lba)
        bytes.appendBE16(boundary)
        bytes.appendBE16(UInt16(count))
        return bytes + [0, 0]
    }

    static func compareAndWrite(lba: Int, count: Int, flags: UInt8 = 0) -> [UInt8] {
        var bytes: [UInt8] = [OperationCode.compareAndWrite, flags]
        bytes.appendBE64(UInt64(lba))
        return bytes + [0, 0, 0, UInt8(count), 0, 0]
    }

    static func unmap(length: Int) -> [UInt8] {
        var bytes: [UInt8] = [OperationCode.unmap, 0, 0, 0, 0, 0, 0]
        bytes.appendBE16(UInt16(length))
        return bytes + [0]
    }

    /// The parameter list of UNMAP.
    static func unmapList(_ extents: [(lba: UInt64, count: UInt32)]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBE16(UInt16(6 + extents.count * 16))
        bytes.appendBE16(UInt16(extents.count * 16))
        bytes.appendBE32(0)
        for extent in extents {
            bytes.appendBE64(extent.lba)
            bytes.appendBE32(extent.count)
            bytes.appendBE32(0)
        }
        return bytes
    }
}

/// The forms of READ and of WRITE, by operation code.
enum Form: String, CaseIterable, Sendable {
    case six, ten, twelve, sixteen

    var readCode: UInt8 {
        switch self {
        case .six: OperationCode.read6
        case .ten: OperationCode.read10
        case .twelve: OperationCode.read12
        case .sixteen: OperationCode.read16
        }
    }

    var writeCode: UInt8 {
        switch self {
        case .six: OperationCode.write6
        case .ten: OperationCode.write10
        case .twelve: OperationCode.write12
        case .sixteen: OperationCode.write16
        }
    }

    /// SBC has no VERIFY(6) and no WRITE AND VERIFY(6).
    var verifyCode: UInt8 {
        switch self {
        case .six: preconditionFailure("VERIFY has no form of six bytes")
        case .ten: OperationCode.verify10
        case .twelve: OperationCode.verify12
        case .sixteen: OperationCode.verify16
        }
    }

    var writeAndVerifyCode: UInt8 {
        switch self {
        case .six: preconditionFailure("WRITE AND VERIFY has no form of six bytes")
        case .ten: OperationCode.writeAndVerify10
        case .twelve: OperationCode.writeAndVerify12
        case .sixteen: OperationCode.writeAndVerify16
        }
    }

    /// Where the transfer length is.
    var lengthOffset: Int { [.six: 4, .ten: 7, .twelve: 6, .sixteen: 10][self]! }

    func command(_ code: UInt8, lba: Int, count: Int, flags: UInt8 = 0) -> [UInt8] {
        switch self {
        case .six: CDB.six(code, lba: lba, count: count)
        case .ten: CDB.ten(code, lba: lba, count: count, flags: flags)
        case .twelve: CDB.twelve(code, lba: lba, count: count, flags: flags)
        case .sixteen: CDB.sixteen(code, lba: UInt64(lba), count: count, flags: flags)
        }
    }
}
