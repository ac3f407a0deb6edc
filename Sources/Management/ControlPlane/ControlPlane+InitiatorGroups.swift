import Catalog
import Foundation
import Logging
import Resources

extension ControlPlane {
    /// The most initiator groups.
    static let maximumInitiatorGroups = 1024
    /// How far from the last group a new one is put, so that others fit between.
    static let rankDistance = 10

    /// The initiator groups, by name.
    func initiatorGroups() throws(ManagementError) -> [Resource<InitiatorGroup>] {
        let targets = try query { () throws(CatalogError) in try catalog.targets() }
        return try query { () throws(CatalogError) in try catalog.initiatorGroups() }.map { group in
            var spec = InitiatorGroup.Spec(
                names: group.namePatterns, addresses: group.addressRanges, rank: group.rank)
            spec.authentication = group.requiresAuthentication ? .chap : .none
            var status = InitiatorGroup.Status()
            status.targets = targets.filter { $0.access.contains { $0.group == group.id } }.map(\.name)
            status.created = group.created
            return Resource(name: group.name, spec: spec, status: status)
        }.sorted { $0.name < $1.name }
    }

    func initiatorGroup(_ name: String) throws(ManagementError) -> Resource<InitiatorGroup> {
        _ = try initiatorGroupRecord(name)
        guard let group = try initiatorGroups().first(where: { $0.name == name }) else {
            throw ManagementError(.internal, "group '\(name)' has gone")
        }
        return group
    }

    /// Makes a group.
    func createInitiatorGroup(
        _ name: String, _ spec: InitiatorGroup.Spec
    ) throws(ManagementError) -> Resource<InitiatorGroup> {
        let groups = try query { () throws(CatalogError) in try catalog.initiatorGroups() }
        guard !groups.contains(where: { $0.name == name }) else {
            throw ManagementError(
                .conflict,
                "group '\(name)' exists already; 'carousel group add \(name)' gives it more members")
        }
        guard groups.count < Self.maximumInitiatorGroups else {
            throw ManagementError(
                .conflict, "there are \(Self.maximumInitiatorGroups) groups already; delete one first")
        }
        let last = Int(InitiatorGroup.ranks.upperBound)
        let rank = spec.rank ?? min((groups.map(\.rank).max() ?? 0) + Self.rankDistance, last)
        let (names, addresses) = (Set(spec.names).sorted(), Set(spec.addresses).sorted())
        try query { () throws(CatalogError) in
            try catalog.addInitiatorGroup(
                name: name, rank: rank, namePatterns: names, addressRanges: addresses, created: Date())
        }
        noteChange("group created", ["group": "\(name)", "members": "\(Self.words(names + addresses))"])
        // Before it is mapped anywhere, so nobody gets in without proof.
        if spec.authentication == .chap { try setAuthentication(.chap, at: .group(name)) }
        return try initiatorGroup(name)
    }

    /// Makes members, rank and authentication of a group what `spec` says.
    ///
    /// Members that come are meant to. What lets others see more, because members go or need not prove who they are
    /// any more, has to be asked for: `mayWiden`.
    func changeInitiatorGroup(
        _ name: String, to spec: InitiatorGroup.Spec, mayWiden: Bool = false
    ) throws(ManagementError) -> Resource<InitiatorGroup> {
        let group = try initiatorGroupRecord(name)
        let authentication: AuthenticationMethod = group.requiresAuthentication ? .chap : .none
        if authentication == .chap, spec.authentication == .none, !mayWiden {
            throw ManagementError(
                .conflict,
                "members of group '\(name)' would not have to prove who they are any more; say --open if that is meant")
        }
        var extended = group
        extended.namePatterns = Set(group.namePatterns).union(spec.names).sorted()
        extended.addressRanges = Set(group.addressRanges).union(spec.addresses).sorted()
        var changed = group
        changed.namePatterns = Set(spec.names).sorted()
        changed.addressRanges = Set(spec.addresses).sorted()
        if !mayWiden, extended.namePatterns != changed.namePatterns || extended.addressRanges != changed.addressRanges {
            try checkKindsStay(from: group, to: changed, isExpected: (name: false, address: false), by: "open")
            try checkReductionWidensNothing(from: extended, to: changed)
        }
        if authentication == .none, spec.authentication == .chap { try setAuthentication(.chap, at: .group(name)) }
        try update(group, rank: spec.rank, names: changed.namePatterns, addresses: changed.addressRanges)
        noteChange(
            "group changed",
            [
                "group": "\(name)", "members": "\(Self.words(spec.names + spec.addresses))",
                "rank": "\(spec.rank ?? group.rank)",
            ])
        if authentication == .chap, spec.authentication == .none { try setAuthentication(.none, at: .group(name)) }
        return try initiatorGroup(name)
    }

    /// Gives a group more members.
    func extendInitiatorGroup(
        _ name: String, _ members: InitiatorGroup.Add.Arguments
    ) throws(ManagementError) -> Resource<InitiatorGroup> {
        guard !members.names.isEmpty || !members.addresses.isEmpty else {
            throw ManagementError(.invalid, "nothing to add; give names or addresses")
        }
        let group = try initiatorGroupRecord(name)
        try update(
            group, rank: nil, names: Set(group.namePatterns).union(members.names).sorted(),
            addresses: Set(group.addressRanges).union(members.addresses).sorted())
        noteChange(
            "group extended", ["group": "\(name)", "members": "\(Self.words(members.names + members.addresses))"])
        return try initiatorGroup(name)
    }

    /// Takes members from a group.
    ///
    /// A group that loses its last pattern but has ranges would have members of any name, and the other way round:
    /// that has to be asked for. So has to be what lets another group decide for initiators and shows them more.
    func reduceInitiatorGroup(
        _ name: String, _ members: InitiatorGroup.Remove.Arguments
    ) throws(ManagementError) -> Resource<InitiatorGroup> {
        guard !members.names.isEmpty || !members.addresses.isEmpty else {
            throw ManagementError(.invalid, "nothing to remove; give names or addresses")
        }
        let group = try initiatorGroupRecord(name)
        guard Set(members.names).isSubset(of: group.namePatterns),
            Set(members.addresses).isSubset(of: group.addressRanges)
        else {
            throw ManagementError(
                .conflict,
                "group '\(name)' has no such pattern or range; 'carousel group show \(name)' shows those it has")
        }
        var changed = group
        changed.namePatterns = Set(group.namePatterns).subtracting(members.names).sorted()
        changed.addressRanges = Set(group.addressRanges).subtracting(members.addresses).sorted()
        try checkKindsStay(
            from: group, to: changed, isExpected: (name: members.anyName, address: members.anyAddress), by: nil)
        if !members.mayWiden, !members.anyName, !members.anyAddress {
            try checkReductionWidensNothing(from: group, to: changed)
        }
        try update(group, rank: nil, names: changed.namePatterns, addresses: changed.addressRanges)
        noteChange(
            "group reduced", ["group": "\(name)", "members": "\(Self.words(members.names + members.addresses))"])
        return try initiatorGroup(name)
    }

    /// Refuses a change of members after which another group would decide for initiators and show them more.
    private func checkReductionWidensNothing(
        from group: InitiatorGroupRecord, to changed: InitiatorGroupRecord
    ) throws(ManagementError) {
        let targets = try query { () throws(CatalogError) in try catalog.targets() }
            .filter { $0.access.contains { $0.group == group.id } }
        let groups = try query { () throws(CatalogError) in try catalog.initiatorGroups() }
        try checkWidensNothing(
            from: targets, to: targets, formerGroups: groups.map { $0.id == group.id ? group : $0 },
            presentGroups: groups.map { $0.id == group.id ? changed : $0 }, group: group.name)
    }

    /// Refuses to take the last member of one kind away while members of the other are left.
    ///
    /// - Parameters:
    ///   - isExpected: Whether any name, or any address, is to do then.
    ///   - option: The option that says so, without its dashes; one of each kind when nil.
    private func checkKindsStay(
        from group: InitiatorGroupRecord, to changed: InitiatorGroupRecord, isExpected: (name: Bool, address: Bool),
        by option: String?
    ) throws(ManagementError) {
        // Without any member of either kind nobody belongs to it.
        guard !changed.namePatterns.isEmpty || !changed.addressRanges.isEmpty else { return }
        let losses = [
            (group.namePatterns, changed.namePatterns, isExpected.name, "pattern", "name", "address"),
            (group.addressRanges, changed.addressRanges, isExpected.address, "range", "address", "name"),
        ]
        for (before, after, isExpected, member, kind, other) in losses
        where !before.isEmpty && after.isEmpty && !isExpected {
            throw ManagementError(
                .conflict,
                "without its last \(member) group '\(group.name)' would have members of any \(kind) whose \(other) "
                    + "matches; say --\(option ?? "any-" + kind) if that is meant, or add another \(member) first")
        }
    }

    /// Deletes a group that no target counts on.
    func deleteInitiatorGroup(_ name: String) throws(ManagementError) {
        let targets = try initiatorGroup(name).status.targets
        guard targets.isEmpty else {
            throw ManagementError(
                .inUse,
                "group '\(name)' has access to \(targets.joined(separator: ", ")); "
                    + "end that with 'carousel target unmap TARGET --group \(name)' first")
        }
        let record = try initiatorGroupRecord(name)
        try query { () throws(CatalogError) in try catalog.removeInitiatorGroup(record.id) }
        forgetSecrets(at: .group(name))
        noteChange("group deleted", ["group": "\(name)"])
    }

    // MARK: Shared

    func initiatorGroupRecord(_ name: String) throws(ManagementError) -> InitiatorGroupRecord {
        let groups = try query { () throws(CatalogError) in try catalog.initiatorGroups() }
        guard let group = groups.first(where: { $0.name == name }) else {
            throw ManagementError(
                .notFound, "there is no group '\(name)'; 'carousel group list' shows those there are")
        }
        return group
    }

    private func update(
        _ group: InitiatorGroupRecord, rank: Int?, names: [String], addresses: [String]
    ) throws(ManagementError) {
        try InitiatorGroup.checkCount(names, addresses)
        try query { () throws(CatalogError) in
            try catalog.setInitiatorGroup(
                group.id, rank: rank ?? group.rank, namePatterns: names, addressRanges: addresses)
        }
        try configureFrontEnd()
    }

    private static func words(_ members: [String]) -> String { members.joined(separator: ", ") }
}
