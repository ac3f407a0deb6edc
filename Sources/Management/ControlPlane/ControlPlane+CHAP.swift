import Authentication
import Catalog
import Foundation
import ISCSI
import Logging
import Resources

extension ControlPlane {
    /// The names and places for which there are secrets, by name; no secrets.
    func credentials() -> [Resource<Credential>] { credentials(withSecrets: false) }

    /// The same, with the secrets for those who put them back.
    func credentials(withSecrets: Bool) -> [Resource<Credential>] {
        secrets.entriesWithGenerations.flatMap { scope, place in
            let (credentials, generations) = place
            let algorithms = Self.algorithmNames.filter { credentials.algorithms.contains($0.1) }.map(\.0)
            func resource(_ credential: CHAPCredential, isMutual: Bool) -> Resource<Credential> {
                Resource(
                    name: "\(Self.credentialPlace(scope))/\(credential.name)",
                    spec: Credential.Spec(
                        secret: withSecrets ? Secret(credential.secret) : nil, isMutual: isMutual,
                        algorithms: algorithms), status: NoFields(), generation: generations[credential.name])
            }
            var resources = credentials.initiators.map { resource($0, isMutual: false) }
            if let own = credentials.target { resources.append(resource(own, isMutual: true)) }
            return resources
        }.sorted { ($0.name, $0.spec.isMutual ? 1 : 0) < ($1.name, $1.spec.isMutual ? 1 : 0) }
    }

    /// The credential `PLACE/USER`.
    func credential(_ name: String) throws(ManagementError) -> Resource<Credential> {
        guard let credential = credentials().first(where: { $0.name == name }) else {
            throw ManagementError(
                .notFound, "there is no credential '\(name)'; 'carousel chap list' shows those there are")
        }
        return credential
    }

    /// Sets a name and its secret, and requires a proof at the place from now on. Sessions that are logged in stay; the
    /// next login has to know it.
    func createCredential(
        _ name: String, _ spec: Credential.Spec
    ) throws(ManagementError) -> Resource<Credential> {
        let (scope, user) = try parts(of: name)
        let present = secrets.entries[scope]
        let exists = present?.initiators.contains { $0.name == user } == true || present?.target?.name == user
        guard !exists else {
            throw ManagementError(
                .conflict, "credential '\(name)' exists already; 'carousel chap set' gives it another secret")
        }
        if spec.isMutual, let own = present?.target {
            throw ManagementError(
                .conflict, "\(Self.words(scope)) proves itself as '\(own.name)' already; delete that first")
        }
        try set(user, spec, at: scope)
        return try credential("\(Self.credentialPlace(scope))/\(user)")
    }

    /// Gives a name another secret.
    func changeCredential(
        _ present: Resource<Credential>, to spec: Credential.Spec
    ) throws(ManagementError) -> Resource<Credential> {
        let (scope, user) = try parts(of: present.name)
        try set(user, spec, at: scope)
        return try credential(present.name)
    }

    private func set(
        _ user: String, _ spec: Credential.Spec, at scope: CredentialScope
    ) throws(ManagementError) {
        var credentials = secrets.entries[scope] ?? CredentialSet(initiators: [], algorithms: CHAPAlgorithm.allCases)
        if let algorithms = spec.algorithms { credentials.algorithms = try Self.algorithms(algorithms) }
        if let secret = spec.secret {
            let credential = CHAPCredential(name: user, secret: secret.bytes)
            if spec.isMutual {
                credentials.target = credential
            } else {
                credentials.initiators.removeAll { $0.name == user }
                credentials.initiators.append(credential)
            }
        }
        guard credentials != secrets.entries[scope] else { return }
        do {
            try AuthenticationPolicy.validate(initiators: credentials.initiators, target: credentials.target)
        } catch {
            throw ManagementError(.invalid, Self.sentence(error))
        }
        let former = secrets.entries[scope]
        let note = AccessNote(
            "CHAP set",
            [
                "place": Self.words(scope),
                spec.isMutual ? "mutual user" : "user": PrintableText.escaped(user),
            ])
        // Where secrets were set before, another user comes; else those go who have proved nothing, or another secret.
        let takesAway = former?.initiators.contains { $0.name == user } ?? true
        try changeSecrets(to: credentials, at: scope, takesAway: takesAway) { () throws(ManagementError) in
            try storeAccess([note], takesAway: takesAway, isHalf: true) { change in
                try change.requireAuthentication(true, at: [scope.place])
            }
        }
        noteWarnings()
        try configureFrontEnd()
    }

    /// Makes a change of the catalog, and with it one of the secrets at a place, which end when nil: both or none,
    /// whatever fails or ends in between. Where secrets begin, the change has to require a proof; where they end, to
    /// require none, or to remove the place.
    func changeSecrets(
        to credentials: CredentialSet?, at scope: CredentialScope, takesAway: Bool = true,
        _ change: () throws(ManagementError) -> Void
    ) throws(ManagementError) {
        let former = secrets.entries[scope]
        guard let proposal = credentials ?? former else { return try change() }
        if credentials != nil, former != nil {
            // Proof is required already: nothing has to agree with anything.
            try setSecrets(credentials, at: scope, takesAway: takesAway)
            do {
                try change()
            } catch {
                // Another change may have put into force meanwhile what is taken back here.
                defer { noteFrontEndIsStale() }
                try setSecrets(former, at: scope, takesAway: true)
                throw error
            }
            return
        }
        func propose() throws(ManagementError) { try secrets.propose(proposal, at: scope) }
        if takesAway { try removing(propose) } else { try propose() }
        do {
            try change()
        } catch {
            settleSecrets(former, at: scope)
            throw error
        }
        settleSecrets(credentials, at: scope)
    }

    /// Ends a proposal; that the file still holds it is only told of, for the next start decides the same.
    private func settleSecrets(_ credentials: CredentialSet?, at scope: CredentialScope) {
        do {
            try removing { () throws(ManagementError) in try secrets.settle(credentials, at: scope) }
        } catch {
            logger.error("the file of CHAP secrets is not up to date", metadata: ["reason": "\(error.message)"])
        }
    }

    /// Replaces the secrets at a place, or removes them when nil. What only takes away is tried once more with the room
    /// of the reserve.
    private func setSecrets(
        _ credentials: CredentialSet?, at scope: CredentialScope, takesAway: Bool
    ) throws(ManagementError) {
        guard takesAway else { return try secrets.set(credentials, at: scope) }
        try removing { () throws(ManagementError) in try secrets.set(credentials, at: scope) }
    }

    /// Forgets a name with its secret. Where the last one goes nobody gets in: that a proof is required is not
    /// forgotten.
    func deleteCredential(_ name: String) throws(ManagementError) {
        let present = try credential(name)
        let (scope, user) = try parts(of: name)
        guard var credentials = secrets.entries[scope] else {
            throw ManagementError(.internal, "credential '\(name)' has gone")
        }
        if present.spec.isMutual {
            credentials.target = nil
        } else {
            credentials.initiators.removeAll { $0.name == user }
        }
        guard !credentials.initiators.isEmpty else {
            if let own = credentials.target {
                throw ManagementError(
                    .conflict,
                    "'\(user)' is the only user there; set another first, or delete '\(own.name)', with which the "
                        + "target proves itself")
            }
            return try clearAll(at: scope, isNotRequired: false)
        }
        try setSecrets(credentials, at: scope, takesAway: true)
        recordRemoval(AccessNote("CHAP cleared", ["place": Self.words(scope), "user": PrintableText.escaped(user)]))
        try configureFrontEnd()
    }

    /// Has a place allow some algorithms only, which it gives by name in their order.
    func allow(_ arguments: Credential.Allow.Arguments) throws(ManagementError) -> [String] {
        let scope = try scope(arguments.place)
        guard var credentials = secrets.entries[scope] else {
            throw ManagementError(
                .notFound, "no secret is set for \(Self.words(scope)); set one with 'carousel chap create' first")
        }
        let former = credentials.algorithms
        credentials.algorithms = try Self.algorithms(arguments.algorithms)
        let names = Self.algorithmNames.filter { credentials.algorithms.contains($0.1) }.map(\.0)
        let note = AccessNote("CHAP algorithms", ["place": Self.words(scope), "algorithms": "\(names)"])
        if Set(credentials.algorithms).isSubset(of: former) {
            try setSecrets(credentials, at: scope, takesAway: true)
            recordRemoval(note)
        } else {
            try changeSecrets(to: credentials, at: scope, takesAway: false) { () throws(ManagementError) in
                try recordGrant(note)
            }
        }
        try configureFrontEnd()
        return names
    }

    /// Asks for no proof at a place any more, and forgets the secrets there.
    func waive(_ arguments: Credential.Waive.Arguments) throws(ManagementError) {
        let scope = try scope(arguments.place)
        let required = try query { () throws(CatalogError) in try catalog.authenticationPlaces() }
        guard secrets.entries[scope] != nil || required.contains(scope.place) else {
            throw ManagementError(.notFound, "no CHAP is asked for at \(Self.words(scope)); there is nothing to waive")
        }
        guard arguments.mayWiden else {
            throw ManagementError(
                .conflict,
                "initiators would not have to prove who they are at \(Self.words(scope)) any more; "
                    + "say --open if that is meant")
        }
        try clearAll(at: scope, isNotRequired: true)
    }

    /// Forgets the secrets at a place, where a proof is required all the same, or is not any more.
    func clearAll(at scope: CredentialScope, isNotRequired: Bool) throws(ManagementError) {
        let note = AccessNote(
            "CHAP cleared", ["place": Self.words(scope), "proof": isNotRequired ? "not required" : "required"])
        func require() throws(ManagementError) {
            try storeAccess([note], takesAway: !isNotRequired) { change in
                try change.requireAuthentication(!isNotRequired, at: [scope.place])
            }
        }
        if isNotRequired {
            try changeSecrets(to: nil, at: scope, require)
        } else if try query({ () throws(CatalogError) in try catalog.authenticationPlaces() }).contains(scope.place) {
            // Nothing of the catalog changes, so nothing of it may keep somebody from being shut out.
            try setSecrets(nil, at: scope, takesAway: true)
            recordRemoval(note)
        } else {
            try require()
            try setSecrets(nil, at: scope, takesAway: true)
        }
        try configureFrontEnd()
    }

    /// Forgets the secrets at the target of a device that is being deleted.
    func forgetSecrets(at scope: CredentialScope) throws(ManagementError) {
        if secrets.entries[scope] != nil { try setSecrets(nil, at: scope, takesAway: true) }
    }

    // MARK: Names

    private static let algorithmNames: [(String, CHAPAlgorithm)] = [
        ("md5", .md5), ("sha1", .sha1), ("sha-256", .sha256), ("sha3-256", .sha3256),
    ]

    private static func algorithms(_ names: [String]) throws(ManagementError) -> [CHAPAlgorithm] {
        var algorithms: Set<CHAPAlgorithm> = []
        for name in names {
            guard let algorithm = algorithmNames.first(where: { $0.0 == name })?.1 else {
                throw ManagementError(
                    .invalid,
                    "'\(name)' is no CHAP algorithm; choose of \(algorithmNames.map(\.0).joined(separator: ", "))")
            }
            guard CHAPProvider.standard.algorithms.contains(algorithm) else {
                throw ManagementError(.invalid, "libcrypto does not allow '\(name)' on this machine")
            }
            algorithms.insert(algorithm)
        }
        guard !algorithms.isEmpty else {
            throw ManagementError(
                .invalid,
                "no CHAP algorithm is left; choose of \(algorithmNames.map(\.0).joined(separator: ", "))")
        }
        return CHAPAlgorithm.allCases.filter(algorithms.contains)
    }

    /// `target 'a'`, as sentences name it.
    static func words(_ scope: CredentialScope) -> String {
        switch scope {
        case .target(let name): "target '\(DeviceName.alias(ofTarget: name))'"
        case .group(let name): "group '\(name)'"
        case .discovery: "discovery"
        }
    }

    /// As it stands in the names of credentials.
    private static func credentialPlace(_ scope: CredentialScope) -> CredentialPlace {
        switch scope {
        case .target(let name): .target(name)
        case .group(let name): .group(name)
        case .discovery: .discovery
        }
    }

    private func parts(of name: String) throws(ManagementError) -> (scope: CredentialScope, user: String) {
        let parts = name.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2 else { throw ManagementError(.invalid, "'\(name)' is no credential; write PLACE/USER") }
        return (try scope(parts[0]), parts[1])
    }

    private func scope(_ place: String) throws(ManagementError) -> CredentialScope {
        switch try CredentialPlace.parse(place) {
        case .target(let target): .target(try targetRecord(target).name)
        case .group(let group): .group(try initiatorGroupRecord(group).name)
        case .discovery: .discovery
        }
    }

    /// The sentence of `error` in the form of all others: no capital, no full stop.
    private static func sentence(_ error: CHAPConfigurationError) -> String {
        let text = error.description
        let body = text.hasPrefix("CHAP ") ? text : text.prefix(1).lowercased() + text.dropFirst()
        return body.hasSuffix(".") ? String(body.dropLast()) : body
    }
}
