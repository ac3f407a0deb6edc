import Catalog
import ISCSI
import Logging
import Resources

// Who may log in to a target at all. Whatever takes away, forgets or clears never lets anybody see more than before,
// and what would is refused unless it is asked for by name.
extension ControlPlane {
    /// Sets who may log in to the target `name`.
    ///
    /// What might let somebody see more than before has to be asked for: `mayWiden`.
    func setAccess(
        ofTarget name: String, to level: AccessLevel, mayWiden: Bool = false
    ) throws(ManagementError) -> Resource<ISCSITarget> {
        let target = try targetRecord(name)
        guard level != target.accessLevel else { return try self.target(name) }
        if !mayWiden { try checkWidensNothing(target, to: level) }
        try query { () throws(CatalogError) in try catalog.setAccessLevel(level, ofTarget: target.id) }
        try configureFrontEnd()
        noteChange(
            "access level",
            ["target": "\(target.name)", "from": "\(target.accessLevel.rawValue)", "to": "\(level.rawValue)"])
        return try self.target(name)
    }

    /// Refuses an access level with which somebody might see more of the target than before.
    func checkWidensNothing(_ target: TargetRecord, to level: AccessLevel) throws(ManagementError) {
        var changed = target
        changed.accessLevel = level
        guard level != target.accessLevel, try widening(from: [target], to: [changed]) != nil else { return }
        throw ManagementError(
            .conflict,
            "access '\(level.rawValue)' lets initiators in to target '\(target.name)' that '"
                + "\(target.accessLevel.rawValue)' keeps out; say --open if that is meant")
    }

    /// Says in the log, and records, what has changed in who may do what.
    func noteChange(_ what: String, _ metadata: Logger.Metadata) {
        var metadata = metadata
        metadata["change"] = "\(what)"
        logger.notice("access changed", metadata: metadata)
        record(accessEvent(what, metadata))
        noteWarnings()
    }

    /// The event of a change of access: its kind and name are those of the first thing that `details` name.
    private func accessEvent(_ what: String, _ details: Logger.Metadata) -> NewEvent {
        let kinds = [
            ("target", "target"), ("group", "initiatorGroup"), ("portal", "portal"), ("place", "credential"),
            ("server", "nameServer"),
        ]
        let (key, kind) = kinds.first { details[$0.0] != nil } ?? ("", "access")
        return event(
            what, kind, DeviceName.alias(ofTarget: details[key].map { "\($0)" } ?? ""),
            new: .object(details.mapValues { .text("\($0)") }))
    }

    /// A target at which somebody might see more when `present` has taken the place of `former`, target by target, and
    /// `formerGroups` and `presentGroups` that of the groups there are, if they are given.
    func widening(
        from former: [TargetRecord], to present: [TargetRecord], formerGroups: [InitiatorGroupRecord]? = nil,
        presentGroups: [InitiatorGroupRecord]? = nil
    ) throws(ManagementError) -> (target: String, widening: Widening)? {
        let groups = try query { () throws(CatalogError) in try catalog.initiatorGroups() }
        let before = try plans(of: former, groups: formerGroups ?? groups)
        let after = try plans(of: present, groups: presentGroups ?? groups)
        for (old, new) in zip(before, after) {
            if let widening = new.widening(beyond: old) { return (old.name, widening) }
        }
        return nil
    }

    /// Refuses a change that takes something away from the group `name` when initiators might see more of a target
    /// afterwards, because another group decides then.
    func checkWidensNothing(
        from former: [TargetRecord], to present: [TargetRecord], formerGroups: [InitiatorGroupRecord]? = nil,
        presentGroups: [InitiatorGroupRecord]? = nil, group name: String
    ) throws(ManagementError) {
        guard
            let found = try widening(
                from: former, to: present, formerGroups: formerGroups, presentGroups: presentGroups)
        else { return }
        let groups = try query { () throws(CatalogError) in try catalog.initiatorGroups() }
        let other = groups.first { $0.id == found.widening.group }?.name ?? "another"
        throw ManagementError(
            .conflict,
            "without group '\(name)' initiators would see more of target '\(found.target)', because group '\(other)' "
                + "decides for them then; unmap '\(other)' first, or say --open if that is meant")
    }

    // MARK: Authentication

    /// Has initiators prove who they are at `scope` from now on, or no longer: then the secrets there are forgotten.
    func setAuthentication(_ authentication: AuthenticationMethod, at scope: CredentialScope) throws(ManagementError) {
        guard authentication == .chap else { return try clearAll(at: scope, isNotRequired: true) }
        try query { () throws(CatalogError) in try catalog.requireAuthentication(true, at: [scope.place]) }
        try configureFrontEnd()
        noteChange("authentication", ["place": "\(Self.words(scope))", "proof": "required"])
    }

    /// Has the catalog remember everywhere where there are secrets that authentication is required there: after an
    /// upgrade, when a crash came between the secrets and the catalog, and when somebody has written the file.
    func rememberAuthentication(of secrets: SecretStore) throws(ManagementError) {
        let known = try query { () throws(CatalogError) in try catalog.authenticationPlaces() }
        let places = Set(secrets.entries.keys.map(\.place)).subtracting(known)
        guard !places.isEmpty else { return }
        try query { () throws(CatalogError) in try catalog.requireAuthentication(true, at: places) }
    }
}

extension CredentialScope {
    /// The place by the catalog's word.
    var place: AuthenticationPlace {
        switch self {
        case .target(let name): .target(name)
        case .group(let name): .group(name)
        case .discovery: .discovery
        }
    }

    init(_ place: AuthenticationPlace) {
        self =
            switch place {
            case .target(let name): .target(name)
            case .group(let name): .group(name)
            case .discovery: .discovery
            }
    }
}
