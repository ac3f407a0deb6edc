import Resources

/// Somebody who would see more of a target than before.
struct Widening: Equatable {
    /// The group that lets them see it; nil when the target's access level does.
    let group: Int64?
}

/// A way in to a target: for whom, and to what.
private struct Way {
    enum Condition: Equatable {
        case everyone
        case loopback
        case members(InitiatorMembership)
    }
    /// What makes ways before and after a change the same.
    enum Key: Hashable {
        case everyone
        case loopback
        case group(Int64)
    }
    let key: Key
    let condition: Condition
    let units: Set<Int64>
    let requiresAuthentication: Bool

    /// Whether nobody can go it.
    var isEmpty: Bool { if case .members(let members) = condition { members.isEmpty } else { false } }

    /// Whether somebody might be able to go both.
    func overlaps(_ other: Way) -> Bool {
        guard !isEmpty, !other.isEmpty else { return false }
        guard case .members(let own) = condition, case .members(let others) = other.condition else { return true }
        return own.overlaps(others)
    }

    /// Whether who can go it can surely go the other one.
    func isPart(of other: Way) -> Bool {
        switch (condition, other.condition) {
        case (_, .everyone), (.loopback, .loopback): true
        case (.members(let own), .members(let others)): own.isPart(of: others)
        default: isEmpty
        }
    }

    /// Whether who goes it sees more, or proves less, than who goes `former`.
    func givesMore(than former: Way) -> Bool {
        !units.isSubset(of: former.units) || former.requiresAuthentication && !requiresAuthentication
    }
}

extension TargetPlan {
    /// The ways in, in the order in which it is decided.
    private var ways: [Way] {
        let own = Set(logicalUnits.values)
        func way(_ key: Way.Key, _ condition: Way.Condition) -> Way {
            Way(key: key, condition: condition, units: own, requiresAuthentication: credentials != nil)
        }
        switch accessLevel {
        case .closed: return []
        case .loopback: return [way(.loopback, .loopback)]
        case .open: return [way(.everyone, .everyone)]
        case .groups:
            return groups.map { group in
                Way(
                    key: .group(group.group), condition: .members(group.members),
                    units: group.logicalUnits.map { Set($0.values) } ?? own,
                    requiresAuthentication: group.credentials != nil)
            }
        }
    }

    /// Who might see more of the target than by `former`: somebody gets in who did not, or sees a logical unit that
    /// was hidden from it, or has to prove nothing any more. Nil when surely nobody does; portal groups and
    /// redirection have no say in this.
    ///
    /// It takes names and addresses as sets, not initiators one by one, and says "might" where these cannot tell.
    func widening(beyond former: TargetPlan) -> Widening? {
        let (before, after) = (former.ways, ways)
        let places = Dictionary(before.enumerated().map { ($1.key, $0) }, uniquingKeysWith: min)
        let laterPlaces = Dictionary(after.enumerated().map { ($1.key, $0) }, uniquingKeysWith: min)
        for (newPlace, way) in after.enumerated() where !way.isEmpty {
            let group: Int64? = if case .group(let key) = way.key { key } else { nil }
            let oldPlace = places[way.key]
            if !before.contains(where: way.isPart) { return Widening(group: group) }
            for (place, origin) in before.enumerated() where way.givesMore(than: origin) {
                if origin.key == way.key { return Widening(group: group) }
                // Whoever went `origin` could not go `way`, if that was there, for no fewer, and came first.
                if let oldPlace, oldPlace < place, way.isPart(of: before[oldPlace]) { continue }
                // Nor does it now, if `origin` is still there, for no fewer, and comes first.
                if let laterPlace = laterPlaces[origin.key], laterPlace < newPlace,
                    origin.isPart(of: after[laterPlace])
                {
                    continue
                }
                if way.overlaps(origin) { return Widening(group: group) }
            }
        }
        return nil
    }
}
