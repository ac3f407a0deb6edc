internal import SCSI

/// A target port asymmetric access state of a logical unit (SPC-5 clause 5.16.2.4, table 307): what may be done with
/// the unit through the ports of a target port group. The raw values are those of ASYMMETRIC ACCESS STATE.
///
/// The logical block dependent state is for units with referrals, which there are none of.
public enum AsymmetricAccessState: UInt8, Sendable, CaseIterable, CustomStringConvertible {
    case activeOptimized = 0x0
    case activeNonOptimized = 0x1
    case standby = 0x2
    case unavailable = 0x3
    /// The secondary state, of a target port and not of a group. Every port is in a target port group of its own, so it
    /// takes the place of the group's primary state.
    case offline = 0xE

    /// In SPC's words.
    public var description: String {
        switch self {
        case .activeOptimized: "active/optimized"
        case .activeNonOptimized: "active/non-optimized"
        case .standby: "standby"
        case .unavailable: "unavailable"
        case .offline: "offline"
        }
    }

    /// What stops commands that the state does not allow.
    var condition: GateConditions {
        switch self {
        case .activeOptimized, .activeNonOptimized: []
        case .standby: .standby
        case .unavailable: .unavailable
        case .offline: .offline
        }
    }
}

/// Why a target port group is in its access state: STATUS CODE (SPC-5 table 308).
public enum AccessStateCause: UInt8, Sendable, CaseIterable {
    /// It has been in it all the time.
    case none = 0
    /// SET TARGET PORT GROUPS has changed it.
    case explicit = 1
    /// Somebody has changed it who is no initiator.
    case implicit = 2
}

extension GateConditions {
    /// Those that access states bring about.
    static let accessStates: Self = [.standby, .unavailable, .offline, .transitioning]

    /// What a command meets that the access state of the target port stops (SPC-5 clauses 5.16.2.4 and 5.16.2.5); nil
    /// when none of `accessStates` is among the conditions.
    var accessStateSense: SenseData? {
        guard !isDisjoint(with: Self.accessStates) else { return nil }
        let code: AdditionalSenseCode =
            if contains(.transitioning) {
                .asymmetricAccessStateTransition
            } else if contains(.offline) {
                .notReadyOffline
            } else if contains(.unavailable) {
                .targetPortInUnavailableState
            } else {
                .targetPortInStandbyState
            }
        return SenseData(.notReady, code)
    }
}

extension ITLNexus {
    /// Whether INQUIRY says that no peripheral device is connected: PERIPHERAL QUALIFIER 001b (SPC-5 clause
    /// 5.16.2.4.5). A target port that is offline reaches none either.
    var hidesPeripheralDevice: Bool { !conditions.isDisjoint(with: [.unavailable, .offline]) }
}
