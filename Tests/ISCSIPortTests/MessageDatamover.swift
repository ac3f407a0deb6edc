import Bytes
import ISCSI
import Initiator
import Platform
import SCSI
import TargetCore
import Testing

@testable import ISCSIPort

/// A datamover as one for RDMA would be: control PDUs are messages, and data goes straight to and from the peer's
/// memory.
final class MessageDatamover: Datamover {
    let connection: Connection
    /// What was sent, and what the peer's memory holds.
    private(set) var sent: [(header: BasicHeaderSegment, data: [UInt8])] = []
    var peerMemory: [UInt8] = []
    private(set) var isTerminated = false
    private(set) var enabled: NegotiatedParameters?
    var resendCount: Int { 0 }

    /// Whether the peer lets no data be fetched from its memory.
    var withholdsData = false
    /// Whether the connection breaks when a command is answered.
    var breaksAtResponse = false

    /// A new connection on the portal of a fixture, on its reactor; nil without a portal.
    init?(_ fixture: PortFixture) {
        guard let portal = fixture.server.registry.withLock({ $0.portals.first }) else { return nil }
        let address = SocketAddress(path: "message")
        connection = Connection(
            server: fixture.server, portal: portal, peerAddress: address, localAddress: address)
        fixture.server.accept(connection, from: portal, on: self)
    }

    /// Logs in with what `change` makes of the request, and the keys `more`.
    func logIn(_ more: [String] = [], _ change: (inout LoginRequestPDU) -> Void = { _ in }) {
        var login = LoginRequestPDU()
        login.isTransit = true
        login.currentStageCode = LoginStage.operationalNegotiation.rawValue
        login.nextStageCode = LoginStage.fullFeaturePhase.rawValue
        login.initiatorSessionID = .random()
        login.cmdSN = SequenceNumber(1)
        let keys =
            [
                "InitiatorName=iqn.2026-11.dev:test", "SessionType=Normal",
                "TargetName=\(PortFixture.targetName)", "ImmediateData=No",
            ] + more
        let data = Array(keys.map { $0 + "\0" }.joined().utf8)
        login.dataSegmentLength = data.count
        change(&login)
        receive(login, data: data)
        #expect(last(LoginResponsePDU.self)?.status == .success)
    }

    /// A command whose tag is its CmdSN.
    static func command(
        _ cdb: CommandDescriptorBlock, _ cmdSN: UInt32, reads: Int = 0, writes: Int = 0
    ) -> SCSICommandPDU {
        var command = SCSICommandPDU()
        command.initiatorTaskTag = cmdSN
        command.cmdSN = SequenceNumber(cmdSN)
        command.cdb = cdb
        command.isRead = reads > 0
        command.isWrite = writes > 0
        command.expectedDataTransferLength = UInt32(reads + writes)
        return command
    }

    func attach(to reactor: Reactor) throws(SystemError) {}
    func detach() {}

    func enable(
        _ parameters: NegotiatedParameters, on reactor: Reactor, after response: BasicHeaderSegment, data: RawSpan
    ) throws(SystemError) {
        enabled = parameters
        send(response, data: data)
    }

    func noticeParameters(_ parameters: NegotiatedParameters) { enabled = parameters }
    func finish() { _ = connection.allSent() }
    func terminate() { isTerminated = true }
    func receptionChanged() -> Bool { true }

    @discardableResult
    func send(_ header: BasicHeaderSegment, data: RawSpan) -> Bool {
        sent.append((header, data.copyToArray()))
        guard breaksAtResponse, header.opcode == .scsiResponse else { return true }
        connection.close(.answersNotTaken)
        return false
    }

    func putData(_ slot: CommandSlot, _ lease: consuming BufferLease, count: Int) {
        peerMemory = lease.bytes.extracting(0..<count).copyToArray()
        connection.dataInSent(slot)
    }

    func getData(_ slot: CommandSlot) {
        if withholdsData { return }
        slot.task.storeDataOut(peerMemory.rawSpan.extracting(slot.dataOut.received..<slot.dataOut.requested), at: 0)
        slot.dataOut.received = slot.dataOut.requested
        connection.progressDataOut(slot)
    }

    func withdrawData(_ slot: CommandSlot) {}
    func returnBuffers(_ slot: CommandSlot) {}
    func withdrawAllData() {}
    func resendAnswers(_ next: SequenceNumber, to end: SequenceNumber) {}
    func resendData(_ request: SNACKRequestPDU, _ slot: CommandSlot) -> RejectReason? { .protocolError }
    func acknowledgeData(_ slot: CommandSlot, upTo dataSN: UInt32) -> Bool { false }
    func releaseData(_ slot: CommandSlot) {}

    /// A message of the peer.
    func receive<Header: PDUHeader>(_ pdu: Header, data: [UInt8] = []) {
        let header = BasicHeaderSegment(pdu)
        guard Header.opcode == .scsiCommand, let slot = connection.beginCommand(header.bytes) else {
            return connection.receiveControl(header.bytes, data.rawSpan, isDataValid: true)
        }
        connection.finishCommand(slot, dataLength: 0, isDataValid: true)
    }

    /// The message that was sent last.
    func last<Header: PDUHeader>(_ kind: Header.Type) -> Header? {
        sent.last.flatMap { $0.header.opcode == Header.opcode ? Header(parsing: $0.header.bytes) : nil }
    }
}
