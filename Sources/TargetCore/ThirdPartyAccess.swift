internal import SCSI

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
    /// addressed the unit. So a copy manager reads and writes nothing that the initiator could not read and write by
    /// itself. On the reactor of this nexus; the nexus that is found may belong to another.
    public func access(to unit: LogicalUnit) -> ITLNexus? {
        if unit === logicalUnit { return isAttached ? self : nil }
        let attached = unit.attachedNexuses.all
        if let own = attached.first(where: { $0.iTNexus === iTNexus }) { return own }
        if let number = iTNexus.logicalUnits.number(of: unit) {
            return iTNexus.unitNexus(LogicalUnitNumber(number))
        }
        guard let owner = iTNexus.owner else { return nil }
        return attached.first { $0.iTNexus.owner == owner }
    }

    /// Whether the nexus exists: it ends with its session, and when its unit is no longer mapped. Any thread.
    public var isAttached: Bool { logicalUnit.attachedNexuses.contains(self) }

    /// Whether no reservation of another nexus keeps this one from reading. Any thread.
    public var mayRead: Bool { conditions.isDisjoint(with: [.reservationConflict, .accessExclusion]) }

    /// Whether no reservation of another nexus keeps this one from writing. Any thread.
    public var mayWrite: Bool {
        conditions.isDisjoint(with: [.reservationConflict, .writeExclusion, .accessExclusion])
    }
}
