import Authentication
import Bytes
import ISCSI

/// Grants everything to who proves to be one of the policy's initiators.
private struct Doorman: LoginAuthority {
    let policy: AuthenticationPolicy

    func admit(_ identity: LoginIdentity) -> LoginAdmission {
        .granted(LoginGrant(targetPortalGroupTag: 1, authentication: policy))
    }

    func establish(_ identity: LoginIdentity, _ parameters: NegotiatedParameters) -> SessionAdmission {
        .established(targetSessionHandle: 1)
    }
}

extension AuthenticationPolicy {
    /// Whether the login ends well, as whom, and what failed.
    func logIn(
        as credential: CHAPCredential, asking targetCredential: CHAPCredential?, algorithms: [CHAPAlgorithm]
    ) throws -> (name: String?, failure: InitiatorLoginFailure?) {
        var configuration = InitiatorLoginConfiguration(
            initiatorName: "iqn.2026-11.dev.carousel:host", targetName: "iqn.2026-11.dev.carousel:disk")
        configuration.credential = credential
        configuration.targetCredential = targetCredential
        configuration.provider = .standard
        configuration.provider?.algorithms = algorithms
        var initiator = LoginInitiatorMachine(configuration)
        var machine = LoginMachine(authority: Doorman(policy: self), windowLimit: 16)
        var submission = initiator.start()
        var name: String?
        while true {
            let (header, text) = (BasicHeaderSegment(submission.header).bytes.copyToArray(), submission.text)
            let step = machine.receive(header: header.rawSpan, data: text.rawSpan)
            let reply: LoginReply
            switch step {
            case .reply(let next), .refused(let next, _): reply = next
            case .finished(let last, let result):
                reply = last
                name = result.authenticatedName
            case .drop: throw InitiatorLoginFailure.protocolError
            }
            let answer = reply.text
            let outcome = initiator.receive(reply.header, data: answer.rawSpan)
            switch outcome {
            case .send(let next): submission = next
            case .finished: return (name, nil)
            case .failed(let failure): return (name, failure)
            }
        }
    }
}
