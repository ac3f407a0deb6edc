import Bytes
import DeviceTestSupport
import ISCSI
import Initiator
import Platform
import SCSI
import Synchronization
import TargetCore
import Testing

@testable import ISCSIPort

/// A datamover as one for RDMA would be: control PDUs are messages, and data goes straight to and from the peer's
/// memory.
private final class MessageDatamover: Datamover {
    private let connection: Connection
    /// What was sent, and what the peer's memory holds.
    private(set) var sent: [(header: BasicHeaderSegment, data: [UInt8])] = []
    var peerMemory: [UInt8] = []
    private(set) var isTerminated = false
    private(set) var enabled: NegotiatedParameters?
    var resendCount: Int { 0 }

    init(_ connection: Connection) { self.connection = connection }

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
        return true
    }

    func putData(_ slot: CommandSlot, _ lease: consuming BufferLease, count: Int) {
        peerMemory = lease.bytes.extracting(0..<count).copyToArray()
        connection.dataInSent(slot)
    }

    func getData(_ slot: CommandSlot) {
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

@Suite("Datamovers")
struct DatamoverTests {
    private func login() -> (pdu: LoginRequestPDU, data: [UInt8]) {
        var login = LoginRequestPDU()
        login.isTransit = true
        login.currentStageCode = LoginStage.operationalNegotiation.rawValue
        login.nextStageCode = LoginStage.fullFeaturePhase.rawValue
        login.initiatorSessionID = .random()
        login.cmdSN = SequenceNumber(1)
        let keys = [
            "InitiatorName=iqn.2026-11.dev:test", "SessionType=Normal", "TargetName=\(PortFixture.targetName)",
            "ImmediateData=No",
        ]
        let data = Array(keys.map { $0 + "\0" }.joined().utf8)
        login.dataSegmentLength = data.count
        return (login, data)
    }

    private func command(
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

    /// On the reactor of portal and session.
    private func talk(_ fixture: PortFixture) {
        let server = fixture.server
        guard let portal = server.registry.withLock({ $0.portals.first }) else { return }
        let address = SocketAddress(path: "message")
        let connection = Connection(server: server, portal: portal, peerAddress: address, localAddress: address)
        let datamover = MessageDatamover(connection)
        server.accept(connection, from: portal, on: datamover)
        let (request, keys) = login()
        datamover.receive(request, data: keys)
        #expect(datamover.last(LoginResponsePDU.self)?.status == .success)
        #expect(datamover.enabled?.immediateData == false && connection.isFullFeature)
        // The first command has the unit attention of a new nexus.
        for (cmdSN, status) in [(1, SCSIStatus.checkCondition), (2, .good)] as [(UInt32, SCSIStatus)] {
            datamover.receive(command(testUnitReady, cmdSN))
            #expect(datamover.last(SCSIResponsePDU.self)?.status == status)
        }
        // Out of order, so that the numbering has something to do.
        datamover.peerMemory = pattern(4096, seed: 1)
        datamover.receive(command(read10(8, 8), 4, reads: 4096))
        #expect(datamover.last(SCSIResponsePDU.self)?.initiatorTaskTag == 2)
        datamover.receive(command(write10(8, 8), 3, writes: 4096))
        #expect(datamover.last(SCSIResponsePDU.self)?.initiatorTaskTag == 4)
        #expect(datamover.peerMemory == pattern(4096, seed: 1))
        let responses = datamover.sent.compactMap { SCSIResponsePDU(parsing: $0.header.bytes) }
        #expect(responses.suffix(2).allSatisfy { $0.status == .good })
        var function = TaskManagementRequestPDU()
        function.functionCode = TaskManagementFunction.logicalUnitReset.rawValue
        function.initiatorTaskTag = 9
        function.cmdSN = SequenceNumber(5)
        datamover.receive(function)
        #expect(datamover.last(TaskManagementResponsePDU.self)?.response == .functionComplete)
        var logout = LogoutRequestPDU()
        logout.reason = .closeSession
        logout.initiatorTaskTag = 10
        logout.cmdSN = SequenceNumber(5)
        datamover.receive(logout)
        #expect(datamover.last(LogoutResponsePDU.self)?.response == .closed)
        #expect(datamover.isTerminated && connection.datamover == nil)
    }

    @Test("Login, numbering, commands with data, task management and logout work on a datamover without a stream")
    func messages() throws {
        let fixture = try PortFixture()
        let done = Done()
        fixture.reactors[0].post {
            self.talk(fixture)
            done.flag.store(true, ordering: .releasing)
        }
        let hasEnded = fixture.eventually { done.flag.load(ordering: .acquiring) }
        #expect(hasEnded)
        let isEmpty = fixture.eventually { fixture.server.connectionCount == 0 && fixture.leasedBytes == 0 }
        #expect(isEmpty)
    }

    private final class Done: Sendable { let flag = Atomic(false) }

    // MARK: What a stream keeps of a task

    @Test("Outstanding R2Ts are found by their tags, wherever they are, and go in any order")
    func outstandingTransfers() {
        var transfer = DataOutTransfer()
        transfer.plan = ReadyToTransferPlan(from: 0, to: 1 << 20, burstLimit: 512, outstandingLimit: 8)
        // Around the end of the storage, twice.
        for round in 0..<3 as Range<UInt32> {
            for number in 0..<8 as Range<UInt32> {
                guard let request = transfer.plan?.next() else { return }
                transfer.append(OutstandingTransfer(tag: round * 8 + number, request: request))
            }
            let surplus = transfer.plan?.next()
            #expect(surplus == nil && transfer.count == 8)
            #expect(transfer.position(ofTag: round * 8 + 5, limit: 8) == 5)
            #expect(transfer.position(ofTag: round * 8 + 5, limit: 1) == nil)
            transfer.remove(5)
            #expect(transfer.position(ofTag: round * 8 + 5, limit: 8) == nil)
            #expect(transfer.position(ofTag: round * 8 + 7, limit: 8) == 6)
            while transfer.count > 0 { transfer.remove(0) }
            #expect(transfer[0] == nil)
        }
    }

    @Test("What is asked for again on another connection begins where the first gap is, with the next R2TSN")
    func restart() {
        var transfer = DataOutTransfer()
        transfer.plan = ReadyToTransferPlan(from: 1024, to: 8192, burstLimit: 1024, outstandingLimit: 3)
        for tag in 1...3 as ClosedRange<UInt32> {
            guard let request = transfer.plan?.next() else { return }
            transfer.append(OutstandingTransfer(tag: tag, request: request))
        }
        transfer.remove(1)
        let wasAsked = transfer.restart()
        #expect(wasAsked && transfer.received == 1024 && transfer.firstR2TSN == 3)
        #expect(transfer.plan == nil && transfer.count == 0)
        let isAskedAgain = transfer.restart()
        #expect(!isAskedAgain)
    }
}
