import Foundation
import Logging
import Resources

extension ControlPlane {
    /// The tokens by name; not the texts, which nobody knows.
    func allTokens() -> [Resource<Token>] {
        tokens.tokens.map { entry, lastUsed in Self.resource(entry, lastUsed: lastUsed) }
    }

    /// The same for those who ask for them: where their file cannot be used, none is not the answer.
    func listedTokens() throws(ManagementError) -> [Resource<Token>] {
        if let problem = tokens.problem { throw problem }
        return allTokens()
    }

    func token(_ name: String) throws(ManagementError) -> Resource<Token> {
        guard let token = try listedTokens().first(where: { $0.name == name }) else {
            throw ManagementError(.notFound, "there is no token '\(name)'; 'carousel token list' shows those there are")
        }
        return token
    }

    /// Makes a token, which is in the answer and nowhere else.
    func createToken(_ name: String, _ spec: Token.Spec) throws(ManagementError) -> Resource<Token> {
        // Whole seconds: that is what files and answers hold.
        let now = Date(timeIntervalSince1970: Date().timeIntervalSince1970.rounded(.down))
        let expires = spec.lifetime.map { now.addingTimeInterval(TimeInterval($0)) }
        let text = try tokens.create(name, spec.role, created: now, expires: expires)
        var details = ["token": name, "role": spec.role.rawValue]
        details["expires"] = expires?.formatted(.iso8601)
        do throws(ManagementError) {
            try recordGrant(AccessNote("token created", details))
        } catch {
            // Nobody has seen it yet.
            do {
                try removing { () throws(ManagementError) in try tokens.delete(name) }
            } catch {
                logger.error("a token stays that nobody has", metadata: ["token": "\(name)", "reason": "\(error)"])
            }
            throw error
        }
        var token = try token(name)
        token.status.token = text
        return token
    }

    func deleteToken(_ name: String) throws(ManagementError) {
        let role = try token(name).spec.role
        try removing { () throws(ManagementError) in try tokens.delete(name) }
        recordRemoval(AccessNote("token deleted", ["token": name, "role": role.rawValue]))
    }

    private static func resource(_ entry: TokenStore.Entry, lastUsed: Date?) -> Resource<Token> {
        var status = Token.Status()
        status.created = entry.created
        status.expires = entry.expires
        status.lastUsed = lastUsed
        return Resource(name: entry.name, spec: Token.Spec(role: entry.role), status: status)
    }
}
