import Catalog
import Encryption
import Platform
import Resources

/// Where the users' keys of image files come from that are opened on behalf of no disk in particular: all disks in a
/// file have the same key, and so do their rows. On threads that may wait.
struct ImageKeys: Sendable {
    let catalog: Catalog
    let folder: StateFolder
    let looks: FileLooks

    /// The user's key of the image of several disks at `path`, as of the first of them; nil of a plain one.
    func key(ofImage path: String) throws(ManagementError) -> UserKey? {
        let disks: [DiskRecord]
        do throws(CatalogError) {
            disks = try catalog.disks()
        } catch {
            throw ManagementError(.system, "whose key image \(path) has cannot be found out: \(error)")
        }
        let user = disks.first { $0.node != nil && $0.spec.isEncrypted && folder.imagePath($0.image) == path }
        guard let user else { return nil }
        return try looks.userKeys(of: [(user.name, user.spec)])[user.name]?.get()
    }
}

extension FileLooks {
    /// The keys of several disks, asked for side by side, or why there is none; without those of plain disks.
    func userKeys(of disks: [(name: String, spec: Disk.Spec)]) -> [String: Result<UserKey, ManagementError>] {
        var sources: [(name: String, item: UserKeySource)] = []
        for (name, spec) in disks {
            if let source = UserKeySource(spec) { sources.append((name, source)) }
        }
        let asked = sources.map { (name: Self.lookName(ofKey: $0.name), item: $0.item) }
        let outcomes = look(at: asked) { $0.result() }
        var keys: [String: Result<UserKey, ManagementError>] = [:]
        for (name, source) in sources {
            keys[name] =
                switch outcomes[Self.lookName(ofKey: name)] {
                case .success(let key): .success(key)
                case .failure(let error):
                    .failure(UserKeySource.refusal(name, "its key cannot be had: \(error.message)"))
                case nil: .failure(UserKeySource.refusal(name, "\(source) does not answer; see to that"))
                }
        }
        return keys
    }

    private static func lookName(ofKey disk: String) -> String { "the key of disk \(disk)" }
}
