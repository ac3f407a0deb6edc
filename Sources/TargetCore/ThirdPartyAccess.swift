public import SCSI

/// Who is at the initiator's end of a nexus: two nexuses with the same owner are one initiator's.
public struct NexusOwner: Hashable, Sendable {
    /// The iSCSI name of the initiator.
    public let initiatorName: String
    /// The name that it has proved to have by CHAP; nil when it had to prove nothing.
    public let user: String?
    /// The network address that the session was begun from, without a port.
    public let address: String

    public init(initiatorName: String, user: String?, address: String) {
        self.initiatorName = initiatorName
        self.user = user
        self.address = address
    }
}

extension ITLNexus {
    /// The nexus by which the initiator of this one reaches `unit` at this moment; nil when it does not.
    ///
    /// It is this one, or another of the same I_T nexus, or one of another I_T nexus with the same owner that has
    /// addressed the unit; one whose target port may use the unit comes first. So a copy manager reads and writes
    /// nothing that the initiator could not read and write by itself. On the reactor of this nexus; the nexus that is
    /// found may belong to another.
    public func access(to unit: LogicalUnit) -> ITLNexus? {
        if unit === logicalUnit { return isAttached ? self : nil }
        let attached = unit.attachedNexuses.all
        var own = attached.first { $0.iTNexus === iTNexus }
        if own == nil, let number = iTNexus.logicalUnits.number(of: unit) {
            own = iTNexus.unitNexus(LogicalUnitNumber(number))
        }
        if let own, own.accessStateRefusal == nil { return own }
        guard let owner = iTNexus.owner else { return own }
        let others = attached.filter { $0.iTNexus.owner == owner }
        return others.first { $0.accessStateRefusal == nil } ?? own ?? others.first
    }

    /// What commands that use the medium end with in the access state of the target port (SPC-5 clause 5.16.2.4); nil
    /// when it permits them. Any thread.
    public var accessStateRefusal: SenseData? { conditions.accessStateSense }

    /// Whether the nexus exists: it ends with its session, and when its unit is no longer mapped. Any thread.
    public var isAttached: Bool { logicalUnit.attachedNexuses.contains(self) }

    /// Whether no reservation of another nexus keeps this one from reading. Any thread.
    public var mayRead: Bool { conditions.isDisjoint(with: [.reservationConflict, .accessExclusion]) }

    /// Whether no reservation of another nexus keeps this one from writing. Any thread.
    public var mayWrite: Bool {
        conditions.isDisjoint(with: [.reservationConflict, .writeExclusion, .accessExclusion])
    }
}
