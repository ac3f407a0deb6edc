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
        var changed = target
        changed.accessLevel = level
        let widens = try widening(from: [target], to: [changed]) != nil
        if !mayWiden, widens { throw Self.wideningLevel(target, level) }
        try changeAccess([.level(of: target, to: level)], takesAway: !widens) { change in
            try change.setAccessLevel(level, ofTarget: target.id)
        }
        return try self.target(name)
    }

    /// The refusal of an access level with which somebody might see more of the target than before.
    static func wideningLevel(_ target: TargetRecord, _ level: AccessLevel) -> ManagementError {
        ManagementError(
            .conflict,
            "access '\(level.rawValue)' lets initiators in to target '\(target.name)' that '"
                + "\(target.accessLevel.rawValue)' keeps out; say --open if that is meant")
    }

    // MARK: One change

    /// Makes a change of who may use what, which `notes` tell of, and puts it into force: all of it with its events is
    /// one transaction. What `takesAway` only is not to fail because the file system is full.
    func changeAccess(
        _ notes: [AccessNote], takesAway: Bool = false, _ body: (AccessChange) throws -> Void
    ) throws(ManagementError) {
        try storeAccess(notes, takesAway: takesAway, body)
        try configureFrontEnd()
    }

    /// The same, but for the front end, which the caller tells.
    func storeAccess(
        _ notes: [AccessNote], takesAway: Bool = false, isHalf: Bool = false, _ body: (AccessChange) throws -> Void
    ) throws(ManagementError) {
        let events = events(of: notes)
        try query { () throws(CatalogError) in try catalog.changeAccess(events, takesAway: takesAway, body) }
        // What is worth a warning now may not be when the other half has followed.
        tell(notes, warns: !isHalf)
    }

    /// The events of changes of access: kind and name are those of the first thing that a note names.
    func events(of notes: [AccessNote]) -> [NewEvent] {
        let kinds = [
            ("target", "target"), ("group", "initiatorGroup"), ("portal", "portal"), ("place", "credential"),
            ("server", "nameServer"), ("token", "token"),
        ]
        return notes.map { note in
            let details = note.details.merging(["change": note.what]) { first, _ in first }
            let (key, kind) = kinds.first { details[$0.0] != nil } ?? ("", "access")
            return event(
                note.what, kind, DeviceName.alias(ofTarget: details[key] ?? ""),
                new: .object(details.mapValues { .text($0) }))
        }
    }

    /// Says in the log what has changed in who may do what, and what that makes worth a warning.
    func tell(_ notes: [AccessNote], warns: Bool = true) {
        for note in notes {
            var metadata: Logger.Metadata = note.details.mapValues { "\($0)" }
            metadata["change"] = "\(note.what)"
            logger.notice("access changed", metadata: metadata)
        }
        if warns { noteWarnings() }
    }

    // MARK: Comparison

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

    /// Refuses a change that takes something away when initiators might see more of a target afterwards, because
    /// another group decides then. `change` says what was to be done, as in `without group 'a'`.
    func checkWidensNothing(
        from former: [TargetRecord], to present: [TargetRecord], formerGroups: [InitiatorGroupRecord]? = nil,
        presentGroups: [InitiatorGroupRecord]? = nil, _ change: String
    ) throws(ManagementError) {
        guard
            let found = try widening(
                from: former, to: present, formerGroups: formerGroups, presentGroups: presentGroups)
        else { return }
        let groups = try query { () throws(CatalogError) in try catalog.initiatorGroups() }
        let other = groups.first { $0.id == found.widening.group }?.name ?? "another"
        throw ManagementError(
            .conflict,
            "\(change) initiators would see more of target '\(found.target)', because group '\(other)' "
                + "decides for them then; unmap '\(other)' first, or say --open if that is meant")
    }

    // MARK: Authentication

    /// Has the catalog remember everywhere where there are secrets that authentication is required there: after an
    /// upgrade, when a crash came between the secrets and the catalog, and when somebody has written the file.
    func rememberAuthentication(of secrets: SecretStore) throws(ManagementError) {
        let known = try query { () throws(CatalogError) in try catalog.authenticationPlaces() }
        let places = Set(secrets.entries.keys.map(\.place)).subtracting(known)
        guard !places.isEmpty else { return }
        try query { () throws(CatalogError) in
            try catalog.changeAccess(takesAway: true) { try $0.requireAuthentication(true, at: places) }
        }
    }
}

/// What a change of who may do what is, for log and events.
struct AccessNote {
    let what: String
    /// The things that it is about, by their kinds, and how they changed; no secrets.
    let details: [String: String]

    init(_ what: String, _ details: [String: String]) {
        self.what = what
        self.details = details
    }

    static func level(of target: TargetRecord, to level: AccessLevel) -> AccessNote {
        AccessNote(
            "access level", ["target": target.name, "from": target.accessLevel.rawValue, "to": level.rawValue])
    }

    static func proofRequired(at scope: CredentialScope) -> AccessNote {
        AccessNote("authentication", ["place": ControlPlane.words(scope), "proof": "required"])
    }

    static func proofNotRequired(at scope: CredentialScope) -> AccessNote {
        AccessNote("authentication", ["place": ControlPlane.words(scope), "proof": "not required"])
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
