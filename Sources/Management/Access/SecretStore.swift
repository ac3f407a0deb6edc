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
    }

    private struct Credential: Codable {
        var name: String
        var secret: Data
    }

    private let folder: StateFolder
    private var path: String { folder.secretsPath }
    private let content: Lock<Content>
    /// Held while the file is written; who reads does not wait for that.
    private let writing = Lock(())

    /// All of them.
    var entries: [CredentialScope: CredentialSet] { content.withLock { $0.entries } }

    /// The secrets in the file of `folder`; none when there is no file. `isRemembered` says whether the catalog knows
    /// that proofs are required, so that nothing opens without the file.
    ///
    /// - Throws: `ManagementError.Code.damaged` when others may read the file, or it is no file of secrets.
    init(in folder: StateFolder, isRemembered: Bool) throws(ManagementError) {
        self.folder = folder
        content = Lock(try Self.read(folder.secretsPath, isRemembered: isRemembered))
    }

    /// Decides about the proposals in the file, which a crash or a full file system has left there, by where the
    /// catalog requires a proof; false when there are none.
    func settleProposals(required: Set<CredentialScope>) -> Bool {
        content.withLock { content in
            defer { content.proposals = [:] }
            content.entries.merge(content.proposals.filter { required.contains($0.key) }) { $1 }
            return !content.proposals.isEmpty
        }
    }

    /// Removes what a crash in the middle of a change has left beside the file: secrets that nobody knows of.
    func removeRemains() throws(ManagementError) { try folder.removeRemains(ofReplacing: path) }

    /// Takes over what `other`, which has read the file again, found there.
    func replace(with other: SecretStore) {
        let entries = other.entries
        writing.withLock { _ in content.withLock { $0.entries = entries } }
    }

    private static func read(
        _ path: String, isRemembered: Bool
    ) throws(ManagementError) -> Content {
        guard FileManager.default.fileExists(atPath: path) else { return Content() }
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
            var changed = content.withLock { $0 }
            changed.entries[scope] = credentials
            changed.proposals[scope] = nil
            try write(changed)
            content.withLock { [changed] in $0 = changed }
        }
    }

    /// Has the file hold `credentials` at `scope`, which count after a crash only if the catalog requires a proof there
    /// then; those in force stay. Durable on return; `settle` has to follow.
    func propose(_ credentials: CredentialSet, at scope: CredentialScope) throws(ManagementError) {
        try writing.withLock { _ throws(ManagementError) in
            var changed = content.withLock { $0 }
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
                content.entries[scope] = credentials
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
        try DryRun.endBeforeEffect()
        do {
            let data = try JSONEncoder().encode(FileContent(version: Self.version, entries: list))
            try folder.replace(path, with: [UInt8](data))
        } catch {
            throw ManagementError(.system, "cannot write the CHAP secrets to \(path): \(StateFolder.reason(error))")
        }
    }
}
