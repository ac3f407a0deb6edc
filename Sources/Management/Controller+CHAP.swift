import Authentication
import Catalog
import Foundation
import ISCSI
import Logging
public import Resources

extension Controller {
    /// Where CHAP is asked for, and whose names are known there; no secrets.
    public func credentials() throws(ManagementError) -> [CHAPSummary] {
        let required = try query { () throws(CatalogError) in try catalog.authenticationPlaces() }
        let scopes = Set(secrets.entries.keys).union(required.map(CredentialScope.init))
        return scopes.map { Self.summary(of: secrets.entries[$0] ?? .unknown, at: $0) }
            .sorted { Self.order($0.place) < Self.order($1.place) }
    }

    /// Sets names and secrets, and requires their proof from now on. Sessions that are logged in stay; the next login
    /// has to know them.
    public func setCredentials(_ request: CHAPSetting) throws(ManagementError) -> CHAPSummary {
        let scope = try scope(request.place)
        var credentials = secrets.entries[scope] ?? CredentialSet(initiators: [], algorithms: CHAPAlgorithm.allCases)
        if let initiator = request.initiator {
            credentials.initiators.removeAll { $0.name == initiator.name }
            credentials.initiators.append(CHAPCredential(name: initiator.name, secret: Array(initiator.secret)))
        }
        if let target = request.target {
            credentials.target = CHAPCredential(name: target.name, secret: Array(target.secret))
        }
        if let names = request.algorithms { credentials.algorithms = try Self.algorithms(names) }
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
        var metadata: Logger.Metadata = ["place": "\(Self.words(scope))"]
        metadata["user"] = request.initiator.map { "\(PrintableText.escaped($0.name))" }
        metadata["mutual user"] = request.target.map { "\(PrintableText.escaped($0.name))" }
        noteChange("CHAP set", metadata)
        return Self.summary(of: credentials, at: scope)
    }

    /// Forgets a name, or all names at a place, where nobody gets in then: that a proof is required is not forgotten,
    /// unless it is asked for.
    public func clearCredentials(_ request: CHAPClearing) throws(ManagementError) {
        let scope = try scope(request.place)
        let isRequired = try query { () throws(CatalogError) in try catalog.authenticationPlaces() }
            .contains(scope.place)
        guard secrets.entries[scope] != nil || isRequired && request.user == nil && request.isNotRequired == true else {
            let rest =
                isRequired
                ? "no secret is set there, and nobody gets in; set one with 'carousel chap set', or end that with "
                    + "'carousel chap clear --not-required'"
                : "no CHAP is set there; 'carousel chap list' shows where it is"
            throw ManagementError(.notFound, rest)
        }
        guard let user = request.user else {
            try clearAll(at: scope, isNotRequired: request.isNotRequired == true)
            return
        }
        guard request.isNotRequired != true, var credentials = secrets.entries[scope] else {
            throw ManagementError(
                .invalid, "the others there have to prove who they are on; leave out --user or --not-required")
        }
        guard credentials.initiators.contains(where: { $0.name == user }) else {
            throw ManagementError(
                .notFound, "no user '\(user)' is set there; 'carousel chap list' shows those there are")
        }
        guard credentials.initiators.count > 1 else {
            // The target's own secret would be left without an initiator's.
            throw ManagementError(
                .conflict,
                "'\(user)' is the only user there; set another first, or leave out --user to forget all secrets there")
        }
        credentials.initiators.removeAll { $0.name == user }
        try secrets.set(credentials, at: scope)
        try configureFrontEnd()
        noteChange("CHAP cleared", ["place": "\(Self.words(scope))", "user": "\(PrintableText.escaped(user))"])
    }

    private func clearAll(at scope: CredentialScope, isNotRequired: Bool) throws(ManagementError) {
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

    private static func summary(of credentials: CredentialSet, at scope: CredentialScope) -> CHAPSummary {
        let place =
            switch scope {
            case .target(let name): CHAPPlace(target: name)
            case .group(let name): CHAPPlace(group: name)
            case .discovery: CHAPPlace(isDiscovery: true)
            }
        return CHAPSummary(
            place: place, users: credentials.initiators.map(\.name).sorted(), mutualUser: credentials.target?.name,
            algorithms: algorithmNames.filter { credentials.algorithms.contains($0.1) }.map(\.0))
    }

    /// `target 'a'`, as sentences name it.
    static func words(_ scope: CredentialScope) -> String {
        switch scope {
        case .target(let name): "target '\(DeviceName.alias(ofTarget: name))'"
        case .group(let name): "group '\(name)'"
        case .discovery: "discovery"
        }
    }

    private static func order(_ place: CHAPPlace) -> String {
        place.target.map { "target \($0)" } ?? place.group.map { "group \($0)" } ?? "discovery"
    }

    private func scope(_ place: CHAPPlace) throws(ManagementError) -> CredentialScope {
        switch (place.target, place.group, place.isDiscovery) {
        case (let target?, nil, false): return .target(try targetRecord(target).name)
        case (nil, let group?, false): return .group(try initiatorGroupRecord(group).name)
        case (nil, nil, true): return .discovery
        default:
            throw ManagementError(.invalid, "name one place: --target TARGET, --group GROUP or --discovery")
        }
    }

    /// The sentence of `error` in the form of all others: no capital, no full stop.
    private static func sentence(_ error: CHAPConfigurationError) -> String {
        let text = error.description
        let body = text.hasPrefix("CHAP ") ? text : text.prefix(1).lowercased() + text.dropFirst()
        return body.hasSuffix(".") ? String(body.dropLast()) : body
    }
}
