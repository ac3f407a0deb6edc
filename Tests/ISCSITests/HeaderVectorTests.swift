import Bytes
import ISCSI
import SCSI
import Testing

/// The bytes that a header encodes to.
func encoded<Header: PDUHeader>(_ header: Header) -> [UInt8] {
    BasicHeaderSegment(header).bytes.copyToArray()
}

/// The header in `bytes`, which must be there.
func parsed<Header: PDUHeader>(_ kind: Header.Type, _ bytes: [UInt8]) throws -> Header {
    let header = Header(parsing: bytes.rawSpan)
    return try #require(header)
}

/// 48 bytes made of 12 words, as the RFC's diagrams show them.
func words(_ words: UInt32...) -> [UInt8] {
    precondition(words.count == 12)
    var bytes: [UInt8] = []
    for word in words { bytes.appendBE32(word) }
    return bytes
}

/// Every header against bytes made by hand from the diagrams of RFC 7143 sections 11.3 to 11.19.
@Suite("Header byte vectors")
struct HeaderVectorTests {
    @Test("SCSI Command")
    func scsiCommand() throws {
        var command = SCSICommandPDU()
        command.isImmediate = true
        command.isFinal = true
        command.isWrite = true
        command.attributes = 2
        command.additionalHeaderLength = 8
        command.dataSegmentLength = 0x01_0203
        command.logicalUnitNumber = LogicalUnitNumber(5)
        command.initiatorTaskTag = 0x1111_1111
        command.expectedDataTransferLength = 0x2222_2222
        command.cmdSN = SequenceNumber(0x3333_3333)
        command.expStatSN = SequenceNumber(0x4444_4444)
        command.cdb = CommandDescriptorBlock([OperationCode.write10, 0, 0, 0, 0, 7, 0, 0, 1, 0, 0, 0, 0, 0, 0, 9])
        let vector = words(
            0x41A2_0000, 0x0201_0203, 0x0005_0000, 0, 0x1111_1111, 0x2222_2222, 0x3333_3333, 0x4444_4444,
            0x2A00_0000, 0x0007_0000, 0x0100_0000, 9)
        #expect(encoded(command) == vector)
        let again = try parsed(SCSICommandPDU.self, vector)
        #expect(again.isImmediate && again.isFinal && again.isWrite && !again.isRead)
        #expect(again.taskAttribute == .ordered)
        #expect(again.additionalHeaderLength == 8)
        #expect(again.dataSegmentLength == 0x01_0203)
        #expect(again.logicalUnitNumber.number == 5)
        #expect(again.expectedDataTransferLength == 0x2222_2222)
        #expect(again.cdb.operationCode == OperationCode.write10 && again.cdb.count == 16)
        #expect(encoded(again) == vector)
    }

    @Test("Reserved task attributes have no meaning", arguments: UInt8(0)...7)
    func attributes(code: UInt8) throws {
        var command = SCSICommandPDU()
        command.attributes = code
        let again = try parsed(SCSICommandPDU.self, encoded(command))
        #expect((again.taskAttribute != nil) == (code <= 4))
    }

    @Test("SCSI Response")
    func scsiResponse() throws {
        var response = SCSIResponsePDU()
        response.status = .checkCondition
        response.residual = Residual(expected: 100, actual: 60)
        response.bidirectionalReadResidual = Residual(expected: 1, actual: 3)
        response.dataSegmentLength = 20
        response.initiatorTaskTag = 0x0A0B_0C0D
        response.snackTag = 1
        response.statSN = SequenceNumber(2)
        response.expCmdSN = SequenceNumber(3)
        response.maxCmdSN = SequenceNumber(4)
        response.expDataSN = 5
        let vector = words(0x2192_0002, 20, 0, 0, 0x0A0B_0C0D, 1, 2, 3, 4, 5, 2, 40)
        #expect(encoded(response) == vector)
        let again = try parsed(SCSIResponsePDU.self, vector)
        #expect(again.status == .checkCondition)
        #expect(again.residual == Residual(isOverflow: false, isUnderflow: true, count: 40))
        #expect(again.bidirectionalReadResidual == Residual(isOverflow: true, isUnderflow: false, count: 2))
        #expect(encoded(again) == vector)
    }

    @Test("Task management, both ways")
    func taskManagement() throws {
        var request = TaskManagementRequestPDU()
        request.functionCode = 1
        request.logicalUnitNumber = LogicalUnitNumber(1)
        request.initiatorTaskTag = 1
        request.referencedTaskTag = 2
        request.cmdSN = SequenceNumber(3)
        request.expStatSN = SequenceNumber(4)
        request.refCmdSN = SequenceNumber(5)
        request.expDataSN = 6
        let vector = words(0x4281_0000, 0, 0x0001_0000, 0, 1, 2, 3, 4, 5, 6, 0, 0)
        #expect(encoded(request) == vector)
        let again = try parsed(TaskManagementRequestPDU.self, vector)
        #expect(again.function == .abortTask)
        #expect(encoded(again) == vector)

        var response = TaskManagementResponsePDU()
        response.response = .functionNotSupported
        response.initiatorTaskTag = 1
        response.statSN = SequenceNumber(2)
        response.expCmdSN = SequenceNumber(3)
        response.maxCmdSN = SequenceNumber(4)
        #expect(encoded(response) == words(0x2280_0500, 0, 0, 0, 1, 0, 2, 3, 4, 0, 0, 0))
    }

    @Test("Data-Out")
    func dataOut() throws {
        var data = DataOutPDU()
        data.dataSegmentLength = 512
        data.logicalUnitNumber = LogicalUnitNumber(2)
        data.initiatorTaskTag = 1
        data.targetTransferTag = 2
        data.expStatSN = SequenceNumber(3)
        data.dataSN = 4
        data.bufferOffset = 0x1000
        let vector = words(0x0580_0000, 512, 0x0002_0000, 0, 1, 2, 0, 3, 0, 4, 0x1000, 0)
        #expect(encoded(data) == vector)
        let again = try parsed(DataOutPDU.self, vector)
        #expect(again.isFinal && again.bufferOffset == 0x1000 && again.dataSN == 4)
        #expect(encoded(again) == vector)
    }

    @Test("Data-In with status and without")
    func dataIn() throws {
        var data = DataInPDU()
        data.hasStatus = true
        data.status = .good
        data.residual = Residual(expected: 8, actual: 6)
        data.dataSegmentLength = 6
        data.initiatorTaskTag = 1
        data.statSN = SequenceNumber(2)
        data.expCmdSN = SequenceNumber(3)
        data.maxCmdSN = SequenceNumber(4)
        data.dataSN = 5
        data.bufferOffset = 6
        let vector = words(0x2583_0000, 6, 0, 0, 1, 0xFFFF_FFFF, 2, 3, 4, 5, 6, 2)
        #expect(encoded(data) == vector)
        let again = try parsed(DataInPDU.self, vector)
        #expect(again.hasStatus && again.isFinal && again.residual.count == 2)

        var plain = DataInPDU()
        plain.isFinal = false
        plain.isAcknowledgeRequested = true
        plain.targetTransferTag = 9
        #expect(encoded(plain) == words(0x2540_0000, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0))
    }

    @Test("Ready To Transfer")
    func readyToTransfer() throws {
        var request = ReadyToTransferPDU()
        request.logicalUnitNumber = LogicalUnitNumber(256)
        request.initiatorTaskTag = 1
        request.targetTransferTag = 2
        request.statSN = SequenceNumber(3)
        request.expCmdSN = SequenceNumber(4)
        request.maxCmdSN = SequenceNumber(5)
        request.r2tSN = 6
        request.bufferOffset = 7
        request.desiredDataTransferLength = 8
        let vector = words(0x3180_0000, 0, 0x4100_0000, 0, 1, 2, 3, 4, 5, 6, 7, 8)
        #expect(encoded(request) == vector)
        let again = try parsed(ReadyToTransferPDU.self, vector)
        #expect(encoded(again) == vector)
        #expect(again.logicalUnitNumber.number == 256)
    }

    @Test("Login, both ways")
    func login() throws {
        var request = LoginRequestPDU()
        request.isTransit = true
        request.currentStageCode = 1
        request.nextStageCode = 3
        request.versionMax = 1
        request.dataSegmentLength = 33
        request.initiatorSessionID = InitiatorSessionID(rawValue: 0x0102_0304_0506)
        request.targetSessionHandle = 0x0708
        request.initiatorTaskTag = 1
        request.connectionID = 2
        request.cmdSN = SequenceNumber(3)
        request.expStatSN = SequenceNumber(4)
        let vector = words(0x4387_0100, 33, 0x0102_0304, 0x0506_0708, 1, 0x0002_0000, 3, 4, 0, 0, 0, 0)
        #expect(encoded(request) == vector)
        let again = try parsed(LoginRequestPDU.self, vector)
        #expect(again.currentStage == .operationalNegotiation && again.nextStage == .fullFeaturePhase)
        #expect(again.initiatorSessionID.rawValue == 0x0102_0304_0506 && again.targetSessionHandle == 0x0708)
        #expect(encoded(again) == vector)

        var response = LoginResponsePDU()
        response.isContinued = true
        response.currentStageCode = 0
        response.initiatorSessionID = InitiatorSessionID(rawValue: 0x0102_0304_0506)
        response.initiatorTaskTag = 1
        response.statSN = SequenceNumber(2)
        response.expCmdSN = SequenceNumber(3)
        response.maxCmdSN = SequenceNumber(4)
        response.status = .targetNotFound
        let answer = words(0x2340_0000, 0, 0x0102_0304, 0x0506_0000, 1, 0, 2, 3, 4, 0x0203_0000, 0, 0)
        #expect(encoded(response) == answer)
        let parsedAnswer = try parsed(LoginResponsePDU.self, answer)
        #expect(parsedAnswer.status.statusClass == 2 && parsedAnswer.status.statusDetail == 3)
        #expect(encoded(parsedAnswer) == answer)
    }

    @Test("Text, both ways")
    func text() throws {
        var request = TextRequestPDU()
        request.dataSegmentLength = 16
        request.initiatorTaskTag = 1
        request.cmdSN = SequenceNumber(2)
        request.expStatSN = SequenceNumber(3)
        let vector = words(0x0480_0000, 16, 0, 0, 1, 0xFFFF_FFFF, 2, 3, 0, 0, 0, 0)
        #expect(encoded(request) == vector)
        #expect(try encoded(parsed(TextRequestPDU.self, vector)) == vector)

        var response = TextResponsePDU()
        response.isFinal = false
        response.isContinued = true
        response.initiatorTaskTag = 1
        response.targetTransferTag = 5
        response.statSN = SequenceNumber(2)
        response.expCmdSN = SequenceNumber(3)
        response.maxCmdSN = SequenceNumber(4)
        let answer = words(0x2440_0000, 0, 0, 0, 1, 5, 2, 3, 4, 0, 0, 0)
        #expect(encoded(response) == answer)
        #expect(try encoded(parsed(TextResponsePDU.self, answer)) == answer)
    }

    @Test("Logout, both ways")
    func logout() throws {
        var request = LogoutRequestPDU()
        request.reason = .closeConnection
        request.initiatorTaskTag = 1
        request.connectionID = 7
        request.cmdSN = SequenceNumber(2)
        request.expStatSN = SequenceNumber(3)
        let vector = words(0x4681_0000, 0, 0, 0, 1, 0x0007_0000, 2, 3, 0, 0, 0, 0)
        #expect(encoded(request) == vector)
        #expect(try encoded(parsed(LogoutRequestPDU.self, vector)) == vector)

        var response = LogoutResponsePDU()
        response.response = .recoveryNotSupported
        response.initiatorTaskTag = 1
        response.statSN = SequenceNumber(2)
        response.expCmdSN = SequenceNumber(3)
        response.maxCmdSN = SequenceNumber(4)
        response.time2Wait = 2
        response.time2Retain = 20
        let answer = words(0x2680_0200, 0, 0, 0, 1, 0, 2, 3, 4, 0, 0x0002_0014, 0)
        #expect(encoded(response) == answer)
        #expect(try encoded(parsed(LogoutResponsePDU.self, answer)) == answer)
    }

    @Test("NOP, both ways")
    func nop() throws {
        var out = NOPOutPDU()
        out.isImmediate = true
        out.dataSegmentLength = 4
        out.initiatorTaskTag = 1
        out.cmdSN = SequenceNumber(2)
        out.expStatSN = SequenceNumber(3)
        let vector = words(0x4080_0000, 4, 0, 0, 1, 0xFFFF_FFFF, 2, 3, 0, 0, 0, 0)
        #expect(encoded(out) == vector)
        #expect(try encoded(parsed(NOPOutPDU.self, vector)) == vector)

        var answer = NOPInPDU()
        answer.targetTransferTag = 6
        answer.statSN = SequenceNumber(2)
        answer.expCmdSN = SequenceNumber(3)
        answer.maxCmdSN = SequenceNumber(4)
        let ping = words(0x2080_0000, 0, 0, 0, 0xFFFF_FFFF, 6, 2, 3, 4, 0, 0, 0)
        #expect(encoded(answer) == ping)
        #expect(try encoded(parsed(NOPInPDU.self, ping)) == ping)
    }

    @Test("Asynchronous Message, Reject and SNACK")
    func others() throws {
        var message = AsyncMessagePDU()
        message.event = .logoutRequested
        message.statSN = SequenceNumber(2)
        message.expCmdSN = SequenceNumber(3)
        message.maxCmdSN = SequenceNumber(4)
        message.parameter3 = 10
        let event = words(0x3280_0000, 0, 0, 0, 0xFFFF_FFFF, 0, 2, 3, 4, 0x0100_0000, 0x0000_000A, 0)
        #expect(encoded(message) == event)
        #expect(try encoded(parsed(AsyncMessagePDU.self, event)) == event)

        var reject = RejectPDU()
        reject.reason = .taskInProgress
        reject.statSN = SequenceNumber(2)
        reject.expCmdSN = SequenceNumber(3)
        reject.maxCmdSN = SequenceNumber(4)
        let rejection = words(0x3F80_0700, 48, 0, 0, 0xFFFF_FFFF, 0, 2, 3, 4, 0, 0, 0)
        #expect(encoded(reject) == rejection)
        #expect(try encoded(parsed(RejectPDU.self, rejection)) == rejection)

        var snack = SNACKRequestPDU()
        snack.type = .dataACK
        snack.targetTransferTag = 8
        snack.expStatSN = SequenceNumber(3)
        snack.begRun = 5
        snack.runLength = 0
        let request = words(0x1082_0000, 0, 0, 0, 0xFFFF_FFFF, 8, 0, 3, 0, 0, 5, 0)
        #expect(encoded(snack) == request)
        #expect(try encoded(parsed(SNACKRequestPDU.self, request)) == request)
    }

    @Test("A header is refused when it is another's or too short")
    func refused() {
        let nop = encoded(NOPOutPDU())
        let isCommand = SCSICommandPDU(parsing: nop.rawSpan) != nil
        #expect(!isCommand)
        let short = Array(nop.dropLast())
        let isNOP = NOPOutPDU(parsing: short.rawSpan) != nil
        let isHeader = BasicHeaderSegment(parsing: short.rawSpan) != nil
        #expect(!isNOP && !isHeader)
    }
}
