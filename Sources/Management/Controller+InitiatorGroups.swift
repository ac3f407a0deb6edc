import Catalog
import Foundation
import Logging
public import Resources

extension Controller {
    /// The most initiator groups.
    static let maximumInitiatorGroups = 1024
    /// The most patterns and ranges of a group.
    static let maximumMembers = 1024
    /// What ranks may be.
    static let ranks = 1...1_000_000
    /// How far from the last group a new one is put, so that others fit between.
    static let rankDistance = 10

    /// The initiator groups, by rank.
    public func initiatorGroups() throws(ManagementError) -> [InitiatorGroupSummary] {
        let targets = try query { () throws(CatalogError) in try catalog.targets() }
        return try query { () throws(CatalogError) in try catalog.initiatorGroups() }.map { group in
            InitiatorGroupSummary(
                name: group.name, rank: group.rank, names: group.namePatterns, addresses: group.addressRanges,
                targets: targets.filter { $0.access.contains { $0.group == group.id } }.map(\.name),
                created: group.created)
        }
    }

    public func initiatorGroup(_ name: String) throws(ManagementError) -> InitiatorGroupSummary {
        _ = try initiatorGroupRecord(name)
        guard let group = try initiatorGroups().first(where: { $0.name == name }) else {
            throw ManagementError(.internal, "group '\(name)' has gone")
        }
        return group
    }

    /// Makes a group.
    public func createInitiatorGroup(
        _ request: InitiatorGroupCreation
    ) throws(ManagementError) -> InitiatorGroupSummary {
        try DeviceName.check(request.name, of: "group")
        let groups = try query { () throws(CatalogError) in try catalog.initiatorGroups() }
        guard !groups.contains(where: { $0.name == request.name }) else {
            throw ManagementError(
                .conflict,
                "group '\(request.name)' exists already; 'carousel access add \(request.name)' gives it more members")
        }
        guard groups.count < Self.maximumInitiatorGroups else {
            throw ManagementError(
                .conflict, "there are \(Self.maximumInitiatorGroups) groups already; delete one first")
        }
        let rank = request.rank ?? min((groups.map(\.rank).max() ?? 0) + Self.rankDistance, Self.ranks.upperBound)
        try checkRank(rank)
        let (names, addresses) = try members(names: request.names, addresses: request.addresses)
        try query { () throws(CatalogError) in
            try catalog.addInitiatorGroup(
                name: request.name, rank: rank, namePatterns: names, addressRanges: addresses, created: Date())
        }
        noteChange("group created", ["group": "\(request.name)", "members": "\(Self.words(names + addresses))"])
        return try initiatorGroup(request.name)
    }

    /// Gives a group more members, or another rank.
    public func extendInitiatorGroup(
        _ name: String, _ change: InitiatorGroupChange
    ) throws(ManagementError) -> InitiatorGroupSummary {
        let group = try initiatorGroupRecord(name)
        let (names, addresses) = try members(names: change.names, addresses: change.addresses)
        if let rank = change.rank { try checkRank(rank) }
        try update(
            group, rank: change.rank, names: Set(group.namePatterns).union(names),
            addresses: Set(group.addressRanges).union(addresses))
        noteChange(
            "group extended",
            [
                "group": "\(name)", "members": "\(Self.words(names + addresses))",
                "rank": "\(change.rank ?? group.rank)",
            ])
        return try initiatorGroup(name)
    }

    /// Takes members from a group.
    ///
    /// A group that loses its last pattern but has ranges would have members of any name, and the other way round:
    /// that has to be asked for. So has to be what lets another group decide for initiators and shows them more.
    public func reduceInitiatorGroup(
        _ name: String, _ change: InitiatorGroupChange
    ) throws(ManagementError) -> InitiatorGroupSummary {
        let group = try initiatorGroupRecord(name)
        let (names, addresses) = try members(names: change.names, addresses: change.addresses)
        guard let known = Optional(Set(group.namePatterns).union(group.addressRanges)),
            names.allSatisfy(known.contains), addresses.allSatisfy(known.contains)
        else {
            throw ManagementError(
                .conflict,
                "group '\(name)' has no such pattern or range; 'carousel access show \(name)' shows those it has")
        }
        var changed = group
        changed.namePatterns = Set(group.namePatterns).subtracting(names).sorted()
        changed.addressRanges = Set(group.addressRanges).subtracting(addresses).sorted()
        try checkKindsStay(from: group, to: changed, change)
        if change.mayWiden != true, change.anyName != true, change.anyAddress != true {
            let targets = try query { () throws(CatalogError) in try catalog.targets() }
                .filter { $0.access.contains { $0.group == group.id } }
            let groups = try query { () throws(CatalogError) in try catalog.initiatorGroups() }
            try checkWidensNothing(
                from: targets, to: targets, presentGroups: groups.map { $0.id == group.id ? changed : $0 },
                group: name)
        }
        try update(
            group, rank: nil, names: Set(changed.namePatterns), addresses: Set(changed.addressRanges))
        noteChange("group reduced", ["group": "\(name)", "members": "\(Self.words(names + addresses))"])
        return try initiatorGroup(name)
    }

    private func checkKindsStay(
        from group: InitiatorGroupRecord, to changed: InitiatorGroupRecord, _ change: InitiatorGroupChange
    ) throws(ManagementError) {
        // Without any member of either kind nobody belongs to it.
        guard !changed.namePatterns.isEmpty || !changed.addressRanges.isEmpty else { return }
        let losses = [
            (group.namePatterns, changed.namePatterns, change.anyName, "pattern", "name", "address"),
            (group.addressRanges, changed.addressRanges, change.anyAddress, "range", "address", "name"),
        ]
        for (before, after, isMeant, member, kind, other) in losses
        where !before.isEmpty && after.isEmpty && isMeant != true {
            throw ManagementError(
                .conflict,
                "without its last \(member) group '\(group.name)' would have members of any \(kind) whose \(other) "
                    + "matches; say --any-\(kind) if that is meant, or add another \(member) first")
        }
    }

    /// Deletes a group that no target counts on.
    public func deleteInitiatorGroup(_ name: String) throws(ManagementError) {
        let group = try initiatorGroup(name)
        guard group.targets.isEmpty else {
            throw ManagementError(
                .inUse,
                "group '\(name)' has access to \(group.targets.joined(separator: ", ")); "
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
                .notFound, "there is no group '\(name)'; 'carousel access list' shows those there are")
        }
        return group
    }

    private func update(
        _ group: InitiatorGroupRecord, rank: Int?, names: Set<String>, addresses: Set<String>
    ) throws(ManagementError) {
        guard names.count + addresses.count <= Self.maximumMembers else { throw Self.tooManyMembers }
        try query { () throws(CatalogError) in
            try catalog.setInitiatorGroup(
                group.id, rank: rank ?? group.rank, namePatterns: names.sorted(), addressRanges: addresses.sorted())
        }
        try configureFrontEnd()
    }

    private static func words(_ members: [String]) -> String { members.joined(separator: ", ") }

    /// The patterns and ranges in their canonical form, each once.
    private func members(
        names: [String], addresses: [String]
    ) throws(ManagementError) -> (names: [String], addresses: [String]) {
        guard names.count + addresses.count <= Self.maximumMembers else { throw Self.tooManyMembers }
        var patterns: Set<String> = []
        for name in names { patterns.insert(try NamePattern.parse(name).description) }
        var ranges: Set<String> = []
        for address in addresses { ranges.insert(try AddressRange.parse(address).description) }
        return (patterns.sorted(), ranges.sorted())
    }

    private static var tooManyMembers: ManagementError {
        ManagementError(.invalid, "a group has at most \(maximumMembers) patterns and ranges; make another group")
    }

    private func checkRank(_ rank: Int) throws(ManagementError) {
        guard Self.ranks.contains(rank) else {
            throw ManagementError(
                .invalid, "\(rank) is no rank; give \(Self.ranks.lowerBound) to \(Self.ranks.upperBound)")
        }
    }
}
