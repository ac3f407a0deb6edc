internal import Bytes
internal import Initiator
internal import SCSI

/// What a logical unit says about itself.
struct LogicalUnitProbe {
    /// What kinds of unit the tools can work with.
    enum Kind {
        case disk(logicalBlockLength: Int, blockCount: UInt64)
        case tape
    }

    let initiator: BlockingInitiator
    let logicalUnitNumber: LogicalUnitNumber

    /// Logs in and makes the unit ready.
    init(_ address: LogicalUnitURL, _ settings: InitiatorSettings) throws {
        initiator = try BlockingInitiator.logIn(to: address.url.portal, settings)
        logicalUnitNumber = LogicalUnitNumber(address.logicalUnit)
        let ready = try initiator.waitUntilReady(logicalUnitNumber)
        guard ready.isGood else { throw Complaint("\(address.url) is not ready: \(ready.summary)") }
    }

    /// Sends a command that must end with GOOD.
    @discardableResult
    func execute(
        _ name: String, _ cdb: [UInt8], dataOut: [UInt8] = [], expectedDataInLength: Int = 0
    ) throws -> CommandOutcome {
        let outcome = try initiator.execute(
            CommandDescriptorBlock(cdb), on: logicalUnitNumber, dataOut: dataOut,
            expectedDataInLength: expectedDataInLength)
        guard outcome.isGood else { throw Complaint("\(name) failed: \(outcome.summary)") }
        return outcome
    }

    func kind() throws -> Kind {
        let inquiry = try execute(
            "INQUIRY", [OperationCode.inquiry, 0, 0, 0, 36, 0], expectedDataInLength: 36)
        switch inquiry.dataIn.first.flatMap({ PeripheralDeviceType(rawValue: $0 & 0x1F) }) {
        case .directAccessBlock:
            let (count, length) = try capacity()
            return .disk(logicalBlockLength: length, blockCount: count)
        case .sequentialAccess: return .tape
        default: throw Complaint("the logical unit is neither a disk nor a tape drive")
        }
    }

    private func capacity() throws -> (blockCount: UInt64, logicalBlockLength: Int) {
        let cdb: [UInt8] = [OperationCode.serviceActionIn16, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0]
        let data = try execute("READ CAPACITY(16)", cdb, expectedDataInLength: 32).dataIn
        guard data.count >= 12 else { throw Complaint("READ CAPACITY(16) gave \(data.count) bytes") }
        return (data.rawSpan.loadBE64(at: 0) + 1, Int(data.rawSpan.loadBE32(at: 8)))
    }
}
