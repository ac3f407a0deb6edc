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

@Suite("Datamovers")
struct DatamoverTests {
    /// On the reactor of portal and session.
    private func talk(_ fixture: PortFixture) {
        guard let datamover = MessageDatamover(fixture) else { return }
        let connection = datamover.connection
        datamover.logIn()
        #expect(datamover.enabled?.immediateData == false && connection.isFullFeature)
        // The first command has the unit attention of a new nexus.
        for (cmdSN, status) in [(1, SCSIStatus.checkCondition), (2, .good)] as [(UInt32, SCSIStatus)] {
            datamover.receive(MessageDatamover.command(testUnitReady, cmdSN))
            #expect(datamover.last(SCSIResponsePDU.self)?.status == status)
        }
        // Out of order, so that the numbering has something to do.
        datamover.peerMemory = pattern(4096, seed: 1)
        datamover.receive(MessageDatamover.command(read10(8, 8), 4, reads: 4096))
        #expect(datamover.last(SCSIResponsePDU.self)?.initiatorTaskTag == 2)
        datamover.receive(MessageDatamover.command(write10(8, 8), 3, writes: 4096))
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
