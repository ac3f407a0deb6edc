internal import Bytes
internal import Initiator
internal import SCSI

/// The commands of a sequential access device that the durability check needs (SSC-5).
extension LogicalUnitProbe {
    /// How reading an object ended.
    enum ReadObject {
        case record([UInt8])
        case filemark
        case endOfData
    }

    /// A command of six bytes whose bytes 2–4 hold `count`.
    private func short(_ operationCode: UInt8, flags: UInt8 = 0, _ count: Int) -> [UInt8] {
        var cdb: [UInt8] = [operationCode, flags]
        cdb.appendBE24(UInt32(count))
        return cdb + [0]
    }

    func rewind() throws {
        try execute("REWIND", short(OperationCode.rewind, 0))
    }

    /// Reads one object of at most `limit` bytes.
    func readObject(limit: Int) throws -> ReadObject {
        // SILI: a shorter record is no error (SSC-5 clause 6.6).
        let outcome = try initiator.execute(
            CommandDescriptorBlock(short(OperationCode.read6, flags: 0x02, limit)), on: logicalUnitNumber,
            expectedDataInLength: limit)
        if outcome.isGood { return .record(outcome.dataIn) }
        guard let sense = outcome.sense else { throw Complaint("READ(6) failed: \(outcome.summary)") }
        if sense.isFilemark { return .filemark }
        if sense.key == .blankCheck { return .endOfData }
        throw Complaint("READ(6) failed: \(outcome.summary)")
    }

    /// Writes a record; false in early warning or at the end of the tape, where nothing more should be written.
    func writeRecord(_ data: [UInt8]) throws -> Bool {
        let outcome = try initiator.execute(
            CommandDescriptorBlock(short(OperationCode.write6, data.count)), on: logicalUnitNumber, dataOut: data)
        if outcome.isGood { return true }
        if let sense = outcome.sense, sense.isEndOfMedium { return false }
        throw Complaint("WRITE(6) failed: \(outcome.summary)")
    }

    /// Writes so many filemarks and waits until all is on the tape; none are only a flush. False in early warning.
    func writeFilemarks(_ count: Int) throws -> Bool {
        let outcome = try initiator.execute(
            CommandDescriptorBlock(short(OperationCode.writeFilemarks6, count)), on: logicalUnitNumber)
        if outcome.isGood { return true }
        if let sense = outcome.sense, sense.isEndOfMedium, sense.key == .noSense { return false }
        throw Complaint("WRITE FILEMARKS(6) failed: \(outcome.summary)")
    }

    /// Goes to the end of data.
    func spaceToEndOfData() throws {
        try execute("SPACE(6)", short(OperationCode.space6, flags: 0x03, 0))
    }

    func locate(_ position: UInt64) throws {
        var cdb: [UInt8] = [OperationCode.locate10, 0, 0]
        cdb.appendBE32(UInt32(position))
        try execute("LOCATE(10)", cdb + [0, 0, 0])
    }

    /// The object number that READ POSITION (short form) gives.
    func position() throws -> UInt64 {
        let cdb = [OperationCode.readPosition] + [UInt8](repeating: 0, count: 9)
        let data = try execute("READ POSITION", cdb, expectedDataInLength: 20).dataIn
        guard data.count == 20, data[0] & 0x04 == 0 else { throw Complaint("READ POSITION does not know the position") }
        return UInt64(data.rawSpan.loadBE32(at: 4))
    }
}
