internal import Bytes
internal import ISCSI
internal import Platform
internal import SCSI
internal import TargetCore

// NOP, Text, Logout, and what is rejected (RFC 7143 sections 11.10, 11.14, 11.17 and 11.18).
extension Connection {
    /// The most bytes of a PDU's data that go out as a copy in the output queue, and that are kept of one which waits
    /// for its turn; more goes out from a buffer of its own.
    static let controlDataLimit = 8192
    /// The targets among which a discovery chooses at the cost of one more request.
    private static let targetsOfRequest = 64

    /// Takes a PDU of full feature phase that is neither SCSI Command nor Data-Out.
    func receiveRequest(_ header: RawSpan, _ data: RawSpan) {
        guard let session else { return }
        countRequest()
        switch header.opcode {
        case .nopOut, .textRequest, .taskManagementRequest, .logoutRequest: break
        case .snackRequest: return receiveSNACK(header)
        case .loginRequest: return reject(header, .protocolError)
        default: return reject(header, .commandNotSupported)
        }
        let cmdSN = SequenceNumber(header.loadBE32(at: 24))
        if header.isImmediate {
            if holdFunction(header, cmdSN, in: session) { return }
        } else {
            // The PDU that is expected may be here already, but for its data or for the turn that it waits for.
            if session.order.contains(cmdSN) { return }
            switch session.changeWindow({ $0.receive(cmdSN, isImmediate: false) }) {
            case .ignore: return
            case .keep: return hold(header, data, cmdSN, in: session)
            case .deliver: break
            }
        }
        deliverControl(header, data)
        session.deliverHeld()
    }

    /// Does what a PDU asks for whose turn has come.
    func deliverControl(_ header: RawSpan, _ data: RawSpan) {
        switch header.opcode {
        case .nopOut: answerPing(header, data)
        case .textRequest: answerText(header, data)
        case .taskManagementRequest: manageTasks(header)
        default: logOut(header)
        }
    }

    /// Keeps a PDU until the CmdSNs before its own have come. One that cannot be kept is refused: its CmdSN is still
    /// expected then.
    private func hold(_ header: RawSpan, _ data: RawSpan, _ cmdSN: SequenceNumber, in session: Session) {
        guard let copy = BasicHeaderSegment(parsing: header), !session.order.contains(cmdSN) else { return }
        guard session.order.requestCount < server.limits.heldRequests else {
            return reject(header, .longOperationReject)
        }
        guard data.byteCount <= Self.controlDataLimit else { return reject(header, .longOperationReject) }
        session.order.hold(HeldRequest(header: copy, data: data.copyToArray(), connection: self), cmdSN)
    }

    /// Rejects a PDU; its header goes back as data.
    func reject(_ header: RawSpan, _ reason: RejectReason) {
        guard let session else { return }
        session.openWindow()
        var pdu = RejectPDU()
        pdu.reason = reason
        pdu.statSN = status.take()
        pdu.expCmdSN = session.window.expCmdSN
        pdu.maxCmdSN = session.window.maxCmdSN
        send(pdu, data: header.extracting(0..<BasicHeaderSegment.length))
    }

    /// The most bytes of data that an answer can have: as many as the initiator takes, or few when buffers are scarce.
    private var answerLimit: Int {
        // A buffer may be four times as long as what it is for.
        let isRoomy = reactor.pool.limit - reactor.pool.leasedBytes >= 4 * parameters.maxSendDataSegmentLength
        return isRoomy
            ? parameters.maxSendDataSegmentLength : min(parameters.maxSendDataSegmentLength, Self.controlDataLimit)
    }

    // MARK: NOP

    private func answerPing(_ header: RawSpan, _ data: RawSpan) {
        guard let session, let ping = NOPOutPDU(parsing: header) else { return }
        if ping.targetTransferTag != reservedTag, ping.targetTransferTag == pingTag { pingTag = nil }
        guard ping.initiatorTaskTag != reservedTag else { return }
        // The data comes back up to what the initiator takes (section 11.19).
        let count = min(data.byteCount, answerLimit)
        countRequest(weight: count / Self.controlDataLimit)
        session.openWindow()
        var answer = NOPInPDU()
        answer.dataSegmentLength = count
        answer.initiatorTaskTag = ping.initiatorTaskTag
        answer.statSN = status.take()
        answer.expCmdSN = session.window.expCmdSN
        answer.maxCmdSN = session.window.maxCmdSN
        send(answer, data: data.extracting(0..<count))
    }

    /// Asks a silent initiator for an answer, with NOP-In.
    func ping() {
        guard let session else { return }
        let tag = nextPingTag
        nextPingTag = nextPingTag &+ 1 == reservedTag ? 1 : nextPingTag &+ 1
        pingTag = tag
        session.openWindow()
        var ping = NOPInPDU()
        ping.targetTransferTag = tag
        ping.statSN = status.next
        ping.expCmdSN = session.window.expCmdSN
        ping.maxCmdSN = session.window.maxCmdSN
        send(ping)
    }

    /// Asks the initiator to log out within `seconds`.
    func requestLogout(seconds: Int) {
        guard isFullFeature, let session, !isLogoutRequested else { return }
        isLogoutRequested = true
        var message = AsyncMessagePDU()
        message.event = .logoutRequested
        message.parameter3 = UInt16(clamping: seconds)
        message.statSN = status.take()
        message.expCmdSN = session.window.expCmdSN
        message.maxCmdSN = session.window.maxCmdSN
        send(message)
    }

    // MARK: Text

    private func answerText(_ header: RawSpan, _ data: RawSpan) {
        guard let session, let request = TextRequestPDU(parsing: header), var machine = text else { return }
        var agreed = parameters
        var discovered = 0
        let step = machine.receive(request, data: data, parameters: &agreed, partLimit: answerLimit) { scope in
            discovered = scope == .all ? server.targets.all.count : 1
            return server.discover(scope, session, on: self)
        }
        text = machine
        if parameters != agreed {
            parameters = agreed
            datamover?.noticeParameters(agreed)
        }
        switch step {
        case .reject(let reason):
            reject(header, reason)
        case .respond(var response, let text):
            countRequest(weight: discovered / Self.targetsOfRequest + text.count / Self.controlDataLimit)
            session.openWindow()
            response.statSN = status.take()
            response.expCmdSN = session.window.expCmdSN
            response.maxCmdSN = session.window.maxCmdSN
            send(response, data: text.rawSpan)
        }
    }

    // MARK: Logout

    private func logOut(_ header: RawSpan) {
        guard let session, let request = LogoutRequestPDU(parsing: header) else { return }
        let isRecovery = request.reason == .removeConnectionForRecovery
        let other = session.connection(withID: request.connectionID)
        var response = LogoutResponsePDU()
        switch request.reason {
        case .closeSession: response.response = .closed
        case .removeConnectionForRecovery where parameters.errorRecoveryLevel < 2:
            response.response = .recoveryNotSupported
        case .closeConnection, .removeConnectionForRecovery:
            let isKnown =
                other != nil || session.closeFailed(connectionID: request.connectionID, keepingTasks: isRecovery)
            response.response = isKnown ? .closed : .connectionNotFound
        default: return reject(header, .invalidPDUField)
        }
        session.openWindow()
        response.initiatorTaskTag = request.initiatorTaskTag
        response.statSN = status.take()
        response.expCmdSN = session.window.expCmdSN
        response.maxCmdSN = session.window.maxCmdSN
        response.time2Wait = UInt16(clamping: parameters.defaultTime2Wait)
        response.time2Retain = parameters.errorRecoveryLevel == 2 ? UInt16(clamping: parameters.defaultTime2Retain) : 0
        send(response)
        guard response.response == .closed, isOpen else { return }
        // Commands that have not ended get no answer any more (section 11.14), unless another connection takes them
        // over.
        if request.reason == .closeSession {
            session.end(.loggedOut)
        } else if let other {
            isRecovery ? other.leaveForRecovery(isOwn: other === self) : other.leaveLoggedOut()
        }
    }

    /// Closes after a logout; commands that have not ended get no answer.
    private func leaveLoggedOut() {
        session?.remove(self, .loggedOut, .loggedOut)
        closeAfterSending(.loggedOut)
    }

    /// Closes so that another connection can take the commands over. What is queued refers to their buffers: it is sent
    /// before these go back, or not at all.
    private func leaveForRecovery(isOwn: Bool) {
        guard isOwn else { return close(.loggedOut) }
        datamover?.withdrawAllData()
        closeAfterSending(.loggedOut)
    }
}
