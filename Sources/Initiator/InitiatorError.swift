public import ISCSI
public import Platform

/// Why an initiator cannot go on. The outcome of a SCSI command is never an error: see `CommandOutcome`.
public enum InitiatorError: Error, Sendable, Equatable, CustomStringConvertible {
    /// A system call failed.
    case system(SystemError)
    /// The target closed the connection, or it broke.
    case connectionClosed
    /// Nothing came within the time limit.
    case timedOut
    /// The stream cannot be cut into PDUs.
    case framing(FramingError)
    /// The data digest of a PDU is wrong.
    case dataDigest
    /// The target refused the login; `address` is its TargetAddress when it redirects.
    case loginRefused(LoginStatus, address: String?)
    /// The negotiation of parameters failed.
    case negotiation(NegotiationFailure)
    /// The target wants another authentication than the settings have, or did not prove itself.
    case authentication
    /// The target rejected a PDU.
    case rejected(RejectReason)
    /// The target did what the standard does not allow.
    case protocolViolation(String)
    /// The target's command window is closed.
    case commandWindowClosed

    /// The failure as a sentence.
    public var description: String {
        switch self {
        case .system(let error): error.description
        case .connectionClosed: "the target closed the connection"
        case .timedOut: "the target did not answer in time"
        case .framing(let error): "the target's stream is broken: \(error)"
        case .dataDigest: "the target sent a wrong data digest"
        case .loginRefused(let status, let address):
            "the target refused the login: \(status)\(address.map { ", go to \($0)" } ?? "")"
        case .negotiation(let failure): "the login failed: \(failure)"
        case .authentication: "the login failed: the target did not authenticate as the settings ask"
        case .rejected(let reason): "the target rejected a PDU with reason \(reason.rawValue)"
        case .protocolViolation(let text): "the target broke the protocol: \(text)"
        case .commandWindowClosed: "the target's command window is closed"
        }
    }

    /// Whether the target is gone, as opposed to wrong.
    public var isConnectionLoss: Bool {
        switch self {
        case .connectionClosed, .system: true
        default: false
        }
    }
}
