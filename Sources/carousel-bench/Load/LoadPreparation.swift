internal import ISCSI
internal import Initiator
internal import Platform
internal import SCSI

/// How the connections of a load are made.
struct LoadPreparation {
    var address: LogicalUnitURL
    var operation: LoadOperation
    var pattern: LoadPattern
    var blockLength: Int
    var depth: Int
    var connections: Int
    var hasHeaderDigest = false
    var hasDataDigest = false
    var recordsPerFilemark = 0
    /// Whether the load ends by itself after one pass over a disk, or over `tapeBytes` of a tape.
    var isOnePass = false
    var tapeBytes = 0

    /// Logs all connections in and divides the work among them.
    func logIn() throws -> [LoadConnection] {
        var settings = InitiatorSettings(targetName: address.targetName)
        settings.socketBufferSize = StreamSocket.storageBufferSize
        if hasHeaderDigest { settings.operational.headerDigests = [.crc32c] }
        if hasDataDigest { settings.operational.dataDigests = [.crc32c] }
        var loads: [LoadConnection] = []
        for index in 0..<connections {
            settings.initiatorSessionID = .random()
            let probe = try LogicalUnitProbe(address, settings)
            let unit = try unit(probe, connection: index)
            var plan = LoadPlan(
                logicalUnitNumber: probe.logicalUnitNumber, unit: unit, operation: operation, pattern: pattern,
                blockLength: blockLength, depth: depth, seed: .random(in: .min ... .max))
            if isOnePass { plan.operationLimit = operationCount(of: unit) }
            loads.append(LoadConnection(try probe.initiator.handOver(), plan))
        }
        return loads
    }

    /// How many commands one pass is.
    private func operationCount(of unit: LoadUnit) -> Int {
        switch unit {
        case .disk(let logicalBlockLength, let region): region.count * logicalBlockLength / blockLength
        case .tape: tapeBytes / blockLength
        }
    }

    private func unit(_ probe: LogicalUnitProbe, connection: Int) throws -> LoadUnit {
        switch try probe.kind() {
        case .tape:
            guard operation != .mixed, connections == 1 else {
                throw Complaint("a tape is read or written, over one connection")
            }
            try probe.execute("REWIND", [OperationCode.rewind, 0, 0, 0, 0, 0])
            return .tape(recordsPerFilemark: recordsPerFilemark)
        case .disk(let length, let count):
            guard blockLength % length == 0 else {
                throw Complaint("the disk has logical blocks of \(length) bytes, so --block-size must be a multiple")
            }
            // A sequential load has a part of the disk for each connection.
            let parts = pattern == .sequential ? UInt64(connections) : 1
            let part = count / parts
            guard part * UInt64(length) >= UInt64(blockLength) else {
                throw Complaint("the disk is too small: \(count) blocks of \(length) bytes")
            }
            let start = pattern == .sequential ? part * UInt64(connection) : 0
            return .disk(logicalBlockLength: length, region: start..<(start + part))
        }
    }
}
