import Foundation
import ISCSI
import Platform
import Resources

/// Where CHAP is asked for.
public enum CredentialScope: Hashable, Sendable, Codable {
    /// At the target of that iSCSI name.
    case target(String)
    /// Of the members of that initiator group, where it was given access to a target.
    case group(String)
    /// In discovery sessions.
    case discovery
}

/// The secrets of CHAP, in a file of their own that only the daemon's user can read.
///
/// A change is written to another file, which takes the place of the first: `set` has it on the storage device before
/// it returns, and no crash leaves a half. Where the catalog changes with the secrets, these are proposed first: such
/// secrets count after a crash only if the catalog requires a proof there, so that both changes are made or none.
/// Nothing here prints a secret, and errors do not quote what a file holds.
final class SecretStore: Sendable {
    /// The most places with secrets.
    static let maximumEntryCount = 4096
    private static let version = 1

    private struct FileContent: Codable {
        var version: Int
        var entries: [Entry]
    }

    private struct Entry: Codable {
        var scope: CredentialScope
        var initiators: [Credential]
        var target: Credential?
        var algorithms: [UInt8]
        /// Whether they count only if the catalog requires a proof; nil when they do in any case.
        var isProposal: Bool?
    }

    private struct Content {
        /// Those in force.
        var entries: [CredentialScope: CredentialSet] = [:]
        /// Those that are in the file in the place of others, until the catalog has changed.
        var proposals: [CredentialScope: CredentialSet] = [:]
        /// The generations of the credentials in force, by user. They are new with each start, for the file may be
        /// edited meanwhile.
        private(set) var generations: [CredentialScope: [String: Int64]] = [:]
        /// A generation of the catalog, of which all of these are made; nil until one is needed.
        var epoch: Int64?
        private var changes: Int64 = 0

        /// Puts `credentials` into force at `scope`. Those that are not as they were have another generation.
        mutating func put(_ credentials: CredentialSet?, at scope: CredentialScope) {
            let (former, known) = (entries[scope], generations[scope] ?? [:])
            entries[scope] = credentials
            generations[scope] = nil
            guard let credentials else { return }
            changes += 1
            // A million of them fit between two of the catalog's, so none is given twice.
            let new = (epoch ?? 0) << 20 + changes
            for credential in credentials.initiators + [credentials.target].compactMap({ $0 }) {
                let isAsItWas =
                    former?.algorithms == credentials.algorithms
                    && (former?.initiators.contains(credential) == true || former?.target == credential)
                generations[scope, default: [:]][credential.name] = isAsItWas ? known[credential.name] ?? new : new
            }
        }
    }

    private struct Credential: Codable {
        var name: String
        var secret: Data
    }

    private let folder: StateFolder
    private var path: String { folder.secretsPath }
    private let content: Lock<Content>
    /// A generation that nothing has had; nil when the secrets are only read.
    private let newGeneration: (@Sendable () throws(ManagementError) -> Int64)?
    /// Held while the file is written; who reads does not wait for that.
    private let writing = Lock(())

    /// All of them.
    var entries: [CredentialScope: CredentialSet] { content.withLock { $0.entries } }

    /// All of them with their generations by user.
    var entriesWithGenerations: [CredentialScope: (credentials: CredentialSet, generations: [String: Int64])] {
        content.withLock { content in
            Dictionary(
                uniqueKeysWithValues: content.entries.map { ($0, ($1, content.generations[$0] ?? [:])) })
        }
    }

    /// The secrets in the file of `folder`; none when there is no file. `isRemembered` says whether the catalog knows
    /// that proofs are required, so that nothing opens without the file.
    ///
    /// - Throws: `ManagementError.Code.damaged` when others may read the file, or it is no file of secrets.
    init(
        in folder: StateFolder, isRemembered: Bool,
        newGeneration: (@Sendable () throws(ManagementError) -> Int64)? = nil
    ) throws(ManagementError) {
        self.folder = folder
        self.newGeneration = newGeneration
        var content = try Self.read(folder.secretsPath, isRemembered: isRemembered)
        if !content.entries.isEmpty || !content.proposals.isEmpty { content.epoch = try newGeneration?() }
        let entries = content.entries
        content.entries = [:]
        for (scope, credentials) in entries { content.put(credentials, at: scope) }
        self.content = Lock(content)
    }

    /// What the file holds, with what the generations of a change are made of. Before the change has any effect.
    private func contentToChange() throws(ManagementError) -> Content {
        var content = content.withLock { $0 }
        if content.epoch == nil { content.epoch = try newGeneration?() }
        return content
    }

    /// Decides about the proposals in the file, which a crash or a full file system has left there, by where the
    /// catalog requires a proof; false when there are none.
    func settleProposals(required: Set<CredentialScope>) -> Bool {
        content.withLock { content in
            defer { content.proposals = [:] }
            for (scope, credentials) in content.proposals where required.contains(scope) {
                content.put(credentials, at: scope)
            }
            return !content.proposals.isEmpty
        }
    }

    /// Removes what a crash in the middle of a change has left beside the file: secrets that nobody knows of.
    func removeRemains() throws(ManagementError) { try folder.removeRemains(ofReplacing: path) }

    /// Takes over what `other`, which has read the file again, found there.
    func replace(with other: SecretStore) throws(ManagementError) {
        let entries = other.entries
        try writing.withLock { _ throws(ManagementError) in
            var changed = try contentToChange()
            for scope in changed.entries.keys where entries[scope] == nil { changed.put(nil, at: scope) }
            for (scope, credentials) in entries { changed.put(credentials, at: scope) }
            content.withLock { [changed] in $0 = changed }
        }
    }

    private static func read(
        _ path: String, isRemembered: Bool
    ) throws(ManagementError) -> Content {
        guard try StateFolder.hasEntry(path) else { return Content() }
        try PrivateFile.check(path, content: "CHAP secrets", renewal: "set new secrets")
        let content: FileContent
        do {
            content = try JSONDecoder().decode(
                FileContent.self, from: try Data(contentsOf: URL(fileURLWithPath: path)))
        } catch {
            throw ManagementError(
                .damaged,
                "the CHAP secrets in \(path) cannot be read; put the file back from a copy"
                    + (isRemembered ? ", or move it away: then nobody gets in who has to prove who it is" : ""))
        }
        guard content.version == version else {
            throw ManagementError(
                .damaged, "the CHAP secrets in \(path) are of a newer Carousel; use that version or another --state")
        }
        var found = Content()
        for entry in content.entries {
            let credentials = CredentialSet(
                initiators: entry.initiators.map { CHAPCredential(name: $0.name, secret: Array($0.secret)) },
                target: entry.target.map { CHAPCredential(name: $0.name, secret: Array($0.secret)) },
                algorithms: entry.algorithms.compactMap(CHAPAlgorithm.init(rawValue:)))
            if entry.isProposal == true {
                found.proposals[entry.scope] = credentials
            } else {
                found.entries[entry.scope] = credentials
            }
        }
        return found
    }

    /// Replaces the credentials at `scope`, or removes them when nil; durable on return, unchanged when it throws.
    func set(_ credentials: CredentialSet?, at scope: CredentialScope) throws(ManagementError) {
        try writing.withLock { _ throws(ManagementError) in
            var changed = try contentToChange()
            changed.put(credentials, at: scope)
            changed.proposals[scope] = nil
            try write(changed)
            content.withLock { [changed] in $0 = changed }
        }
    }

    /// Has the file hold `credentials` at `scope`, which count after a crash only if the catalog requires a proof there
    /// then; those in force stay. Durable on return; `settle` has to follow.
    func propose(_ credentials: CredentialSet, at scope: CredentialScope) throws(ManagementError) {
        try writing.withLock { _ throws(ManagementError) in
            var changed = try contentToChange()
            changed.proposals[scope] = credentials
            try write(changed)
            content.withLock { [changed] in $0 = changed }
        }
    }

    /// Puts `credentials` into force at `scope`, or none when nil, after the catalog has changed, or has not.
    ///
    /// - Throws: When the file still holds the proposal. The next start decides the same by the catalog; so does the
    ///   next change that can be written.
    func settle(_ credentials: CredentialSet?, at scope: CredentialScope) throws(ManagementError) {
        try writing.withLock { _ throws(ManagementError) in
            let settled = content.withLock { content in
                content.put(credentials, at: scope)
                content.proposals[scope] = nil
                return content
            }
            try write(settled)
        }
    }

    /// Writes the file as the content is.
    func save() throws(ManagementError) {
        try writing.withLock { _ throws(ManagementError) in try write(content.withLock { $0 }) }
    }

    private func write(_ content: Content) throws(ManagementError) {
        let all = content.entries.merging(content.proposals) { $1 }
        guard all.count <= Self.maximumEntryCount else {
            throw ManagementError(
                .conflict, "there are CHAP secrets at \(Self.maximumEntryCount) places already; clear some first")
        }
        let list = all.map { scope, credentials in
            Entry(
                scope: scope,
                initiators: credentials.initiators.map { Credential(name: $0.name, secret: Data($0.secret)) },
                target: credentials.target.map { Credential(name: $0.name, secret: Data($0.secret)) },
                algorithms: credentials.algorithms.map(\.rawValue),
                isProposal: content.proposals[scope] == nil ? nil : true)
        }
        try Effect.begin()
        do {
            let data = try JSONEncoder().encode(FileContent(version: Self.version, entries: list))
            try folder.replace(path, with: [UInt8](data))
        } catch {
            throw ManagementError(.system, "cannot write the CHAP secrets to \(path): \(StateFolder.reason(error))")
        }
    }
}
