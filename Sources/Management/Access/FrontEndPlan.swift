public import ISCSI
public import Resources

/// What the iSCSI front end is to offer to whom: the whole of it, as catalog and secrets say.
public struct FrontEndPlan: Sendable {
    public var targets: [TargetPlan]
    /// What initiators have to prove before they may discover; nothing when nil.
    public var discoveryCredentials: CredentialSet?
}

public struct TargetPlan: Sendable {
    /// The iSCSI name.
    public var name: String
    public var alias: String
    /// Whether a disk or a library brings the target with it; others are made and removed as the plan says.
    public var belongsToDevice: Bool
    /// The keys of its own logical units, by number: those that everyone sees for whom nothing else is said.
    public var logicalUnits: [Int: Int64]
    /// The portal groups that offer it; all when nil.
    public var portalGroupTags: Set<UInt16>?
    /// Who may log in at all.
    public var accessLevel: AccessLevel
    /// Who gets in at access level `groups`, in the order in which it is decided.
    public var groups: [TargetGroupPlan]
    /// Where logins are sent instead.
    public var redirection: Redirection?
    /// What initiators have to prove where no group says something else; nothing when nil.
    public var credentials: CredentialSet?

    /// Where logins are sent.
    public struct Redirection: Hashable, Sendable {
        /// `address:port`.
        public var address: String
        /// Whether it is permanent (status 0102h).
        public var isPermanent: Bool
    }
}

/// The access of an initiator group to a target.
public struct TargetGroupPlan: Sendable {
    /// The catalog's key of the group.
    public var group: Int64
    /// Who belongs to it.
    public var members: InitiatorMembership
    /// The keys of the logical units that it sees, by number; those of the target when nil.
    public var logicalUnits: [Int: Int64]?
    /// What its members have to prove, by the group's own word or the target's; nothing when nil.
    public var credentials: CredentialSet?
}

/// The names and secrets of one place where CHAP is asked for.
public struct CredentialSet: Hashable, Sendable {
    /// Those of initiators, one of which must be known; where there are none, nobody gets in.
    public var initiators: [CHAPCredential]
    /// The target's own, for initiators that ask it to prove itself too.
    public var target: CHAPCredential?
    /// The algorithms that are allowed.
    public var algorithms: [CHAPAlgorithm]

    /// A proof is required, and there are no secrets to prove anything with.
    static let unknown = CredentialSet(initiators: [], algorithms: CHAPAlgorithm.allCases)
}
