import Bytes
import ISCSI
import ISCSIPort
import Initiator
import Platform
import SCSI
import Testing

/// Whether two PDUs are the same but for ExpCmdSN and MaxCmdSN, which are those of the time (RFC 7143 section 11.16).
private func isSame<Header: PDUHeader>(_ one: Header, _ other: Header) -> Bool {
    func bytes(_ header: Header) -> [UInt8] {
        var bytes = BasicHeaderSegment(header).bytes.copyToArray()
        bytes.replaceSubrange(28..<36, with: [UInt8](repeating: 0, count: 8))
        return bytes
    }
    return bytes(one) == bytes(other)
}

/// RFC 7143 sections 4.2.2.2, 7.8, 7.9 and 11.16.
@Suite("ErrorRecoveryLevel 1")
struct ResendingTests {
    /// A session at level 1 with small Data-In PDUs and sequences.
    private func session(
        _ limits: PortLimits = PortLimits(), level: Int = 1, _ change: (inout InitiatorSettings) -> Void = { _ in }
    ) throws -> SharedSession {
        try SharedSession(PortFixture(limits: limits), errorRecoveryLevel: level) { settings in
            settings.operational.preferred.maxRecvDataSegmentLength = 1024
            settings.operational.preferred.maxBurstLength = 2048
            settings.operational.preferred.firstBurstLength = 2048
            change(&settings)
        }
    }

    private func rejectReason(_ session: SharedSession) throws -> RejectReason {
        try session.receive(RejectPDU.self, on: 0).reason
    }

    @Test(
        "A status is sent again with its StatSN until it is acknowledged; then, and before it, that is a protocol error"
    )
    func statusSNACK() throws {
        let session = try session()
        let start = session[0].expStatSN
        try session.send(session.command(testUnitReady), on: 0, acknowledging: start)
        try session.send(
            session.command(unknownCommand), on: 0, acknowledging: start)
        let good = try session.receive(SCSIResponsePDU.self, on: 0)
        let failed = try session[0].receive()
        #expect(good.statSN == start)
        try session.snack(.status, from: start.rawValue, count: 2, on: 0, acknowledging: start)
        let again = try session.receive(SCSIResponsePDU.self, on: 0)
        #expect(isSame(again, good))
        let failedAgain = try session[0].receive()
        #expect(failedAgain.data == failed.data && failedAgain.data.count > 2)
        #expect(failedAgain.header.bytes.copyToArray() == failed.header.bytes.copyToArray())
        // All that is not acknowledged.
        try session.snack(.status, on: 0, acknowledging: start.advanced(by: 1))
        let last = try session.receive(SCSIResponsePDU.self, on: 0)
        #expect(last.statSN == start.advanced(by: 1) && last.status == .checkCondition)
        try session.snack(.status, from: start.rawValue, count: 1, on: 0, acknowledging: start.advanced(by: 1))
        let acknowledged = try rejectReason(session)
        #expect(acknowledged == .protocolError)
        try session.snack(
            .status, from: start.rawValue &+ 50, count: 1, on: 0, acknowledging: start.advanced(by: 1))
        let unsent = try rejectReason(session)
        #expect(unsent == .protocolError)
    }

    @Test("Answers other than those of commands are sent again too")
    func otherStatus() throws {
        let session = try session()
        let start = session[0].expStatSN
        var ping = NOPOutPDU()
        ping.isImmediate = true
        ping.initiatorTaskTag = session.takeTag()
        ping.cmdSN = session.cmdSN
        ping.dataSegmentLength = 5
        try session.send(ping, data: [1, 2, 3, 4, 5], on: 0, acknowledging: start)
        let echo = try session[0].receive()
        try session.snack(.status, from: start.rawValue, count: 1, on: 0, acknowledging: start)
        let again = try session[0].receive()
        #expect(again.data == [1, 2, 3, 4, 5])
        #expect(again.header.bytes.copyToArray() == echo.header.bytes.copyToArray())
    }

    /// Reads 8 blocks in four PDUs and gives them.
    private func read(_ session: SharedSession, _ command: SCSICommandPDU) throws -> [DataInPDU] {
        try session.send(command, on: 0)
        return try (0..<4).map { _ in try session.receive(DataInPDU.self, on: 0) }
    }

    @Test("Data-In is sent again as it was, with its status; what was not sent is a protocol error")
    func dataSNACK() throws {
        let session = try session()
        let command = session.read(0, 8)
        let start = session[0].expStatSN
        let data = try read(session, command)
        #expect(data.map(\.dataSN) == [0, 1, 2, 3] && data[3].hasStatus)
        try session.snack(
            .dataOrR2T, task: command.initiatorTaskTag, from: 1, count: 2, on: 0, acknowledging: start)
        for expected in data[1...2] {
            let again = try session.receive(DataInPDU.self, on: 0)
            #expect(isSame(again, expected))
        }
        try session.snack(.dataOrR2T, task: command.initiatorTaskTag, on: 0, acknowledging: start)
        for expected in data {
            let again = try session.receive(DataInPDU.self, on: 0)
            #expect(isSame(again, expected))
        }
        try session.snack(.status, from: data[3].statSN.rawValue, count: 1, on: 0, acknowledging: start)
        let status = try session.receive(DataInPDU.self, on: 0)
        #expect(isSame(status, data[3]), "the status was in the data")
        for (task, begRun, count) in [
            (command.initiatorTaskTag, UInt32(4), UInt32(1)), (command.initiatorTaskTag, 3, 2), (0x7777_7777, 0, 1),
        ] {
            try session.snack(.dataOrR2T, task: task, from: begRun, count: count, on: 0, acknowledging: start)
            let reason = try rejectReason(session)
            #expect(reason == .protocolError)
        }
        // Acknowledged with the status: there is nothing to send again, and no buffer left.
        try session.snack(.dataOrR2T, task: command.initiatorTaskTag, from: 0, count: 1, on: 0)
        let reason = try rejectReason(session)
        #expect(reason == .protocolError)
        let isReturned = session.fixture.eventually { session.fixture.leasedBytes == 0 }
        #expect(isReturned)
    }

    @Test("The A bit asks for a DataACK; what is acknowledged cannot be had again")
    func dataACK() throws {
        let session = try session()
        let command = session.read(0, 8)
        let start = session[0].expStatSN
        let data = try read(session, command)
        #expect(data.map(\.isAcknowledgeRequested) == [false, true, false, false])
        let tag = data[1].targetTransferTag
        #expect(tag != reservedTag && data[1].logicalUnitNumber == session.unit)
        try session.snack(.dataACK, transfer: tag &+ 1, from: 2, on: 0, acknowledging: start)
        let unknown = try rejectReason(session)
        #expect(unknown == .invalidDataACK)
        try session.snack(.dataACK, transfer: tag, from: 5, on: 0, acknowledging: start)
        let unsent = try rejectReason(session)
        #expect(unsent == .invalidDataACK)
        try session.snack(.dataACK, transfer: tag, from: 2, on: 0, acknowledging: start)
        try session.snack(
            .dataOrR2T, task: command.initiatorTaskTag, from: 1, count: 1, on: 0, acknowledging: start)
        let acknowledged = try rejectReason(session)
        #expect(acknowledged == .protocolError)
        try session.snack(.dataOrR2T, task: command.initiatorTaskTag, on: 0, acknowledging: start)
        for expected in data[2...] {
            let again = try session.receive(DataInPDU.self, on: 0)
            #expect(isSame(again, expected))
        }
    }

    @Test("R-Data: what is not acknowledged comes again, cut by the new length, and a response with the SNACK Tag")
    func resegmented() throws {
        let session = try session()
        let command = session.read(0, 8)
        let start = session[0].expStatSN
        let data = try read(session, command)
        var text = TextRequestPDU()
        let declaration = Array("MaxRecvDataSegmentLength=512\0".utf8)
        text.isImmediate = true
        text.isFinal = true
        text.initiatorTaskTag = session.takeTag()
        text.cmdSN = session.cmdSN
        text.dataSegmentLength = declaration.count
        try session.send(text, data: declaration, on: 0, acknowledging: start)
        _ = try session.receive(TextResponsePDU.self, on: 0)
        try session.snack(
            .rData, task: command.initiatorTaskTag, transfer: 0x51AC, on: 0, acknowledging: start)
        for number in 0..<8 {
            let again = try session.receive(DataInPDU.self, on: 0)
            #expect(again.dataSN == UInt32(number) && again.bufferOffset == UInt32(number * 512))
            #expect(again.dataSegmentLength == 512 && !again.hasStatus)
        }
        let response = try session.receive(SCSIResponsePDU.self, on: 0)
        #expect(response.snackTag == 0x51AC && response.statSN == data[3].statSN && response.expDataSN == 8)
        try session.snack(.status, from: data[3].statSN.rawValue, count: 1, on: 0, acknowledging: start)
        let again = try session.receive(SCSIResponsePDU.self, on: 0)
        #expect(isSame(again, response))
    }

    @Test("SNACK at ErrorRecoveryLevel 0 is a protocol error")
    func levelZero() throws {
        let session = try session(level: 0)
        try session.snack(.status, on: 0)
        let reason = try rejectReason(session)
        #expect(reason == .protocolError)
    }

    @Test("Outstanding R2Ts are sent again as they were")
    func requestSNACK() throws {
        let session = try session { $0.operational.preferred.immediateData = false }
        let command = session.write(0, 8)
        try session.send(command, on: 0)
        let requests = try (0..<2).map { _ in try session.receive(ReadyToTransferPDU.self, on: 0) }
        try session.snack(.dataOrR2T, task: command.initiatorTaskTag, from: 1, count: 1, on: 0)
        let again = try session.receive(ReadyToTransferPDU.self, on: 0)
        #expect(isSame(again, requests[1]))
        try session.answer(requests[0], from: pattern(4096), on: 0)
        try session.snack(.dataOrR2T, task: command.initiatorTaskTag, on: 0)
        let rest = try session.receive(ReadyToTransferPDU.self, on: 0)
        #expect(isSame(rest, requests[1]))
        try session.snack(.dataOrR2T, task: command.initiatorTaskTag, from: 0, count: 1, on: 0)
        let reason = try rejectReason(session)
        #expect(reason == .protocolError, "its data is here")
        try session.answer(requests[1], from: pattern(4096), on: 0)
        let response = try session.receive(SCSIResponsePDU.self, on: 0)
        #expect(response.status == .good && response.expDataSN == 2)
    }

    /// Sends a PDU whose data digest is wrong.
    private func sendDamaged<Header: PDUHeader>(_ session: SharedSession, _ header: Header, _ data: [UInt8]) throws {
        var bytes = BasicHeaderSegment(header).bytes.copyToArray()
        bytes += data
        bytes.appendBE32(0x0BAD_0BAD)
        try session[0].connection.send(bytes: bytes)
    }

    @Test("Data-Out with a wrong digest is rejected and asked for again by a recovery R2T")
    func damagedDataOut() throws {
        let session = try session { settings in
            settings.operational.preferred.immediateData = false
            settings.operational.dataDigests = [.crc32c]
        }
        let command = session.write(0, 4)
        try session.send(command, on: 0)
        let request = try session.receive(ReadyToTransferPDU.self, on: 0)
        #expect(request.desiredDataTransferLength == 2048 && request.r2tSN == 0)
        let data = pattern(2048, seed: 5)
        var part = session.dataOut(request, Array(data[..<512]))
        part.isFinal = false
        try session.send(part, data: Array(data[..<512]), on: 0)
        (part.dataSN, part.bufferOffset) = (1, 512)
        try sendDamaged(session, part, pattern(512, seed: 99))
        let reason = try rejectReason(session)
        #expect(reason == .dataDigestError)
        (part.dataSN, part.bufferOffset, part.dataSegmentLength, part.isFinal) = (2, 1024, 1024, true)
        try session.send(part, data: Array(data[1024...]), on: 0)
        let recovery = try session.receive(ReadyToTransferPDU.self, on: 0)
        #expect(recovery.bufferOffset == 512 && recovery.desiredDataTransferLength == 1536 && recovery.r2tSN == 1)
        #expect(recovery.targetTransferTag != request.targetTransferTag)
        try session.answer(recovery, from: data, on: 0)
        let response = try session.receive(SCSIResponsePDU.self, on: 0)
        #expect(response.status == .good)
        try session.send(session.read(0, 4), on: 0)
        let read = try session.readOutcome(on: 0)
        #expect(read.data == data)
    }

    @Test("Unsolicited data with a wrong digest, or a gap, is asked for again", arguments: [true, false])
    func damagedUnsolicited(isLost: Bool) throws {
        let session = try session { settings in
            settings.operational.preferred.initialR2T = false
            settings.operational.dataDigests = [.crc32c]
        }
        var command = session.write(0, 8)
        command.isFinal = false
        let data = pattern(4096, seed: 6)
        try session.send(command, on: 0)
        var part = DataOutPDU()
        part.initiatorTaskTag = command.initiatorTaskTag
        part.isFinal = false
        part.dataSegmentLength = 512
        try session.send(part, data: Array(data[..<512]), on: 0)
        (part.dataSN, part.bufferOffset) = (1, 512)
        if !isLost {
            try sendDamaged(session, part, pattern(512, seed: 99))
            let reason = try rejectReason(session)
            #expect(reason == .dataDigestError)
        }
        (part.dataSN, part.bufferOffset, part.isFinal) = (2, 1024, true)
        try session.send(part, data: Array(data[1024..<1536]), on: 0)
        let first = try session.receive(ReadyToTransferPDU.self, on: 0)
        #expect(first.bufferOffset == 512 && first.desiredDataTransferLength == 2048)
        let second = try session.receive(ReadyToTransferPDU.self, on: 0)
        try session.answer(first, from: data, on: 0)
        try session.answer(second, from: data, on: 0)
        let response = try session.receive(SCSIResponsePDU.self, on: 0)
        #expect(response.status == .good)
        try session.send(session.read(0, 8), on: 0)
        let read = try session.readOutcome(on: 0)
        #expect(read.data == data)
    }

    @Test("The data of a later R2T may come before that of a recovery R2T")
    func outOfOrder() throws {
        let session = try session { $0.operational.preferred.immediateData = false }
        let data = pattern(4096, seed: 7)
        try session.send(session.write(0, 8), on: 0)
        let requests = try (0..<2).map { _ in try session.receive(ReadyToTransferPDU.self, on: 0) }
        // The first PDU of the first sequence is lost.
        var part = session.dataOut(requests[0], Array(data[1024..<2048]))
        (part.dataSN, part.bufferOffset) = (1, 1024)
        try session.send(part, data: Array(data[1024..<2048]), on: 0)
        let recovery = try session.receive(ReadyToTransferPDU.self, on: 0)
        #expect(recovery.bufferOffset == 0 && recovery.desiredDataTransferLength == 2048 && recovery.r2tSN == 2)
        try session.answer(requests[1], from: data, on: 0)
        try session.answer(recovery, from: data, on: 0)
        let response = try session.receive(SCSIResponsePDU.self, on: 0)
        #expect(response.status == .good)
        try session.send(session.read(0, 8), on: 0)
        let read = try session.readOutcome(on: 0)
        #expect(read.data == data)
    }

    @Test("A command whose immediate data is damaged is rejected and expected again")
    func damagedImmediate() throws {
        let session = try session { $0.operational.dataDigests = [.crc32c] }
        let command = session.write(0, 1, immediate: 512)
        try sendDamaged(session, command, pattern(512, seed: 99))
        let reject = try session.receive(RejectPDU.self, on: 0)
        #expect(reject.reason == .dataDigestError && reject.expCmdSN == command.cmdSN)
        let next = session.read(0, 1)
        try session.send(next, on: 0)
        let isQuiet = try session.isQuiet(0)
        #expect(isQuiet, "the gap is not closed")
        try session.send(command, data: pattern(512), on: 0)
        let response = try session.receive(SCSIResponsePDU.self, on: 0)
        #expect(response.initiatorTaskTag == command.initiatorTaskTag && response.status == .good)
        let read = try session.readOutcome(on: 0)
        #expect(read.tag == next.initiatorTaskTag && read.data == pattern(512))
    }

    @Test("A peer that never acknowledges loses the connection, and what was kept for it is given back")
    func neverAcknowledged() throws {
        let session = try session()
        let start = session[0].expStatSN
        try session.send(session.read(0, 1), on: 0, acknowledging: start)
        _ = try session.receive(DataInPDU.self, on: 0)
        for _ in 0..<1000 {
            var ping = NOPOutPDU()
            ping.isImmediate = true
            ping.initiatorTaskTag = session.takeTag()
            ping.cmdSN = session.cmdSN
            do {
                try session.send(ping, on: 0, acknowledging: start)
            } catch {
                break
            }
        }
        try session[0].connection.waitUntilClosed()
        let isReturned = session.fixture.eventually {
            session.fixture.server.connectionCount == 0 && session.fixture.leasedBytes == 0
        }
        #expect(isReturned)
    }

    @Test("Of more Data-In than may be kept the oldest cannot be had again; its status can")
    func keptDataIsBounded() throws {
        var limits = PortLimits()
        limits.retainedData = 8192
        let session = try session(limits)
        let start = session[0].expStatSN
        let first = session.read(0, 8)
        for command in [first, session.read(0, 8), session.read(0, 8)] {
            try session.send(command, on: 0, acknowledging: start)
            for _ in 0..<4 { _ = try session.receive(DataInPDU.self, on: 0) }
        }
        try session.snack(
            .dataOrR2T, task: first.initiatorTaskTag, from: 0, count: 1, on: 0, acknowledging: start)
        let reason = try rejectReason(session)
        #expect(reason == .snackReject)
        try session.snack(.status, from: start.rawValue, count: 1, on: 0, acknowledging: start)
        let status = try session.receive(SCSIResponsePDU.self, on: 0)
        #expect(status.initiatorTaskTag == first.initiatorTaskTag && status.statSN == start)
    }
}
