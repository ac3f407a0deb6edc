import Bytes
import DeviceTestSupport
import ISCSI
import ISCSIPort
import Initiator
import Platform
import SCSI
import Testing

/// A session of several connections whose PDUs the test makes itself: one numbering, one set of tags.
final class SharedSession {
    let fixture: PortFixture
    let settings: InitiatorSettings
    let unit = LogicalUnitNumber(0)
    private(set) var connections: [UInt16: BlockingInitiator] = [:]
    private(set) var report: LoginReport
    var cmdSN: SequenceNumber
    private var tag: UInt32 = 0x100

    /// Logs in with connection 0 and takes the unit attention.
    init(
        _ fixture: PortFixture, errorRecoveryLevel: Int = 0, retain: Int = 20,
        _ change: (inout InitiatorSettings) -> Void = { _ in }
    ) throws {
        self.fixture = fixture
        var settings = InitiatorSettings(targetName: PortFixture.targetName)
        settings.operational.preferred.maxConnections = 8
        settings.operational.preferred.errorRecoveryLevel = errorRecoveryLevel
        settings.operational.preferred.defaultTime2Wait = 0
        settings.operational.preferred.defaultTime2Retain = retain
        change(&settings)
        self.settings = settings
        let first = try BlockingInitiator.logIn(to: fixture.address, settings)
        report = try #require(first.loginReport)
        _ = try first.waitUntilReady(unit)
        cmdSN = first.nextCmdSN
        connections[settings.connectionID] = first
    }

    subscript(connectionID: UInt16) -> BlockingInitiator {
        guard let connection = connections[connectionID] else { preconditionFailure("no connection \(connectionID)") }
        return connection
    }

    /// Logs in once more: a further connection, or one that is replaced.
    @discardableResult
    func join(
        _ connectionID: UInt16, at address: SocketAddress? = nil, _ change: (inout InitiatorSettings) -> Void = { _ in }
    ) throws -> BlockingInitiator {
        var settings = settings.joining(report, connectionID: connectionID, cmdSN: cmdSN)
        change(&settings)
        let connection = try BlockingInitiator.logIn(to: address ?? fixture.address, settings)
        connections[connectionID] = connection
        return connection
    }

    /// Breaks a connection and waits until the target has noticed.
    func drop(_ connectionID: UInt16) throws {
        let connection = self[connectionID]
        connection.connection.socket.shutdownWriting()
        try connection.connection.waitUntilClosed()
        connections[connectionID] = nil
    }

    func takeTag() -> UInt32 {
        tag += 1
        return tag
    }

    func takeCmdSN() -> SequenceNumber {
        defer { cmdSN = cmdSN.advanced(by: 1) }
        return cmdSN
    }

    /// A command with the next CmdSN, or what `change` makes of it.
    func command(_ cdb: CommandDescriptorBlock, _ change: (inout SCSICommandPDU) -> Void = { _ in }) -> SCSICommandPDU {
        var command = SCSICommandPDU()
        command.initiatorTaskTag = takeTag()
        command.cmdSN = takeCmdSN()
        command.logicalUnitNumber = unit
        command.cdb = cdb
        change(&command)
        return command
    }

    /// READ(10) of that many blocks.
    func read(_ block: Int, _ count: Int) -> SCSICommandPDU {
        command(read10(block, count)) {
            $0.isRead = true
            $0.expectedDataTransferLength = UInt32(count * MemoryDevice.blockLength)
        }
    }

    /// WRITE(10) of that many blocks.
    func write(_ block: Int, _ count: Int, immediate: Int = 0) -> SCSICommandPDU {
        command(write10(block, count)) {
            $0.isWrite = true
            $0.expectedDataTransferLength = UInt32(count * MemoryDevice.blockLength)
            $0.dataSegmentLength = immediate
        }
    }

    /// A command that waits with the medium until the test lets it go.
    func wait() -> SCSICommandPDU { command(CommandDescriptorBlock([MemoryDevice.wait, 0, 0, 0, 0, 0])) }

    /// Sends a PDU on a connection, with its ExpStatSN.
    func send<Header: PDUHeader>(
        _ header: Header, data: [UInt8] = [], on connectionID: UInt16, acknowledging expStatSN: SequenceNumber? = nil
    ) throws {
        var segment = BasicHeaderSegment(header)
        let number = expStatSN ?? self[connectionID].expStatSN
        segment.modifyBytes { $0.storeBE32(number.rawValue, at: 28) }
        try self[connectionID].connection.send(segment, data: data)
    }

    /// The PDU that comes next on a connection.
    func receive<Header: PDUHeader>(_ kind: Header.Type, on connectionID: UInt16) throws -> Header {
        let pdu = try self[connectionID].receive()
        return try #require(pdu.parsed(as: kind), "opcode \(pdu.opcode.rawValue) came instead")
    }

    /// All of a command's Data-In and its status, on a connection.
    func readOutcome(on connectionID: UInt16) throws -> (data: [UInt8], status: SCSIStatus, tag: UInt32) {
        var bytes: [UInt8] = []
        while true {
            let pdu = try self[connectionID].receive()
            if let data: DataInPDU = pdu.parsed() {
                let end = Int(data.bufferOffset) + pdu.data.count
                if bytes.count < end { bytes += [UInt8](repeating: 0, count: end - bytes.count) }
                bytes.replaceSubrange(Int(data.bufferOffset)..<end, with: pdu.data)
                if data.hasStatus { return (bytes, data.status, data.initiatorTaskTag) }
            } else {
                let response = try #require(pdu.parsed(as: SCSIResponsePDU.self))
                return (bytes, response.status, response.initiatorTaskTag)
            }
        }
    }

    /// Answers an R2T with all of its data, cut from `data`.
    func answer(_ request: ReadyToTransferPDU, from data: [UInt8], on connectionID: UInt16) throws {
        let start = Int(request.bufferOffset)
        let part = Array(data[start..<start + Int(request.desiredDataTransferLength)])
        try send(dataOut(request, part), data: part, on: connectionID)
    }

    /// The Data-Out of an R2T as one PDU.
    func dataOut(_ request: ReadyToTransferPDU, _ data: [UInt8]) -> DataOutPDU {
        var pdu = DataOutPDU()
        pdu.logicalUnitNumber = request.logicalUnitNumber
        pdu.initiatorTaskTag = request.initiatorTaskTag
        pdu.targetTransferTag = request.targetTransferTag
        pdu.bufferOffset = request.bufferOffset
        pdu.dataSegmentLength = data.count
        return pdu
    }

    /// Whether an immediate ping is echoed before anything else comes: nothing was on its way.
    func isQuiet(_ connectionID: UInt16) throws -> Bool {
        var ping = NOPOutPDU()
        ping.isImmediate = true
        ping.initiatorTaskTag = takeTag()
        ping.cmdSN = cmdSN
        try send(ping, on: connectionID)
        return try self[connectionID].receive().parsed(as: NOPInPDU.self)?.initiatorTaskTag == ping.initiatorTaskTag
    }

    /// Performs a task management function on a connection.
    func manage(
        _ function: TaskManagementFunction, task: UInt32 = reservedTag, expDataSN: UInt32 = 0, on connectionID: UInt16
    ) throws -> TaskManagementOutcome {
        var request = TaskManagementRequestPDU()
        request.functionCode = function.rawValue
        request.initiatorTaskTag = takeTag()
        request.referencedTaskTag = task
        request.cmdSN = cmdSN
        request.expDataSN = expDataSN
        try send(request, on: connectionID)
        return try receive(TaskManagementResponsePDU.self, on: connectionID).response
    }

    /// Logs out on a connection.
    func logOut(
        _ reason: LogoutReason, connectionID: UInt16 = 0, on carrier: UInt16
    ) throws -> LogoutResponsePDU {
        var request = LogoutRequestPDU()
        request.reason = reason
        request.initiatorTaskTag = takeTag()
        request.connectionID = connectionID
        request.cmdSN = cmdSN
        try send(request, on: carrier)
        return try receive(LogoutResponsePDU.self, on: carrier)
    }

    /// Sends a SNACK Request.
    func snack(
        _ type: SNACKType, task: UInt32 = reservedTag, transfer: UInt32 = reservedTag, from begRun: UInt32 = 0,
        count: UInt32 = 0, on connectionID: UInt16, acknowledging expStatSN: SequenceNumber? = nil
    ) throws {
        var request = SNACKRequestPDU()
        request.type = type
        request.initiatorTaskTag = task
        request.targetTransferTag = transfer
        request.begRun = begRun
        request.runLength = count
        try send(request, on: connectionID, acknowledging: expStatSN)
    }
}
