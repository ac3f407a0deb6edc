// Whether groups of initiators may have, or surely have, members in common: by their patterns and ranges, for nobody
// knows all initiators.
extension InitiatorMembership {
    /// The most patterns, and the most ranges, that are compared one by one; of more, some are taken to overlap.
    private static let maximumComparisons = 10_000

    /// Whether the group has no members.
    public var isEmpty: Bool { names.isEmpty && addresses.isEmpty }

    /// Whether an initiator might belong to both; a group without patterns has any name, one without ranges any
    /// address.
    public func overlaps(_ other: InitiatorMembership) -> Bool {
        func overlap<Member>(_ own: [Member], _ others: [Member], _ areSome: (Member, Member) -> Bool) -> Bool {
            guard !own.isEmpty, !others.isEmpty, own.count * others.count <= Self.maximumComparisons else {
                return true
            }
            return own.contains { member in others.contains { areSome(member, $0) } }
        }
        return !isEmpty && !other.isEmpty
            && overlap(names, other.names) { $0.overlaps($1) }
            && overlap(addresses, other.addresses) { $0.overlaps($1) }
    }

    /// Whether all initiators that belong to this one surely belong to the other.
    public func isPart(of other: InitiatorMembership) -> Bool {
        if isEmpty { return true }
        guard !other.isEmpty else { return false }
        let hasNames = other.names.isEmpty || !names.isEmpty && Set(names).isSubset(of: other.names)
        let hasAddresses = other.addresses.isEmpty || !addresses.isEmpty && Set(addresses).isSubset(of: other.addresses)
        return hasNames && hasAddresses
    }
}
