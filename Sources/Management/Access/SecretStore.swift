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
/// it returns, and no crash leaves a half. Nothing here prints a secret, and errors do not quote what a file holds.
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
    }

    private struct Credential: Codable {
        var name: String
        var secret: Data
    }

    private let path: String
    private let content: Lock<[CredentialScope: CredentialSet]>
    /// Held while the file is written; who reads does not wait for that.
    private let writing = Lock(())

    /// All of them.
    var entries: [CredentialScope: CredentialSet] { content.withLock { $0 } }

    /// The secrets in the file at `path`; none when there is no file. `isRemembered` says whether the catalog knows
    /// that proofs are required, so that nothing opens without the file.
    ///
    /// - Throws: `ManagementError.Code.damaged` when others may read the file, or it is no file of secrets.
    init(path: String, isRemembered: Bool) throws(ManagementError) {
        self.path = path
        content = Lock(try Self.read(path, isRemembered: isRemembered))
    }

    /// Takes over what `other`, which has read the file again, found there.
    func replace(with other: SecretStore) {
        let entries = other.entries
        writing.withLock { _ in content.withLock { $0 = entries } }
    }

    private static func read(
        _ path: String, isRemembered: Bool
    ) throws(ManagementError) -> [CredentialScope: CredentialSet] {
        guard FileManager.default.fileExists(atPath: path) else { return [:] }
        try checkOwnership(of: path)
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
        var entries: [CredentialScope: CredentialSet] = [:]
        for entry in content.entries {
            entries[entry.scope] = CredentialSet(
                initiators: entry.initiators.map { CHAPCredential(name: $0.name, secret: Array($0.secret)) },
                target: entry.target.map { CHAPCredential(name: $0.name, secret: Array($0.secret)) },
                algorithms: entry.algorithms.compactMap(CHAPAlgorithm.init(rawValue:)))
        }
        return entries
    }

    private static func checkOwnership(of path: String) throws(ManagementError) {
        // Of the name itself: a symbolic link could point where others write.
        guard let attributes = try? FileManager.default.attributesOfItem(atPath: path),
            attributes[.type] as? FileAttributeType == .typeRegular,
            let mode = attributes[.posixPermissions] as? NSNumber
        else { throw ManagementError(.damaged, "\(path) must be a regular file; put the CHAP secrets back there") }
        guard mode.intValue & 0o077 == 0 else {
            let text = String(mode.intValue & 0o777, radix: 8)
            throw ManagementError(
                .damaged,
                "others may read the CHAP secrets in \(path), which has mode \(text); "
                    + "run 'chmod 600 \(path)' and set new secrets")
        }
    }

    /// Replaces the credentials at `scope`, or removes them when nil; durable on return, unchanged when it throws.
    func set(_ credentials: CredentialSet?, at scope: CredentialScope) throws(ManagementError) {
        try writing.withLock { _ throws(ManagementError) in try write(credentials, at: scope) }
    }

    private func write(_ credentials: CredentialSet?, at scope: CredentialScope) throws(ManagementError) {
        var changed = entries
        changed[scope] = credentials
        guard changed.count <= Self.maximumEntryCount else {
            throw ManagementError(
                .conflict, "there are CHAP secrets at \(Self.maximumEntryCount) places already; clear some first")
        }
        let list = changed.map { scope, credentials in
            Entry(
                scope: scope,
                initiators: credentials.initiators.map { Credential(name: $0.name, secret: Data($0.secret)) },
                target: credentials.target.map { Credential(name: $0.name, secret: Data($0.secret)) },
                algorithms: credentials.algorithms.map(\.rawValue))
        }
        try DryRun.endBeforeEffect()
        do {
            let data = try JSONEncoder().encode(FileContent(version: Self.version, entries: list))
            try StateFolder.replace(path, with: [UInt8](data))
        } catch {
            throw ManagementError(.system, "cannot write the CHAP secrets to \(path): \(StateFolder.reason(error))")
        }
        let written = changed
        content.withLock { $0 = written }
    }
}
