import Authentication
import Catalog
import Foundation
import ISCSI
import Logging
public import Resources

extension Controller {
    /// Where CHAP is asked for, and whose names are known there; no secrets.
    public func credentials() -> [CHAPSummary] {
        secrets.entries.map { Self.summary(of: $0.value, at: $0.key) }
            .sorted { Self.order($0.place) < Self.order($1.place) }
    }

    /// Sets names and secrets. Sessions that are logged in stay; the next login has to know them.
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
        try secrets.set(credentials, at: scope)
        try configureFrontEnd()
        logger.info("CHAP set", metadata: ["place": "\(Self.order(request.place))"])
        return Self.summary(of: credentials, at: scope)
    }

    /// Forgets a name, or everything at a place: then nothing has to be proved there.
    public func clearCredentials(_ request: CHAPClearing) throws(ManagementError) {
        let scope = try scope(request.place)
        guard var credentials = secrets.entries[scope] else {
            throw ManagementError(.notFound, "no CHAP is set there; 'carousel chap list' shows where it is")
        }
        guard let user = request.user else {
            try secrets.set(nil, at: scope)
            return try configureFrontEnd()
        }
        guard credentials.initiators.contains(where: { $0.name == user }) else {
            throw ManagementError(
                .notFound, "no user '\(user)' is set there; 'carousel chap list' shows those there are")
        }
        guard credentials.initiators.count > 1 else {
            // Without initiators nobody would have to prove anything: that has to be asked for.
            throw ManagementError(
                .conflict, "'\(user)' is the only user there; leave out --user to ask nobody for a proof any more")
        }
        credentials.initiators.removeAll { $0.name == user }
        try secrets.set(credentials, at: scope)
        try configureFrontEnd()
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
