import Bytes

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

    static func compareAndWrite(lba: Int, count: Int, flags: UInt8 = 0) -> [UInt8] {
        var bytes: [UInt8] = [0x89, flags]
        bytes.appendBE64(UInt64(lba))
        return bytes + [0, 0, 0, UInt8(count), 0, 0]
    }

    static func unmap(length: Int) -> [UInt8] {
        var bytes: [UInt8] = [0x42, 0, 0, 0, 0, 0, 0]
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

    var readCode: UInt8 { [.six: 0x08, .ten: 0x28, .twelve: 0xA8, .sixteen: 0x88][self]! }
    var writeCode: UInt8 { [.six: 0x0A, .ten: 0x2A, .twelve: 0xAA, .sixteen: 0x8A][self]! }
    var verifyCode: UInt8 { [.six: 0x00, .ten: 0x2F, .twelve: 0xAF, .sixteen: 0x8F][self]! }
    var writeAndVerifyCode: UInt8 { [.six: 0x00, .ten: 0x2E, .twelve: 0xAE, .sixteen: 0x8E][self]! }
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
