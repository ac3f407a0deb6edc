internal import Bytes
internal import ISCSI
internal import Platform
internal import TargetCore

// The login phase, and the step into full feature phase (RFC 7143 sections 6.3 and 11.12).
extension Connection {
    /// Takes a PDU of the login phase.
    func receiveLogin(_ header: RawSpan, _ data: RawSpan) {
        guard let step = login?.receive(header: header, data: data) else { return }
        switch step {
        case .reply(let reply):
            send(reply.header, data: reply.text.rawSpan)
        case .refused(let reply, let reason):
            noteRefusal(reason, login?.claims ?? LoginClaims())
            send(reply.header, data: reply.text.rawSpan)
            closeAfterSending(.loginRefused(reason))
        case .drop:
            close(.notALogin)
        case .finished(let reply, let result):
            phase = .starting(reply, result)
            login = nil
            datamover?.finish()
        }
    }

    /// Leaves the portal's reactor for that of the session.
    func moveToSession(_ reply: LoginReply, _ result: LoginResult) {
        leavePortal()
        server.startSession(self, reply, result)
    }

    /// Begins full feature phase, on the session's reactor: the last login reply goes out, and digests begin after it.
    func beginFullFeature(_ session: Session, _ reply: LoginReply, _ result: LoginResult) {
        guard !isClosed else { return }
        // No connection joins a session that has not begun.
        let isEarly = result.identity.targetSessionHandle != 0 && session.succession.isWaiting
        guard !session.isEnded, !isEarly else { return close(.sessionEnded) }
        arrive(at: session.reactor)
        parameters = result.parameters
        status = result.statusSequence
        text = TextMachine(sessionType: result.identity.sessionType, settings: .target)
        session.begin(from: peerAddress.host)
        session.add(self)
        guard !isClosed else { return }
        self.session = session
        phase = .fullFeature
        var header = reply.header
        header.expCmdSN = session.window.expCmdSN
        header.maxCmdSN = session.window.maxCmdSN
        do throws(SystemError) {
            try datamover?.enable(
                parameters, on: session.reactor, after: BasicHeaderSegment(header), data: reply.text.rawSpan)
        } catch {
            return close(.failed(error))
        }
        guard !isClosed else { return }
        if parameters.errorRecoveryLevel > 0 { recovery = ConnectionRecovery(first: status.next) }
        acknowledgedStatSN = status.next
        readsAcknowledgements =
            recovery != nil || parameters.taskReporting != .rfc3720 && parameters.maxConnections > 1
        watchForSilence()
    }

    /// Ends a login whose session cannot begin, on `reactor`: the last reply says so instead.
    func refuseStart(
        _ identity: LoginIdentity, _ user: String?, _ reply: LoginReply, _ status: LoginStatus, on reactor: Reactor
    ) {
        guard !isClosed else { return }
        arrive(at: reactor)
        noteRefusal(
            status,
            LoginClaims(initiatorName: identity.initiatorName, targetName: identity.targetName, chapName: user))
        var header = reply.header
        header.isTransit = false
        header.nextStageCode = 0
        header.status = status
        header.dataSegmentLength = 0
        phase = .closing(.loginRefused(status))
        do throws(SystemError) {
            try datamover?.attach(to: reactor)
            send(header)
            if !isClosed { watchForSilence() }
        } catch {
            close(.failed(error))
        }
    }
}

/// What the login machine asks the server.
struct PortAuthority: LoginAuthority {
    unowned let connection: Connection

    func admit(_ identity: LoginIdentity) -> LoginAdmission { connection.server.admit(identity, connection) }

    func establish(_ identity: LoginIdentity, _ parameters: NegotiatedParameters) -> SessionAdmission {
        connection.server.establish(identity, connection)
    }
}
