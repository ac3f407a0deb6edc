internal import Bytes
internal import SCSI

/// A disk as tests of SBC see it: what it says of itself, and commands for its blocks. What tests write is within
/// `scratch` and the blocks before it that all tests use.
struct Disk {
    /// The first block that tests of SBC write, and how many follow that they may.
    static let scratch = 256
    static let scratchLength = 1024
    /// How many blocks at the end tests of commands that reach it write, and put back.
    static let tailLength = 4

    let wire: Wire
    let blockLength: Int
    /// The number of blocks.
    let count: UInt64
    /// The data of READ CAPACITY(16), 32 bytes; nil when the unit does not have it.
    let longCapacity: [UInt8]?
    /// VPD page B0h, Block Limits, of 60 bytes; nil when it is not listed.
    let limits: [UInt8]?
    /// The flags of VPD page B2h, Logical Block Provisioning: byte 5 of the page.
    let provisioning: UInt8?

    init(_ wire: Wire) throws {
        self.wire = wire
        let capacity = try wire.run(Self.readCapacity16(32))
        longCapacity = capacity.isGood && capacity.dataIn.count >= 32 ? capacity.dataIn : nil
        blockLength = longCapacity.map { Int($0.rawSpan.loadBE32(at: 8)) } ?? wire.bench.survey.blockLength
        count = longCapacity.map { $0.rawSpan.loadBE64(at: 0) &+ 1 } ?? UInt64(wire.bench.survey.blockCount)
        limits = try wire.vitalProductData(0xB0).map { Array(($0 + [UInt8](repeating: 0, count: 60)).prefix(60)) }
        let page = try wire.vitalProductData(0xB2)
        provisioning = (page?.count ?? 0) >= 4 ? page?[1] : nil
    }

    /// The last block.
    var last: UInt64 { count - 1 }

    static func readCapacity16(_ allocationLength: Int) -> Command {
        var cdb: [UInt8] = [OperationCode.serviceActionIn16, 0x10] + [UInt8](repeating: 0, count: 8)
        cdb.appendBE32(UInt32(allocationLength))
        return .reading(cdb + [0, 0], allocationLength)
    }

    /// The type of protection information that the medium is formatted with, 1 to 3; nil when it has none.
    var protectionType: Int? {
        guard let capacity = longCapacity, capacity[12] & 1 != 0 else { return nil }
        return Int(capacity[12] >> 1 & 0x07) + 1
    }

    /// A field of the Block Limits page; zero means that there is no such limit, or no such page.
    func limit32(at offset: Int) -> UInt64 { limits.map { UInt64($0.rawSpan.loadBE32(at: offset)) } ?? 0 }
    var maximumTransferLength: UInt64 { limit32(at: 4) }
    var maximumCompareAndWrite: Int { limits.map { Int($0[1]) } ?? 0 }
    var maximumWriteSame: UInt64 { limits.map { $0.rawSpan.loadBE64(at: 32) } ?? 0 }
    /// WSNZ.
    var refusesZeroWriteSame: Bool { limits.map { $0[0] & 1 != 0 } ?? false }

    /// LBPU, LBPWS, LBPWS10, LBPRZ and ANC_SUP.
    func hasProvisioning(_ bit: UInt8) -> Bool { (provisioning ?? 0) & bit != 0 }
    static let unmaps: UInt8 = 0x80
    static let writeSameUnmaps: UInt8 = 0x40
    static let unmappedReadAsZeros: UInt8 = 0x04
    static let anchors: UInt8 = 0x02

    // MARK: Commands

    /// A CDB of the form of its operation code's group, or of 32 bytes with that service action.
    static func block(
        _ operationCode: UInt8, _ first: UInt64, _ count: UInt64, flags: UInt8 = 0, action: UInt16 = 0
    ) -> [UInt8] {
        var cdb: [UInt8] = [operationCode]
        let short = UInt32(truncatingIfNeeded: count)
        switch operationCode >> 5 {
        case 0:
            cdb.appendBE24(UInt32(first & 0x1F_FFFF))
            cdb += [UInt8(truncatingIfNeeded: count), 0]
        case 3:
            cdb += [0, 0, 0, 0, 0, 0, 0x18]
            cdb.appendBE16(action)
            cdb += [flags, 0]
            cdb.appendBE64(first)
            cdb += [UInt8](repeating: 0, count: 8)
            cdb.appendBE32(short)
        case 4:
            cdb.append(flags)
            cdb.appendBE64(first)
            switch operationCode {
            case OperationCode.compareAndWrite: cdb += [0, 0, 0, UInt8(truncatingIfNeeded: count), 0, 0]
            case OperationCode.writeAtomic16:
                cdb += [0, 0]
                cdb.appendBE16(UInt16(truncatingIfNeeded: count))
                cdb += [0, 0]
            default:
                cdb.appendBE32(short)
                cdb += [0, 0]
            }
        case 5:
            cdb.append(flags)
            cdb.appendBE32(UInt32(truncatingIfNeeded: first))
            cdb.appendBE32(short)
            cdb += [0, 0]
        default:
            cdb.append(flags)
            cdb.appendBE32(UInt32(truncatingIfNeeded: first))
            cdb.append(0)
            cdb.appendBE16(UInt16(truncatingIfNeeded: count))
            cdb.append(0)
        }
        return cdb
    }

    /// The highest address that a command of that operation code can have.
    static func highestAddress(_ operationCode: UInt8) -> UInt64 {
        switch operationCode >> 5 {
        case 0: 0x1F_FFFF
        case 3, 4: UInt64.max
        default: UInt64(UInt32.max)
        }
    }

    /// A command that reads.
    func reading(_ operationCode: UInt8, _ first: UInt64, _ count: UInt64, flags: UInt8 = 0) throws -> CommandResult {
        try wire.run(
            .reading(
                Self.block(operationCode, first, count, flags: flags), Int(min(count, 64)) * blockLength))
    }

    /// A command that writes, or compares, `data`.
    func writing(
        _ operationCode: UInt8, _ first: UInt64, _ count: UInt64, _ data: [UInt8], flags: UInt8 = 0
    ) throws -> CommandResult {
        try wire.run(.writing(Self.block(operationCode, first, count, flags: flags), data))
    }

    /// The blocks' data.
    func read(_ first: Int, _ count: Int) throws -> [UInt8] {
        let data = try expectGood(
            try wire.run(.read(first, count, blockLength: blockLength)), "READ of \(count) blocks at \(first)")
        try require(data.count == count * blockLength, "\(count) blocks", got: "\(data.count) bytes")
        return data
    }

    func write(_ first: Int, _ data: [UInt8]) throws {
        try expectGood(
            try wire.run(.write(first, data, blockLength: blockLength)),
            "WRITE of \(data.count / blockLength) blocks at \(first)")
    }

    /// Writes blocks that differ from each other and from those of another seed, and gives what they hold.
    func fill(_ first: Int, _ count: Int, seed: Int) throws -> [UInt8] {
        let data = pattern(count, seed: seed)
        try write(first, data)
        return data
    }

    func pattern(_ count: Int, seed: Int) -> [UInt8] { Command.pattern(count * blockLength, seed: seed) }

    func zeros(_ count: Int) -> [UInt8] { [UInt8](repeating: 0, count: count * blockLength) }

    /// Requires that the blocks hold `data`.
    func expect(_ data: [UInt8], at first: Int, _ what: @autoclosure () -> String) throws {
        let found = try read(first, data.count / blockLength)
        guard let place = zip(found, data).enumerated().first(where: { $1.0 != $1.1 })?.offset else { return }
        throw TestEnd.failed(
            expected: what(), got: "another byte \(place % blockLength) in block \(first + place / blockLength)")
    }
}

extension ConformanceTest {
    /// A test of a disk (SBC-4).
    static func disk(
        _ name: String, _ clause: String, _ rule: String, _ requirements: Requirement...,
        body: @escaping @Sendable (Disk) throws -> Void
    ) -> ConformanceTest {
        ConformanceTest("SBC.\(name)", standard: "SBC-4 clause \(clause)", rule, [.disk] + requirements) { bench in
            try body(try Disk(try bench.logInToUnit()))
        }
    }
}
