internal import Bytes
internal import DeviceTestSupport
internal import ISCSI
internal import SCSI

/// The input is a stream of bytes for one connection.
enum StreamTarget {
    static func run(_ input: [UInt8]) throws(FuzzFinding) {
        try converse(input)
        try FuzzFixture.shared.clear()
    }

    private static func converse(_ input: [UInt8]) throws(FuzzFinding) {
        let peer = FuzzPeer()
        peer.isInStep = false
        try peer.send(raw: input)
        peer.endStream()
        try peer.awaitEnd()
    }
}

/// The input is a program: operations and their operands, on up to three connections of one session or of several.
enum SessionTarget {
    static func run(_ input: [UInt8]) throws(FuzzFinding) {
        try converse(input)
        try FuzzFixture.shared.clear()
    }

    private static func converse(_ input: [UInt8]) throws(FuzzFinding) {
        var program = SessionProgram(input)
        try program.run()
    }
}

/// A program that runs.
struct SessionProgram {
    private static let maximumOperations = 96

    private var reader: FuzzReader
    private var peers: [FuzzPeer?] = [nil, nil, nil]
    private var current = 0
    private var cmdSN = SequenceNumber(1)
    private var handle: UInt16 = 0
    private var sessionParameters: NegotiatedParameters?
    private var damage = FuzzPeer.Damage()

    init(_ input: [UInt8]) { reader = FuzzReader(input) }

    mutating func run() throws(FuzzFinding) {
        try connect(0)
        var operations = 0
        while !reader.isAtEnd, operations < Self.maximumOperations {
            operations += 1
            try operate()
            for case let peer? in peers { try peer.receiveAvailable() }
        }
        for case let peer? in peers { try peer.settle() }
    }

    private mutating func operate() throws(FuzzFinding) {
        let code = reader.byte()
        let option = code >> 4
        switch code & 0x0F {
        case 0: try connect(Int(option) % peers.count)
        case 1: try command(option)
        case 2: try dataOut(option)
        case 3: try answerTransfer(option)
        case 4: try manage(option)
        case 5: try ping(option)
        case 6: try text(option)
        case 7: try logOut(option)
        case 8: try acknowledge(option)
        case 9: try anyPDU(option)
        case 10:
            peers[current]?.isInStep = false
            try peers[current]?.send(raw: reader.bytes(Int(reader.byte())))
        case 11: try settle()
        case 12:
            if option & 1 != 0 { peers[current]?.endStream() } else { peers[current] = nil }
        case 13:
            damage.header = option & 1 != 0
            damage.data = option & 2 != 0
        case 14: damage.cut = reader.number16() % 4096 + 1
        default: current = Int(option) % peers.count
        }
    }

    // MARK: Connections

    /// Opens a connection, and logs in with the settings that two bytes say.
    private mutating func connect(_ number: Int) throws(FuzzFinding) {
        let (first, second) = (reader.byte(), reader.byte())
        current = number
        peers[number] = nil
        let peer = FuzzPeer()
        peers[number] = peer
        guard first != 0xFF else { return }
        let isDiscovery = first & 0x1F == 0x1F
        var configuration = InitiatorLoginConfiguration(
            initiatorName: FuzzIdentity.initiatorName, sessionType: isDiscovery ? .discovery : .normal,
            targetName: isDiscovery ? nil : FuzzIdentity.targetName,
            initiatorSessionID: InitiatorSessionID(rawValue: second & 0x80 != 0 ? 0x8000_0000_0002 : 0x8000_0000_0001))
        configuration.connectionID = UInt16(number)
        configuration.firstCmdSN = cmdSN
        if second & 0x40 != 0, let sessionParameters {
            configuration.targetSessionHandle = handle
            configuration.sessionParameters = sessionParameters
        }
        configuration.settings = Self.settings(first, second)
        configuration.startsWithSecurityStage = second & 0x20 != 0
        guard let result = try peer.logIn(configuration) else { return }
        if configuration.targetSessionHandle == 0 {
            handle = result.handle
            cmdSN = result.cmdSN
            sessionParameters = peer.parameters
        }
    }

    private static func settings(_ first: UInt8, _ second: UInt8) -> OperationalSettings {
        var preferred = NegotiatedParameters()
        preferred.initialR2T = first & 4 != 0
        preferred.immediateData = first & 8 == 0
        preferred.errorRecoveryLevel = Int(second & 3) % 3
        preferred.maxConnections = 3
        preferred.maxOutstandingR2T = first & 16 != 0 ? 4 : 1
        preferred.defaultTime2Wait = 0
        preferred.defaultTime2Retain = second & 4 != 0 ? 1 : 0
        preferred.maxBurstLength = first & 32 != 0 ? 1024 : 65_536
        preferred.firstBurstLength = first & 64 != 0 ? 512 : 4096
        preferred.maxRecvDataSegmentLength = first & 128 != 0 ? 512 : 65_536
        preferred.dataPDUInOrder = second & 8 == 0
        preferred.dataSequenceInOrder = second & 16 == 0
        var settings = OperationalSettings(preferred: preferred)
        settings.headerDigests = first & 1 != 0 ? [.crc32c] : [.none]
        settings.dataDigests = first & 2 != 0 ? [.crc32c] : [.none]
        settings.taskReporting = second & 4 != 0 ? [.fastAbort, .rfc3720] : [.responseFence, .rfc3720]
        return settings
    }

    private mutating func settle() throws(FuzzFinding) {
        guard let peer = peers[current] else { return }
        try peer.settle()
        // A command that was rejected has left a gap, which would keep all that follow waiting.
        if let next = peer.expCmdSN, peer.isLive { cmdSN = next }
    }

    // MARK: PDUs

    /// The CmdSN of the next request: the right one, or with an odd operand another.
    private mutating func number(isImmediate: Bool, _ isOdd: Bool) -> SequenceNumber {
        if isOdd { return SequenceNumber(cmdSN.rawValue &+ UInt32(bitPattern: Int32(Int8(bitPattern: reader.byte())))) }
        defer { if !isImmediate { cmdSN = cmdSN.advanced(by: 1) } }
        return cmdSN
    }

    private var expStatSN: SequenceNumber { SequenceNumber((peers[current]?.lastStatSN ?? 0) &+ 1) }

    private mutating func send<Header: PDUHeader>(
        _ header: Header, additional: [UInt8] = [], data: [UInt8] = []
    ) throws(FuzzFinding) {
        try send(BasicHeaderSegment(header).bytes.copyToArray(), additional: additional, data: data)
    }

    private mutating func send(_ header: [UInt8], additional: [UInt8] = [], data: [UInt8]) throws(FuzzFinding) {
        try peers[current]?.send(header, additional: additional, data: data, damage: damage)
        damage = FuzzPeer.Damage()
    }

    private func pattern(_ count: Int) -> [UInt8] { [UInt8](repeating: 0xA5, count: count) }

    private mutating func command(_ option: UInt8) throws(FuzzFinding) {
        let kind = reader.byte()
        let blocks = reader.byte()
        var command = SCSICommandPDU()
        command.isImmediate = option & 1 != 0
        command.cmdSN = number(isImmediate: command.isImmediate, option & 2 != 0)
        command.attributes = option & 4 != 0 ? reader.byte() & 7 : 1
        command.initiatorTaskTag = UInt32(reader.byte())
        command.expStatSN = expStatSN
        command.logicalUnitNumber = LogicalUnitNumber(Int(kind >> 6))
        var additional: [UInt8] = []
        var length = Int(blocks) * MemoryDevice.blockLength
        switch kind & 0x0F {
        case 0, 1, 2:
            command.isRead = true
            command.cdb = CommandDescriptorBlock([OperationCode.read10, 0, 0, 0, 0, kind >> 4 & 3, 0, 0, blocks, 0])
        case 3, 4, 5, 6:
            command.isWrite = true
            command.cdb = CommandDescriptorBlock([OperationCode.write10, 0, 0, 0, 0, kind >> 4 & 3, 0, 0, blocks, 0])
        case 7: command.cdb = CommandDescriptorBlock([MemoryDevice.wait, 0, 0, 0, 0, 0])
        case 8: command.cdb = CommandDescriptorBlock([MemoryDevice.letGo, 0, 0, 0, 0, 0])
        case 9:
            command.isRead = true
            command.cdb = CommandDescriptorBlock([OperationCode.inquiry, 0, 0, 0, blocks, 0])
            length = Int(blocks)
        case 10:
            command.isRead = true
            command.cdb = CommandDescriptorBlock([OperationCode.reportLUNs, 0, 0, 0, 0, 0, 0, 0, 16, blocks, 0, 0])
            length = 16 << 8 | Int(blocks)
        case 11: command.cdb = CommandDescriptorBlock([OperationCode.testUnitReady, 0, 0, 0, 0, 0])
        case 12:
            let flags = reader.byte()
            command.isRead = flags & 1 != 0
            command.isWrite = flags & 2 != 0
            additional = reader.bytes(Int(flags >> 2 & 7) * 4)
            additional += [UInt8](repeating: 0, count: -additional.count & 3)
            command.cdb = CommandDescriptorBlock(reader.bytes(16))
        default: command.cdb = CommandDescriptorBlock([kind] + reader.bytes(15))
        }
        if option & 8 != 0 { length = reader.number16() }
        command.expectedDataTransferLength = UInt32(length)
        var data: [UInt8] = []
        if command.isWrite {
            let mode = reader.byte()
            command.isFinal = mode & 1 == 0
            let parameters = peers[current]?.parameters ?? NegotiatedParameters()
            let burst = min(length, parameters.firstBurstLength, 4096)
            if mode & 2 == 0, parameters.immediateData { data = pattern(mode & 4 != 0 ? Int(mode) * 8 : burst) }
        }
        try send(command, additional: additional, data: data)
    }

    private mutating func dataOut(_ option: UInt8) throws(FuzzFinding) {
        var pdu = DataOutPDU()
        pdu.isFinal = option & 1 != 0
        pdu.initiatorTaskTag = UInt32(reader.byte())
        pdu.dataSN = UInt32(reader.byte())
        pdu.expStatSN = expStatSN
        let offset = reader.byte()
        pdu.bufferOffset = UInt32(offset) * 512
        if option & 2 != 0, let transfer = peers[current]?.transfers.last {
            pdu.initiatorTaskTag = transfer.initiatorTaskTag
            pdu.targetTransferTag = transfer.targetTransferTag
            pdu.bufferOffset = transfer.bufferOffset &+ UInt32(offset) * 4
        } else if option & 4 != 0 {
            pdu.targetTransferTag = reader.number32()
        }
        if option & 8 != 0 { pdu.logicalUnitNumber = LogicalUnitNumber(rawValue: UInt64(reader.byte()) << 48) }
        try send(pdu, data: pattern(Int(reader.byte()) * 16))
    }

    /// Answers an R2T as it asks, in pieces of any length.
    private mutating func answerTransfer(_ option: UInt8) throws(FuzzFinding) {
        guard let peer = peers[current] else { return }
        if peer.transfers.isEmpty { try peer.settle() }
        guard let transfer = peer.takeTransfer() else { return }
        let limit = min(peer.parameters.maxSendDataSegmentLength, 512 << Int(option >> 2))
        let total = Int(transfer.desiredDataTransferLength)
        var sent = 0
        var dataSN: UInt32 = 0
        while sent < total {
            var pdu = DataOutPDU()
            let count = min(limit, total - sent)
            pdu.isFinal = sent + count == total
            pdu.initiatorTaskTag = transfer.initiatorTaskTag
            pdu.targetTransferTag = transfer.targetTransferTag
            pdu.logicalUnitNumber = transfer.logicalUnitNumber
            pdu.expStatSN = expStatSN
            pdu.dataSN = dataSN
            pdu.bufferOffset = transfer.bufferOffset + UInt32(sent)
            sent += count
            dataSN += 1
            // One piece may be lost.
            if option & 1 == 0 || dataSN != 2 { try send(pdu, data: pattern(count)) }
        }
    }

    private mutating func manage(_ option: UInt8) throws(FuzzFinding) {
        var request = TaskManagementRequestPDU()
        request.functionCode = reader.byte() % 16
        let operands = reader.byte()
        request.isImmediate = option & 1 == 0
        request.cmdSN = number(isImmediate: request.isImmediate, option & 2 != 0)
        request.initiatorTaskTag = 0x100 + UInt32(operands)
        request.referencedTaskTag = UInt32(reader.byte())
        if option & 4 != 0 { request.referencedTaskTag = reservedTag }
        request.refCmdSN = SequenceNumber(cmdSN.rawValue &- UInt32(reader.byte()))
        request.logicalUnitNumber = LogicalUnitNumber(Int(operands >> 6))
        request.expStatSN = expStatSN
        if option & 8 != 0 { request.expDataSN = UInt32(reader.byte()) }
        try send(request)
    }

    private mutating func ping(_ option: UInt8) throws(FuzzFinding) {
        var ping = NOPOutPDU()
        ping.isImmediate = option & 1 != 0
        ping.cmdSN = number(isImmediate: ping.isImmediate, option & 2 != 0)
        ping.initiatorTaskTag = option & 4 != 0 ? reservedTag : 0x200 + UInt32(reader.byte())
        if option & 8 != 0 { ping.targetTransferTag = peers[current]?.pingTag ?? 1 }
        ping.expStatSN = expStatSN
        try send(ping, data: pattern(Int(reader.byte()) * 8))
    }

    private mutating func text(_ option: UInt8) throws(FuzzFinding) {
        var request = TextRequestPDU()
        request.isImmediate = option & 1 != 0
        request.cmdSN = number(isImmediate: request.isImmediate, false)
        request.isFinal = option & 2 == 0
        request.isContinued = option & 4 != 0
        request.initiatorTaskTag = 0x300
        if option & 8 != 0 { request.targetTransferTag = peers[current]?.textTag ?? 1 }
        request.expStatSN = expStatSN
        let length = reader.byte()
        let content = length == 0xFF ? Array("SendTargets=All\0".utf8) : reader.bytes(Int(length))
        try send(request, data: content)
    }

    private mutating func logOut(_ option: UInt8) throws(FuzzFinding) {
        var request = LogoutRequestPDU()
        request.isImmediate = option & 1 == 0
        request.cmdSN = number(isImmediate: request.isImmediate, option & 2 != 0)
        request.reason = LogoutReason(rawValue: reader.byte() % 4)
        request.connectionID = UInt16(reader.byte() % 4)
        request.initiatorTaskTag = 0x400
        request.expStatSN = expStatSN
        try send(request)
        // A logout of the session, or of this connection, may end others too.
        for case let peer? in peers { peer.expectEnd() }
    }

    private mutating func acknowledge(_ option: UInt8) throws(FuzzFinding) {
        var request = SNACKRequestPDU()
        request.type = SNACKType(rawValue: option & 3)
        request.initiatorTaskTag = option & 4 != 0 ? reservedTag : UInt32(reader.byte())
        request.targetTransferTag = option & 8 != 0 ? peers[current]?.dataTag ?? reservedTag : reservedTag
        request.expStatSN = expStatSN
        request.begRun = UInt32(reader.byte())
        if option & 4 != 0 { request.begRun = request.begRun &+ (peers[current]?.lastStatSN ?? 0) &- 8 }
        request.runLength = UInt32(reader.byte())
        for case let peer? in peers { peer.expectRepetition() }
        try send(request)
    }

    /// A header that is the input's, with lengths that are right or not.
    private mutating func anyPDU(_ option: UInt8) throws(FuzzFinding) {
        var header = reader.bytes(BasicHeaderSegment.length)
        header += [UInt8](repeating: 0, count: BasicHeaderSegment.length - header.count)
        for case let peer? in peers { peer.expectRepetition() }
        guard option & 1 == 0 else {
            peers[current]?.isInStep = false
            try peers[current]?.send(raw: header)
            return
        }
        if option & 2 != 0 {
            var bytes: [UInt8] = []
            bytes.appendBE32(cmdSN.rawValue)
            header.replaceSubrange(24..<28, with: bytes)
            cmdSN = cmdSN.advanced(by: 1)
        }
        // It may be a logout.
        for case let peer? in peers { peer.expectEnd() }
        let additional = [UInt8](repeating: 0, count: option & 4 != 0 ? Int(header[4] % 11) * 4 : 0)
        try send(header, additional: additional, data: pattern(option & 8 != 0 ? Int(reader.byte()) * 4 : 0))
    }
}
