import Bytes
import SCSI
import SRP
import Testing

/// Every information unit against bytes made by hand from the tables of SRP r16a clause 6.
@Suite("Byte vectors of information units")
struct VectorTests {
    private let tagHigh: UInt32 = 0xA1A2_A3A4
    private let tagLow: UInt32 = 0xA5A6_A7A8

    /// `unit` encodes to `vector`, which parses to the same again.
    private func expect<Unit: SRPInformationUnit & Equatable>(_ unit: Unit, is vector: [UInt8]) throws {
        #expect(encoded(unit) == vector)
        #expect(vector.count == unit.length)
        #expect(try Unit(parsing: vector.rawSpan) == unit)
        // What connection managers fill up with zeros.
        #expect(try Unit(parsing: (vector + [0, 0, 0]).rawSpan) == unit)
        let header = try SRPHeader(parsing: vector.rawSpan)
        #expect(header.type == Unit.type && header.tag == unit.tag)
    }

    @Test("SRP_LOGIN_REQ")
    func loginRequest() throws {
        try expect(
            Samples.loginRequest,
            is: words(
                0, 0, tagHigh, tagLow, 8272, 0, 0x0006_A100, 0x0050_0000, 0x0001_0203, 0x0405_0607, 0x0809_0A0B,
                0x0C0D_0E0F, 0x1011_1213, 0x1415_1617, 0x1819_1A1B, 0x1C1D_1E1F))
        var login = SRPLoginRequest(initiatorPort: Samples.initiatorPort, targetPort: Samples.targetPort)
        login.solicitsLogout = true
        login.solicitsAsyncEvents = true
        login.bufferFormats = .indirect
        #expect(encoded(login)[16..<28] == [0, 0, 0, 64, 0, 0, 0, 0, 0, 4, 0x50, 0])
    }

    @Test("SRP_LOGIN_REQ as private data of RDMA-CM")
    func privateData() throws {
        let vector = words(
            tagHigh, tagLow, 0x0006_A100, 8272, 0x0001_0203, 0x0405_0607, 0x0809_0A0B, 0x0C0D_0E0F, 0x1011_1213,
            0x1415_1617, 0x1819_1A1B, 0x1C1D_1E1F, 0x0050_0000, 0)
        var bytes = [UInt8](repeating: 0xEE, count: SRPLoginRequest.privateDataLength)
        bytes.modifyBytes { Samples.loginRequest.encodePrivateData(into: &$0) }
        #expect(bytes == vector)
        #expect(try SRPLoginRequest(parsingPrivateData: vector.rawSpan) == Samples.loginRequest)
    }

    @Test("SRP_LOGIN_RSP")
    func loginResponse() throws {
        var response = SRPLoginResponse()
        response.tag = Samples.tag
        response.requestLimitDelta = 128
        response.maximumInitiatorLength = 8272
        response.maximumTargetLength = 256
        response.bufferFormats = .direct
        response.multiChannelResult = .othersKept
        response.supportsSolicitation = true
        response.grantsImmediateData = true
        try expect(
            response,
            is: words(0xC000_0000, 128, tagHigh, tagLow, 8272, 256, 0x0002_9200, 0, 0, 0, 0, 0, 0))
        response.multiChannelResult = .othersEnded
        response.grantsImmediateData = false
        #expect(encoded(response)[26] == 0x11)
    }

    @Test("SRP_LOGIN_REJ, with every reason", arguments: SRPLoginRejectReason.all)
    func loginReject(reason: SRPLoginRejectReason) throws {
        try expect(
            SRPLoginReject(reason, tag: Samples.tag),
            is: words(0xC200_0000, reason.rawValue, tagHigh, tagLow, 0, 0, 0x0006_0000, 0))
        #expect(SRPLoginRejectReason.all.count == 7)
    }

    @Test("SRP_I_LOGOUT and SRP_T_LOGOUT")
    func logouts() throws {
        var logout = SRPInitiatorLogout()
        logout.tag = Samples.tag
        try expect(logout, is: words(0x0300_0000, 0, tagHigh, tagLow))
        try expect(
            SRPTargetLogout(.multiChannelAction, tag: Samples.tag, isSolicited: true),
            is: words(0x8001_0000, 4, tagHigh, tagLow))
        try expect(SRPTargetLogout(.invalidLength, tag: Samples.tag), is: words(0x8000_0000, 8, tagHigh, tagLow))
    }

    @Test(
        "SRP_TSK_MGMT",
        arguments: [
            (TaskManagementFunction.abortTask, UInt32(0x01)), (.abortTaskSet, 0x02), (.clearTaskSet, 0x04),
            (.logicalUnitReset, 0x08), (.clearACA, 0x40),
        ])
    func taskManagement(function: TaskManagementFunction, code: UInt32) throws {
        var request = SRPTaskManagement(function, tag: Samples.tag)
        request.solicitation = .failure
        request.logicalUnitNumber = LogicalUnitNumber(3)
        request.managedTag = 0x0102_0304_0506_0708
        try expect(
            request,
            is: words(
                0x0104_0000, 0, tagHigh, tagLow, 0, 0x0003_0000, 0, code << 8, 0x0102_0304, 0x0506_0708, 0, 0))
        #expect(request.function == function)
        request.functionCode = 0x20
        #expect(request.function == nil)
    }

    @Test("SRP_CMD without data, and with an additional CDB")
    func command() throws {
        var command = SRPCommand(
            cdb: CommandDescriptorBlock([OperationCode.read10, 0, 0, 0, 0, 7, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0x55]))
        command.tag = Samples.tag
        command.solicitation = [.success, .failure]
        command.logicalUnitNumber = LogicalUnitNumber(2)
        command.taskAttribute = .ordered
        let vector = words(
            0x0206_0000, 0, tagHigh, tagLow, 0, 0x0002_0000, 0, 0x0002_0000, 0x2800_0000, 0x0007_0000, 0x0800_0000,
            0x0000_0055)
        #expect(encoded(command) == vector)
        let again = try SRPCommand(parsing: vector.rawSpan)
        #expect(again.tag == Samples.tag && again.solicitation == [.success, .failure])
        #expect(again.logicalUnitNumber.number == 2 && again.taskAttribute == .ordered)
        #expect(again.cdb.count == 16 && again.cdb.operationCode == OperationCode.read10 && again.isCDBWhole)
        #expect(again.dataOut == .none && again.dataIn == .none && again.length == 48)

        let long = SRPCommand(cdb: CommandDescriptorBlock((0..<30).map { UInt8($0) }))
        let bytes = encoded(long)
        #expect(long.additionalCDBLength == 16 && bytes.count == 64 && bytes[31] == 16)
        #expect(Array(bytes[32..<62]) == (0..<30).map { UInt8($0) } && bytes[62...] == [0, 0])
        #expect(try SRPCommand(parsing: bytes.rawSpan).cdb.count == 32)
    }

    @Test("SRP_RSP: status, sense data and residuals")
    func response() throws {
        var response = SRPResponse()
        response.tag = Samples.tag
        response.isSolicited = true
        response.requestLimitDelta = 1
        response.status = .checkCondition
        response.dataInResidual = SRPResidual(expected: 512, actual: 100)
        response.dataOutResidual = SRPResidual(expected: 100, actual: 103)
        response.senseLength = 4
        try expect(
            response, is: words(0xC101_0000, 1, tagHigh, tagLow, 0x0000_2602, 3, 412, 4, 0, 0))
        #expect(response.sense == 36..<40)

        var plain = SRPResponse()
        plain.tag = Samples.tag
        plain.requestLimitDelta = -2
        try expect(plain, is: words(0xC100_0000, 0xFFFF_FFFE, tagHigh, tagLow, 0, 0, 0, 0, 0))
    }

    @Test(
        "SRP_RSP: response codes",
        arguments: [
            (SRPResponseCode.complete, UInt32(0)), (.requestFieldsInvalid, 2), (.functionNotSupported, 4),
            (.functionFailed, 5),
        ])
    func responseCode(code: SRPResponseCode, value: UInt32) throws {
        var response = SRPResponse(code, tag: Samples.tag, requestLimitDelta: 1)
        try expect(response, is: words(0xC100_0000, 1, tagHigh, tagLow, 0x0000_0100, 0, 0, 0, 4, value))
        response.senseLength = 252
        #expect(response.sense == 40..<292)
        response.cutSense(toFit: 64)
        #expect(response.sense == 40..<64 && response.length == 64)
        response.cutSense(toFit: 36)
        #expect(response.senseLength == 0)
    }

    @Test("SRP_CRED_REQ, SRP_CRED_RSP")
    func credits() throws {
        var request = SRPCreditRequest()
        request.tag = Samples.tag
        request.isSolicited = true
        request.requestLimitDelta = 16
        try expect(request, is: words(0x8101_0000, 16, tagHigh, tagLow))
        var response = SRPCreditResponse()
        response.tag = Samples.tag
        try expect(response, is: words(0x4100_0000, 0, tagHigh, tagLow))
    }

    @Test("SRP_AER_REQ, SRP_AER_RSP")
    func asyncEvents() throws {
        var request = SRPAsyncEventRequest()
        request.tag = Samples.tag
        request.requestLimitDelta = 1
        request.logicalUnitNumber = LogicalUnitNumber(9)
        request.senseLength = 8
        try expect(request, is: words(0x8200_0000, 1, tagHigh, tagLow, 0, 0x0009_0000, 0, 8, 0, 0, 0))
        #expect(request.sense == 36..<44)
        var response = SRPAsyncEventResponse()
        response.tag = Samples.tag
        try expect(response, is: words(0x4200_0000, 0, tagHigh, tagLow))
    }

    @Test("Types belong to one side each")
    func types() {
        let all = (0...255).map { SRPInformationUnitType(rawValue: UInt8($0)) }
        #expect(all.filter(\.isInitiatorType).count == 6)
        #expect(all.filter(\.isTargetType).count == 6)
        #expect(all.allSatisfy { !($0.isInitiatorType && $0.isTargetType) })
    }

    @Test("Solicitation follows the outcome of the request")
    func solicitation() {
        #expect(SRPSolicitation.success.isSolicited(succeeded: true))
        #expect(!SRPSolicitation.success.isSolicited(succeeded: false))
        #expect(SRPSolicitation.failure.isSolicited(succeeded: false))
        #expect(SRPSolicitation(rawValue: 0xFF) == [.success, .failure])
    }
}
