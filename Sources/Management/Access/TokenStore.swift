import Authentication
import Foundation
import ISCSI
import Platform
public import Resources

/// Whose token it is that came with a request.
public struct TokenHolder: Hashable, Sendable {
    public let name: String
    public let role: Role
}

/// The tokens, as digests in a file of their own that only the daemon's user can read.
///
/// A token has 256 random bits, so its digest needs neither salt nor many rounds. Where the file is damaged no token is
/// good, and none is made or deleted: the loss of it opens nothing, and keeps nothing from being served.
final class TokenStore: Sendable {
    /// The most tokens.
    static let maximumCount = 1024
    /// How many random bytes a token has.
    static let length = 32
    /// What tokens begin with, so that they are recognised where they should not be.
    static let prefix = "carousel_"
    private static let version = 1

    private struct FileContent: Codable {
        var version: Int
        var tokens: [Entry]
    }

    struct Entry: Codable, Sendable {
        var name: String
        var role: Role
        /// SHA-256 of the text of the token.
        var digest: Data
        var created: Date
        var expires: Date?
    }

    private struct Content {
        var entries: [Entry] = []
        /// Why the file is not used; nil when it is, or there is none.
        var problem: ManagementError?
        /// When each was last used, by name.
        var uses: [String: Date] = [:]
    }

    private let folder: StateFolder
    private let provider: CHAPProvider
    private let content: Lock<Content>

    /// The tokens in `folder`.
    init(_ folder: StateFolder, provider: CHAPProvider = .standard) {
        self.folder = folder
        self.provider = provider
        content = Lock(Self.read(folder.tokensPath))
    }

    /// Reads the file again.
    func reload() {
        let new = Self.read(folder.tokensPath)
        content.withLock { ($0.entries, $0.problem) = (new.entries, new.problem) }
    }

    /// Why the file is not used; nil when all is well.
    var problem: ManagementError? { content.withLock { $0.problem } }

    /// The tokens by name, with when each was last used.
    var tokens: [(entry: Entry, lastUsed: Date?)] {
        content.withLock { content in
            content.entries.map { ($0, content.uses[$0.name]) }.sorted { $0.0.name < $1.0.name }
        }
    }

    /// Whose the token `text` is. The time that takes tells nothing of the tokens that there are.
    ///
    /// - Throws: `ManagementError.Code.unauthenticated` for one that is not known, or expired before `now`.
    func holder(of text: String, at now: Date) throws(ManagementError) -> TokenHolder {
        let digest = try digest(of: text)
        let found: Entry? = content.withLock { content in
            var found: Entry?
            for entry in content.entries where provider.areEqual(digest, Array(entry.digest)) { found = entry }
            return found
        }
        guard let found else {
            throw ManagementError(.unauthenticated, "this token is not known; 'carousel token create' makes one")
        }
        if let expires = found.expires, expires <= now {
            throw ManagementError(
                .unauthenticated, "token '\(found.name)' has expired; 'carousel token create' makes another")
        }
        content.withLock { content in
            // It may have been deleted meanwhile.
            if content.entries.contains(where: { $0.name == found.name }) { content.uses[found.name] = now }
        }
        return TokenHolder(name: found.name, role: found.role)
    }

    /// Makes a token and gives its text, which is kept nowhere; durable on return. One change at a time.
    func create(_ name: String, _ role: Role, created: Date, expires: Date?) throws(ManagementError) -> String {
        var entries = try usable()
        guard !entries.contains(where: { $0.name == name }) else {
            throw ManagementError(
                .conflict, "token '\(name)' exists already; delete it first, or choose another name")
        }
        guard entries.count < Self.maximumCount else {
            throw ManagementError(.conflict, "there are \(Self.maximumCount) tokens already; delete some first")
        }
        guard let random = try? provider.random(Self.length), random.count == Self.length else {
            throw ManagementError(.system, "libcrypto gives no random numbers")
        }
        let text = Self.prefix + Self.base64URL(random)
        entries.append(
            Entry(name: name, role: role, digest: Data(try digest(of: text)), created: created, expires: expires))
        try write(entries)
        return text
    }

    /// Deletes a token; durable on return. One change at a time.
    func delete(_ name: String) throws(ManagementError) {
        try write(try usable().filter { $0.name != name })
    }

    // MARK: The file

    private func usable() throws(ManagementError) -> [Entry] {
        let content = content.withLock { $0 }
        if let problem = content.problem { throw problem }
        return content.entries
    }

    private func write(_ entries: [Entry]) throws(ManagementError) {
        let data: Data
        do {
            data = try APICoding.encode(FileContent(version: Self.version, tokens: entries))
        } catch {
            throw ManagementError(.internal, "the tokens cannot be written as JSON")
        }
        try folder.replaceFile(folder.tokensPath, with: [UInt8](data))
        content.withLock { content in
            content.entries = entries
            let names = Set(entries.map(\.name))
            content.uses = content.uses.filter { names.contains($0.key) }
        }
    }

    private static func read(_ path: String) -> Content {
        do throws(ManagementError) {
            guard try StateFolder.hasEntry(path) else { return Content() }
            try PrivateFile.check(path, content: "tokens", renewal: "make new ones")
            let content: FileContent
            do {
                content = try APICoding.decode(
                    FileContent.self, from: try Data(contentsOf: URL(fileURLWithPath: path)))
            } catch {
                throw ManagementError(
                    .damaged,
                    "the tokens in \(path) cannot be read, so none is good; put the file back from a copy, or move it "
                        + "away and make new ones")
            }
            guard content.version == version else {
                throw ManagementError(
                    .damaged, "the tokens in \(path) are of a newer Carousel, so none is good; use that version")
            }
            return Content(entries: content.tokens)
        } catch {
            return Content(problem: error)
        }
    }

    private func digest(of text: String) throws(ManagementError) -> [UInt8] {
        do {
            return try provider.digest(.sha256, Array(text.utf8))
        } catch {
            throw ManagementError(.system, "libcrypto gives no SHA-256 digests, without which no token is good")
        }
    }

    /// The bytes in Base64 with the alphabet for URLs, without padding (RFC 4648 section 5).
    private static func base64URL(_ bytes: [UInt8]) -> String {
        Data(bytes).base64EncodedString().replacingOccurrences(of: "+", with: "-")
            .replacingOccurrences(of: "/", with: "_").replacingOccurrences(of: "=", with: "")
    }
}
