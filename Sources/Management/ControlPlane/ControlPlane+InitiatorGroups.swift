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
        let targets = try query { () throws(CatalogError) in try catalog.targetNames() }
        return try query { () throws(CatalogError) in try catalog.initiatorGroups() }.map { group in
            Self.resource(of: group, targets[group.id] ?? [])
        }.sorted { $0.name < $1.name }
    }

    func initiatorGroup(_ name: String) throws(ManagementError) -> Resource<InitiatorGroup> {
        let group = try initiatorGroupRecord(name)
        let targets = try query { () throws(CatalogError) in try catalog.targetNames(ofGroup: group.id) }
        return Self.resource(of: group, targets)
    }

    private static func resource(
        of group: InitiatorGroupRecord, _ targets: [String]
    ) -> Resource<InitiatorGroup> {
        var spec = InitiatorGroup.Spec(names: group.namePatterns, addresses: group.addressRanges, rank: group.rank)
        spec.authentication = group.requiresAuthentication ? .chap : .none
        var status = InitiatorGroup.Status()
        status.targets = targets
        status.created = group.created
        return Resource(name: group.name, spec: spec, status: status, generation: group.generation)
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
        var notes = [AccessNote("group created", ["group": name, "members": Self.words(names + addresses)])]
        if spec.authentication == .chap { notes.append(.proofRequired(at: .group(name))) }
        try changeAccess(notes) { change in
            try change.addInitiatorGroup(
                name: name, rank: rank, namePatterns: names, addressRanges: addresses, created: Date())
            if spec.authentication == .chap { try change.requireAuthentication(true, at: [.group(name)]) }
        }
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
        var changed = group
        changed.namePatterns = Set(spec.names).sorted()
        changed.addressRanges = Set(spec.addresses).sorted()
        if !mayWiden {
            try checkKindsStay(from: group, to: changed, isExpected: (name: false, address: false), by: "open")
            try checkMembersWidenNothing(from: group, to: changed)
        }
        try InitiatorGroup.checkCount(changed.namePatterns, changed.addressRanges)
        let (names, addresses, rank) = (changed.namePatterns, changed.addressRanges, spec.rank ?? group.rank)
        var notes = [
            AccessNote(
                "group changed", ["group": name, "members": Self.words(names + addresses), "rank": "\(rank)"])
        ]
        let beginsToProve = authentication == .none && spec.authentication == .chap
        if beginsToProve { notes.append(.proofRequired(at: .group(name))) }
        let takesAway = Set(names).isSubset(of: group.namePatterns) && Set(addresses).isSubset(of: group.addressRanges)
        let endsToProve = authentication == .chap && spec.authentication == .none
        if endsToProve { notes.append(.proofNotRequired(at: .group(name))) }
        func store() throws(ManagementError) {
            try storeAccess(notes, takesAway: takesAway && rank == group.rank && !endsToProve) { change in
                try change.setInitiatorGroup(group.id, rank: rank, namePatterns: names, addressRanges: addresses)
                try change.requireAuthentication(spec.authentication == .chap, at: [.group(name)])
            }
        }
        if endsToProve { try changeSecrets(to: nil, at: .group(name), store) } else { try store() }
        try configureFrontEnd()
        return try initiatorGroup(name)
    }

    /// Gives a group more members.
    ///
    /// The first patterns of a group that has ranges, or the other way round, take members from it: where another group
    /// decides for these then and shows them more, it has to be asked for.
    func extendInitiatorGroup(
        _ name: String, _ members: InitiatorGroup.Add.Arguments
    ) throws(ManagementError) -> Resource<InitiatorGroup> {
        guard !members.names.isEmpty || !members.addresses.isEmpty else {
            throw ManagementError(.invalid, "nothing to add; give names or addresses")
        }
        let group = try initiatorGroupRecord(name)
        var changed = group
        changed.namePatterns = Set(group.namePatterns).union(members.names).sorted()
        changed.addressRanges = Set(group.addressRanges).union(members.addresses).sorted()
        if !members.mayWiden { try checkMembersWidenNothing(from: group, to: changed) }
        try update(group, to: changed, "group extended", members.names + members.addresses)
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
        if !members.mayWiden { try checkMembersWidenNothing(from: group, to: changed) }
        // With the last member of one kind it comes to have more, unless none are left at all.
        let keepsKinds =
            changed.namePatterns.isEmpty == group.namePatterns.isEmpty
            && changed.addressRanges.isEmpty == group.addressRanges.isEmpty
        let takesAway = keepsKinds || changed.namePatterns.isEmpty && changed.addressRanges.isEmpty
        try update(group, to: changed, "group reduced", members.names + members.addresses, takesAway: takesAway)
        return try initiatorGroup(name)
    }

    /// Refuses a change of members after which another group would decide for initiators and show them more. That
    /// members come is meant.
    private func checkMembersWidenNothing(
        from group: InitiatorGroupRecord, to changed: InitiatorGroupRecord
    ) throws(ManagementError) {
        let extended = Self.extended(group, by: changed)
        guard extended.namePatterns != changed.namePatterns || extended.addressRanges != changed.addressRanges else {
            return
        }
        let targets = try query { () throws(CatalogError) in try catalog.targets() }
            .filter { $0.access.contains { $0.group == group.id } }
        let groups = try query { () throws(CatalogError) in try catalog.initiatorGroups() }
        try checkWidensNothing(
            from: targets, to: targets, formerGroups: groups.map { $0.id == group.id ? extended : $0 },
            presentGroups: groups.map { $0.id == group.id ? changed : $0 },
            "with other members of group '\(group.name)'")
    }

    /// The group with all members that it has and those that it gets: what it loses on the way to `changed` is what
    /// this one has and `changed` has not.
    ///
    /// A kind of which it has none demands nothing, so a first member of that kind gives it none. A kind that it gives
    /// up demands nothing any more.
    private static func extended(
        _ group: InitiatorGroupRecord, by changed: InitiatorGroupRecord
    ) -> InitiatorGroupRecord {
        var extended = group
        // Without any members it has nothing to lose, or loses all that it has.
        if group.namePatterns.isEmpty, group.addressRanges.isEmpty { return changed }
        if changed.namePatterns.isEmpty, changed.addressRanges.isEmpty { return group }
        func members(_ before: [String], _ after: [String]) -> [String] {
            before.isEmpty || after.isEmpty ? [] : Set(before).union(after).sorted()
        }
        extended.namePatterns = members(group.namePatterns, changed.namePatterns)
        extended.addressRanges = members(group.addressRanges, changed.addressRanges)
        // One kind has taken the place of the other: who belonged to it does no longer.
        return extended.namePatterns.isEmpty && extended.addressRanges.isEmpty ? group : extended
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
        try changeSecrets(to: nil, at: .group(name)) { () throws(ManagementError) in
            try storeAccess([AccessNote("group deleted", ["group": name])], takesAway: true) { change in
                try change.removeInitiatorGroup(record.id)
            }
        }
        try configureFrontEnd()
    }

    // MARK: Shared

    func initiatorGroupRecord(_ name: String) throws(ManagementError) -> InitiatorGroupRecord {
        guard let group = try query({ () throws(CatalogError) in try catalog.initiatorGroup(named: name) }) else {
            throw ManagementError(
                .notFound, "there is no group '\(name)'; 'carousel group list' shows those there are")
        }
        return group
    }

    private func update(
        _ group: InitiatorGroupRecord, to changed: InitiatorGroupRecord, _ what: String, _ members: [String],
        takesAway: Bool = false
    ) throws(ManagementError) {
        try InitiatorGroup.checkCount(changed.namePatterns, changed.addressRanges)
        let note = AccessNote(what, ["group": group.name, "members": Self.words(members)])
        try changeAccess([note], takesAway: takesAway) { change in
            try change.setInitiatorGroup(
                group.id, rank: group.rank, namePatterns: changed.namePatterns, addressRanges: changed.addressRanges)
        }
    }

    private static func words(_ members: [String]) -> String { members.joined(separator: ", ") }
}
