import Authentication
import Catalog
import Foundation
import ISCSI
import Logging
import Resources

extension ControlPlane {
    /// The names and places for which there are secrets, by name; no secrets.
    func credentials() -> [Resource<Credential>] {
        secrets.entries.flatMap { scope, credentials in
            let status = Credential.Status(
                algorithms: Self.algorithmNames.filter { credentials.algorithms.contains($0.1) }.map(\.0))
            func resource(_ credential: CHAPCredential, isMutual: Bool) -> Resource<Credential> {
                Resource(
                    name: "\(Self.credentialPlace(scope))/\(credential.name)",
                    spec: Credential.Spec(secret: nil, isMutual: isMutual), status: status)
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
        guard let secret = spec.secret else { return }
        let credential = CHAPCredential(name: user, secret: secret.bytes)
        var credentials = secrets.entries[scope] ?? CredentialSet(initiators: [], algorithms: CHAPAlgorithm.allCases)
        if spec.isMutual {
            credentials.target = credential
        } else {
            credentials.initiators.removeAll { $0.name == user }
            credentials.initiators.append(credential)
        }
        do {
            try AuthenticationPolicy.validate(initiators: credentials.initiators, target: credentials.target)
        } catch {
            throw ManagementError(.invalid, Self.sentence(error))
        }
        let former = secrets.entries[scope]
        try secrets.set(credentials, at: scope)
        do {
            // Secrets alone ask for proof too, so nothing is open in between.
            try query { () throws(CatalogError) in try catalog.requireAuthentication(true, at: [scope.place]) }
        } catch {
            try secrets.set(former, at: scope)
            throw error
        }
        try configureFrontEnd()
        noteChange(
            "CHAP set",
            [
                "place": "\(Self.words(scope))",
                spec.isMutual ? "mutual user" : "user": "\(PrintableText.escaped(user))",
            ])
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
        try secrets.set(credentials, at: scope)
        try configureFrontEnd()
        noteChange("CHAP cleared", ["place": "\(Self.words(scope))", "user": "\(PrintableText.escaped(user))"])
    }

    /// Has a place allow some algorithms only, which it gives by name in their order.
    func allow(_ arguments: Credential.Allow.Arguments) throws(ManagementError) -> [String] {
        let scope = try scope(arguments.place)
        guard var credentials = secrets.entries[scope] else {
            throw ManagementError(
                .notFound, "no secret is set for \(Self.words(scope)); set one with 'carousel chap create' first")
        }
        credentials.algorithms = try Self.algorithms(arguments.algorithms)
        try secrets.set(credentials, at: scope)
        try configureFrontEnd()
        let names = Self.algorithmNames.filter { credentials.algorithms.contains($0.1) }.map(\.0)
        noteChange("CHAP algorithms", ["place": "\(Self.words(scope))", "algorithms": "\(names)"])
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

    func clearAll(at scope: CredentialScope, isNotRequired: Bool) throws(ManagementError) {
        try query { () throws(CatalogError) in try catalog.requireAuthentication(!isNotRequired, at: [scope.place]) }
        do {
            if secrets.entries[scope] != nil { try secrets.set(nil, at: scope) }
        } catch {
            // Secrets that are there ask for proof, whatever the catalog says; the next start corrects that.
            try? query { () throws(CatalogError) in try catalog.requireAuthentication(true, at: [scope.place]) }
            throw error
        }
        try configureFrontEnd()
        noteChange(
            "CHAP cleared",
            ["place": "\(Self.words(scope))", "proof": isNotRequired ? "not required" : "required"])
    }

    /// Forgets the secrets at a place that has gone. When they cannot be removed they stay, and count for the next of
    /// that name: that keeps initiators out rather than lets them in.
    func forgetSecrets(at scope: CredentialScope) {
        guard secrets.entries[scope] != nil else { return }
        do {
            try secrets.set(nil, at: scope)
        } catch {
            logger.error("CHAP secrets of what was deleted are kept", metadata: ["reason": "\(error.message)"])
        }
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
