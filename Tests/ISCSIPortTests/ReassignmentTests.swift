import Bytes
import DeviceTestSupport
import ISCSI
import ISCSIPort
import Initiator
import Platform
import SCSI
import TargetCore
import Testing

/// RFC 7143 sections 7.1.4.3, 7.2.2, 8.2, 11.5 and 11.14.
@Suite("ErrorRecoveryLevel 2")
struct ReassignmentTests {
    private func session(_ change: (inout InitiatorSettings) -> Void = { _ in }) throws -> SharedSession {
        let session = try SharedSession(PortFixture(), errorRecoveryLevel: 2) { settings in
            settings.operational.preferred.maxRecvDataSegmentLength = 1024
            settings.operational.preferred.maxBurstLength = 2048
            change(&settings)
        }
        try session.join(1)
        return session
    }

    @Test("A command that is with the medium is taken over and answered on the new connection")
    func pending() throws {
        let session = try session()
        let command = session.wait()
        try session.send(command, on: 0)
        let isHeld = session.fixture.eventually { session.fixture.device.heldCount == 1 }
        #expect(isHeld)
        let early = try session.manage(.taskReassign, task: command.initiatorTaskTag, on: 1)
        #expect(early == .taskStillAllegiant)
        try session.drop(0)
        let unknown = try session.manage(.taskReassign, task: 0x7777_7777, on: 1)
        #expect(unknown == .taskDoesNotExist)
        let outcome = try session.manage(.taskReassign, task: command.initiatorTaskTag, on: 1)
        #expect(outcome == .functionComplete)
        session.fixture.letGo()
        let response = try session.receive(SCSIResponsePDU.self, on: 1)
        #expect(response.initiatorTaskTag == command.initiatorTaskTag && response.status == .good)
    }

    @Test("An answer that was not acknowledged is had again, from the data that is missing on")
    func answered() throws {
        let session = try session()
        let write = session.write(0, 8, immediate: 1024)
        // The rest of the data is asked for, so that there is something to read.
        try session.send(write, data: Array(pattern(4096)[..<1024]), on: 1)
        for _ in 0..<2 {
            try session.answer(session.receive(ReadyToTransferPDU.self, on: 1), from: pattern(4096), on: 1)
        }
        _ = try session.receive(SCSIResponsePDU.self, on: 1)
        let start = session[0].expStatSN
        let read = session.read(0, 8)
        try session.send(read, on: 0, acknowledging: start)
        for _ in 0..<4 { _ = try session.receive(DataInPDU.self, on: 0) }
        let failed = session.command(unknownCommand)
        try session.send(failed, on: 0, acknowledging: start)
        let sense = try session[0].receive().data
        try session.drop(0)
        let outcome = try session.manage(.taskReassign, task: read.initiatorTaskTag, expDataSN: 2, on: 1)
        #expect(outcome == .functionComplete)
        for number in 2..<4 {
            let pdu = try session[1].receive()
            let data = try #require(pdu.parsed(as: DataInPDU.self))
            #expect(data.dataSN == UInt32(number) && data.initiatorTaskTag == read.initiatorTaskTag)
            #expect(pdu.data == Array(pattern(4096)[number * 1024..<number * 1024 + 1024]))
        }
        let second = try session.manage(.taskReassign, task: failed.initiatorTaskTag, on: 1)
        #expect(second == .functionComplete)
        let again = try session[1].receive()
        #expect(again.parsed(as: SCSIResponsePDU.self)?.status == .checkCondition && again.data == sense)
        let last = try session.manage(.taskReassign, task: failed.initiatorTaskTag, on: 1)
        #expect(last == .taskDoesNotExist, "it is acknowledged now")
        let isReturned = session.fixture.eventually { session.fixture.leasedBytes == 0 }
        #expect(isReturned)
    }

    @Test("A write goes on where its data ended, with R2Ts on the new connection")
    func writes() throws {
        let session = try session { $0.operational.preferred.immediateData = false }
        let data = pattern(8192, seed: 4)
        let write = session.write(0, 16)
        try session.send(write, on: 0)
        let requests = try (0..<4).map { _ in try session.receive(ReadyToTransferPDU.self, on: 0) }
        try session.answer(requests[0], from: data, on: 0)
        // A part of the second sequence, and then half a PDU.
        var part = session.dataOut(requests[1], Array(data[2048..<3072]))
        part.isFinal = false
        try session.send(part, data: Array(data[2048..<3072]), on: 0)
        (part.dataSN, part.bufferOffset, part.isFinal) = (1, 3072, true)
        try session[0].connection.send(bytes: BasicHeaderSegment(part).bytes.copyToArray() + data[3072..<3500])
        try session.drop(0)
        let outcome = try session.manage(.taskReassign, task: write.initiatorTaskTag, on: 1)
        #expect(outcome == .functionComplete)
        var offset = 3072
        var number: UInt32 = 4
        while offset < 8192 {
            let request = try session.receive(ReadyToTransferPDU.self, on: 1)
            #expect(Int(request.bufferOffset) == offset && request.r2tSN == number)
            offset += Int(request.desiredDataTransferLength)
            number += 1
            try session.answer(request, from: data, on: 1)
        }
        let response = try session.receive(SCSIResponsePDU.self, on: 1)
        #expect(response.status == .good && response.initiatorTaskTag == write.initiatorTaskTag)
        try session.send(session.read(0, 16), on: 1)
        let read = try session.readOutcome(on: 1)
        #expect(read.data == data)
    }

    @Test(
        "Logout for recovery, of the own or another connection, keeps its tasks for another one",
        arguments: [true, false])
    func logoutForRecovery(isOwn: Bool) throws {
        let session = try session()
        let command = session.wait()
        try session.send(command, on: 0)
        let response = try session.logOut(.removeConnectionForRecovery, connectionID: 0, on: isOwn ? 0 : 1)
        #expect(response.response == .closed && response.time2Wait == 2 && response.time2Retain == 20)
        try session[0].connection.waitUntilClosed()
        let outcome = try session.manage(.taskReassign, task: command.initiatorTaskTag, on: 1)
        #expect(outcome == .functionComplete)
        let isHeld = session.fixture.eventually { session.fixture.device.heldCount == 1 }
        #expect(isHeld)
        session.fixture.letGo()
        let answer = try session.receive(SCSIResponsePDU.self, on: 1)
        #expect(answer.status == .good)
        let again = try session.logOut(.closeConnection, connectionID: 0, on: 1)
        #expect(again.response == .closed, "the failed connection is still known")
        let unknown = try session.logOut(.removeConnectionForRecovery, connectionID: 7, on: 1)
        #expect(unknown.response == .connectionNotFound)
    }

    @Test("The session outlives its last connection; a login with its TSIH continues it")
    func continuation() throws {
        let session = try session()
        let command = session.wait()
        try session.send(command, on: 0)
        let isHeld = session.fixture.eventually { session.fixture.device.heldCount == 1 }
        #expect(isHeld)
        try session.drop(0)
        try session.drop(1)
        let isAlone = session.fixture.eventually {
            session.fixture.server.sessions().first?.connections.isEmpty == true
        }
        #expect(isAlone)
        try session.join(0)
        let outcome = try session.manage(.taskReassign, task: command.initiatorTaskTag, on: 0)
        #expect(outcome == .functionComplete)
        session.fixture.letGo()
        let response = try session.receive(SCSIResponsePDU.self, on: 0)
        #expect(response.status == .good)
        try session.send(session.read(0, 1), on: 0)
        let read = try session.readOutcome(on: 0)
        #expect(read.status == .good, "no unit attention: the nexus was not lost")
    }

    @Test("A connection that is replaced leaves its tasks to be taken over")
    func implicitLogout() throws {
        let session = try session()
        let command = session.wait()
        try session.send(command, on: 1)
        let isHeld = session.fixture.eventually { session.fixture.device.heldCount == 1 }
        #expect(isHeld)
        try session.join(1)
        let outcome = try session.manage(.taskReassign, task: command.initiatorTaskTag, on: 1)
        #expect(outcome == .functionComplete)
        session.fixture.letGo()
        let response = try session.receive(SCSIResponsePDU.self, on: 1)
        #expect(response.status == .good)
    }

    @Test("Tasks that nobody takes over end after Time2Wait and Time2Retain, and the session with its last connection")
    func retentionEnds() throws {
        let fixture = try PortFixture()
        let session = try SharedSession(fixture, errorRecoveryLevel: 2, retain: 1) {
            $0.operational.preferred.iSCSIProtocolLevel = 2
            $0.operational.preferred.immediateData = false
        }
        try session.join(1)
        let command = session.write(0, 4)
        try session.send(command, on: 0)
        _ = try session.receive(ReadyToTransferPDU.self, on: 0)
        try session.drop(0)
        let kept = try session.manage(.queryTask, task: command.initiatorTaskTag, on: 1)
        #expect(kept == .functionSucceeded)
        let isOver = fixture.eventually {
            let outcome = try? session.manage(.queryTask, task: command.initiatorTaskTag, on: 1)
            return outcome == .functionComplete
        }
        #expect(isOver)
        let outcome = try session.manage(.taskReassign, task: command.initiatorTaskTag, on: 1)
        #expect(outcome == .taskDoesNotExist)
        try session.drop(1)
        #expect(fixture.server.sessions().count == 1)
        let isEnded = fixture.eventually { fixture.server.sessions().isEmpty && fixture.target.nexuses.isEmpty }
        #expect(isEnded)
    }

    @Test("Without Time2Retain nothing is kept")
    func noRetention() throws {
        let session = try SharedSession(PortFixture(), errorRecoveryLevel: 2, retain: 0)
        try session.drop(0)
        let isEnded = session.fixture.eventually { session.fixture.server.sessions().isEmpty }
        #expect(isEnded)
    }

    @Test("TASK REASSIGN below ErrorRecoveryLevel 2 is not supported", arguments: [0, 1])
    func lowerLevels(level: Int) throws {
        let session = try SharedSession(PortFixture(), errorRecoveryLevel: level)
        let outcome = try session.manage(.taskReassign, task: 5, on: 0)
        #expect(outcome == .reassignmentNotSupported)
    }

    @Test("A task that waits to be taken over can be aborted")
    func abortOrphan() throws {
        let session = try session { $0.operational.preferred.immediateData = false }
        let write = session.write(0, 4)
        try session.send(write, on: 0)
        _ = try session.receive(ReadyToTransferPDU.self, on: 0)
        try session.drop(0)
        let outcome = try session.manage(.abortTask, task: write.initiatorTaskTag, on: 1)
        #expect(outcome == .functionComplete)
        let reassigned = try session.manage(.taskReassign, task: write.initiatorTaskTag, on: 1)
        #expect(reassigned == .taskDoesNotExist)
        let isReturned = session.fixture.eventually { session.fixture.leasedBytes == 0 }
        #expect(isReturned)
    }
}
