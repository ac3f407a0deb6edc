import Foundation
import Logging
public import Resources

// Who asks.
extension Controller {
    /// The tokens by name.
    public func tokens() async throws(ManagementError) -> [Resource<Token>] {
        try await query { plane throws(ManagementError) in try plane.listedTokens() }
    }

    public func token(_ name: String) async throws(ManagementError) -> Resource<Token> {
        try await query { plane throws(ManagementError) in try plane.token(name) }
    }

    /// Makes a token, which is in the answer and nowhere else.
    @discardableResult
    public func createToken(_ name: String, _ spec: Token.Spec) async throws(ManagementError) -> Resource<Token> {
        try await change([.tokens]) { plane throws(ManagementError) in try plane.createToken(name, spec) }
    }

    /// Has a token be good no more.
    public func deleteToken(_ name: String) async throws(ManagementError) {
        try await change([.tokens]) { plane throws(ManagementError) in try plane.deleteToken(name) }
    }

    /// Whose the token `text` is; waits for nothing.
    ///
    /// - Throws: `ManagementError.Code.unauthenticated` for one that is not known or has expired.
    public func holder(ofToken text: String) throws(ManagementError) -> TokenHolder {
        try plane.tokens.holder(of: text, at: Date())
    }

    /// A request was refused, for it did not show who asks; `origin` is where it came from. Counted, and logged as far
    /// as the log allows.
    public func noteRefusedRequest(_ reason: ManagementError, from origin: String) {
        plane.refusedRequests.note { ["reason": "\(reason.message)", "peer": "\(origin)"] }
    }
}
