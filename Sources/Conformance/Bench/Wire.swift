internal import Bytes
internal import ISCSI
internal import Initiator
internal import Platform
internal import SCSI

/// The numbering that the connections of a session share.
final class SessionState {
    var nextCmdSN = SequenceNumber(1)
    var expCmdSN = SequenceNumber(1)
    var maxCmdSN = SequenceNumber(1)
    var targetSessionHandle: UInt16 = 0
    private var nextTag: UInt32 = 0x1001

    func takeTag() -> UInt32 {
        defer { nextTag &+= 1 }
        return nextTag
    }

    func takeCmdSN(isImmediate: Bool = false) -> SequenceNumber {
        let number = nextCmdSN
        if !isImmediate { nextCmdSN = number.advanced(by: 1) }
        return number
    }
}

/// One connection to the target, as a test sees it: it sends anything, and says what was expected when something else
/// comes.
final class Wire {
    unowned let bench: Bench
    let connection: PDUConnection
    let session: SessionState
    var plan = LoginPlan()
    var negotiated = Negotiated()
    var isLoggedIn = false
    /// Whether this login has said who logs in.
    var hasSentIdentity = false
    var expStatSN = SequenceNumber(0)
    /// Commands under way by tag.
    var tasks: [UInt32: CommandProgress] = [:]
    /// Asynchronous Messages that have come.
    var asyncMessages: [AsyncMessagePDU] = []
    /// Breaches of the numbering rules, for the tests of these rules.
    var numberingFaults: [String] = []
    /// Whether ExpStatSN moves with what comes; ends when a test keeps statuses unacknowledged.
    var acknowledges = true
    /// Whether StatSN must go up by one with each status: not while statuses are asked for again.
    var checksStatSN = true

    init(bench: Bench, connection: PDUConnection, session: SessionState) {
        self.bench = bench
        self.connection = connection
        self.session = session
    }

    // MARK: Sending

    /// Sends a PDU; the lengths in the header are not changed.
    func send(
        _ header: BasicHeaderSegment, additionalHeader: [UInt8] = [], data: [UInt8] = []
    ) throws {
        try sending { () throws(InitiatorError) in
            try connection.send(header, additionalHeader: additionalHeader, data: data)
        }
    }

    /// Sends a PDU of that header, as `change` makes it on the wire.
    func send(
        _ header: some PDUHeader, additionalHeader: [UInt8] = [], data: [UInt8] = [],
        change: (inout [UInt8]) -> Void = { _ in }
    ) throws {
        var bytes = connection.encoded(BasicHeaderSegment(header), additionalHeader: additionalHeader, data: data)
        change(&bytes)
        try send(bytes: bytes)
    }

    /// Sends `bytes` as they are.
    func send(bytes: [UInt8]) throws {
        try sending { () throws(InitiatorError) in try connection.send(bytes: bytes) }
    }

    private func sending(_ body: () throws(InitiatorError) -> Void) throws {
        connection.timeout = bench.remaining
        do throws(InitiatorError) {
            try body()
        } catch .connectionClosed {
            // What the target says before it closes can still be read; a test that expects it to go on notices then.
            return
        } catch {
            throw TestEnd.failed(expected: "the target to take what is sent", got: error.description)
        }
    }

    // MARK: Receiving

    /// The next PDU. Pings of the target are answered, and Asynchronous Messages noted, unless they are what is
    /// expected.
    func next(_ expected: @autoclosure () -> String, keepingAll: Bool = false) throws -> ReceivedPDU {
        while true {
            let pdu: ReceivedPDU
            do throws(InitiatorError) {
                pdu = try connection.receive(by: bench.answerDeadline)
            } catch {
                throw TestEnd.failed(expected: expected(), got: Self.describe(error))
            }
            note(pdu)
            if keepingAll { return pdu }
            if try handle(pdu) { continue }
            return pdu
        }
    }

    static func describe(_ error: InitiatorError) -> String {
        switch error {
        case .timedOut: "no answer in time"
        case .connectionClosed: "the connection was closed"
        default: error.description
        }
    }

    /// Takes what the target says by itself.
    private func handle(_ pdu: ReceivedPDU) throws -> Bool {
        if let ping: NOPInPDU = pdu.parsed(), ping.initiatorTaskTag == reservedTag {
            if ping.targetTransferTag != reservedTag { try answer(ping) }
            return true
        }
        if let message: AsyncMessagePDU = pdu.parsed() {
            asyncMessages.append(message)
            return true
        }
        return false
    }

    private func answer(_ ping: NOPInPDU) throws {
        var answer = NOPOutPDU()
        answer.isImmediate = true
        answer.logicalUnitNumber = ping.logicalUnitNumber
        answer.targetTransferTag = ping.targetTransferTag
        answer.cmdSN = session.nextCmdSN
        answer.expStatSN = expStatSN
        try send(answer)
    }

    /// Notes the numbers, and what is wrong with them.
    private func note(_ pdu: ReceivedPDU) {
        let bytes = pdu.header.bytes
        let usesStatSN: Bool
        switch pdu.opcode {
        case .scsiResponse, .taskManagementResponse, .textResponse, .logoutResponse, .asyncMessage, .reject:
            usesStatSN = true
        case .dataIn: usesStatSN = bytes.byte(at: 1) & 0x01 != 0
        case .nopIn: usesStatSN = bytes.initiatorTaskTag != reservedTag
        default: usesStatSN = false
        }
        let hasStatSN = pdu.opcode == .readyToTransfer || pdu.opcode == .nopIn
        let statSN = SequenceNumber(bytes.loadBE32(at: 24))
        if isLoggedIn && checksStatSN && (usesStatSN || hasStatSN) && statSN != expStatSN {
            numberingFaults.append("StatSN \(statSN) in \(Self.describe(pdu)) where \(expStatSN) was due")
        }
        if usesStatSN && acknowledges { expStatSN = statSN.advanced(by: 1) }
        guard isLoggedIn else { return }
        noteWindow(pdu, SequenceNumber(bytes.loadBE32(at: 28)), SequenceNumber(bytes.loadBE32(at: 32)))
    }

    private func noteWindow(_ pdu: ReceivedPDU, _ expCmdSN: SequenceNumber, _ maxCmdSN: SequenceNumber) {
        if maxCmdSN.precedes(expCmdSN.advanced(by: -1)) {
            numberingFaults.append("MaxCmdSN \(maxCmdSN) before ExpCmdSN \(expCmdSN) less one in \(Self.describe(pdu))")
        }
        if session.expCmdSN.precedes(expCmdSN) { session.expCmdSN = expCmdSN }
        if session.maxCmdSN.precedes(maxCmdSN) { session.maxCmdSN = maxCmdSN }
    }

    // MARK: Expectations

    /// The next PDU, which must be one of that kind.
    func expect<Header: PDUHeader>(
        _ kind: Header.Type, _ expected: @autoclosure () -> String
    ) throws -> (header: Header, data: [UInt8]) {
        let pdu = try next(expected())
        guard let header: Header = pdu.parsed() else {
            throw TestEnd.failed(expected: expected(), got: Self.describe(pdu))
        }
        return (header, pdu.data)
    }

    /// Nothing comes for a short while. A ping shows then that the target is only silent, not dead.
    func expectNothing(_ why: @autoclosure () -> String) throws {
        if let pdu = try nextWithin(bench.target.silence) {
            throw TestEnd.failed(expected: why(), got: Self.describe(pdu))
        }
    }

    /// The next PDU when one comes within `limit`.
    func nextWithin(_ limit: Duration) throws -> ReceivedPDU? {
        let end = MonotonicTime.current() + limit
        while true {
            let pdu: ReceivedPDU
            do throws(InitiatorError) {
                pdu = try connection.receive(by: end)
            } catch .timedOut {
                return nil
            } catch {
                throw TestEnd.failed(expected: "a connection that stays open", got: Self.describe(error))
            }
            note(pdu)
            if try !handle(pdu) { return pdu }
        }
    }

    /// The target closes the connection, with nothing before it.
    func expectClosed(_ why: @autoclosure () -> String) throws {
        do throws(InitiatorError) {
            let pdu = try connection.receive(by: bench.answerDeadline)
            throw InitiatorError.protocolViolation(Self.describe(pdu))
        } catch .connectionClosed {
            return
        } catch .protocolViolation(let got) {
            throw TestEnd.failed(expected: why(), got: got)
        } catch .timedOut {
            throw TestEnd.failed(expected: why(), got: "a connection that stays open")
        } catch {
            throw TestEnd.failed(expected: why(), got: Self.describe(error))
        }
    }

    /// Nothing more comes after a logout: the target closes the connection, at the latest when this side has closed its
    /// half.
    func expectEnd() throws {
        connection.socket.shutdownWriting()
        try expectClosed("nothing but the end of the connection after the Logout Response")
    }

    /// The target closes the connection; what it says before does not matter.
    func expectClosedEventually(_ why: @autoclosure () -> String) throws {
        do throws(InitiatorError) {
            try connection.waitUntilClosed(by: bench.answerDeadline)
        } catch {
            throw TestEnd.failed(expected: why(), got: "a connection that stays open")
        }
    }

    /// What comes next: a PDU, or the end of the connection.
    func nextOrClosed(_ expected: @autoclosure () -> String) throws -> ReceivedPDU? {
        do {
            return try next(expected())
        } catch TestEnd.failed(let reason) {
            if reason.hasSuffix("the connection was closed") { return nil }
            throw TestEnd.failed(reason)
        }
    }

    /// The next PDU is a Reject for one of `reasons` that carries `header`.
    func expectReject(
        _ reasons: Set<RejectReason>, of header: BasicHeaderSegment? = nil, _ why: @autoclosure () -> String
    ) throws {
        try check(try next(why()), rejects: header, for: reasons, why())
    }

    /// The next PDU is such a Reject, or the connection ends. True when it has ended.
    @discardableResult
    func expectRejectOrClosed(
        _ reasons: Set<RejectReason>, of header: BasicHeaderSegment? = nil, _ why: @autoclosure () -> String
    ) throws -> Bool {
        guard let pdu = try nextOrClosed(why()) else { return true }
        try check(pdu, rejects: header, for: reasons, why())
        return false
    }

    private func check(
        _ pdu: ReceivedPDU, rejects header: BasicHeaderSegment?, for reasons: Set<RejectReason>, _ why: String
    ) throws {
        guard let reject: RejectPDU = pdu.parsed(), reasons.contains(reject.reason) else {
            throw TestEnd.failed(expected: why, got: Self.describe(pdu))
        }
        guard let header else { return }
        try require(
            pdu.data.count >= BasicHeaderSegment.length
                && pdu.data.prefix(BasicHeaderSegment.length).elementsEqual(header.bytes.copyToArray()),
            "the Reject to carry the header of the rejected PDU", got: "\(pdu.data.count) other bytes")
    }
}
