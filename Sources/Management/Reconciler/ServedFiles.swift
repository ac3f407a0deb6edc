import Platform
import Resources

/// What the files were from which disks and libraries are served, and which of them are not in their place any more.
struct ServedFiles {
    private struct Served {
        let identity: FileStatus.Identity
        var detachment: String?
    }
    private var served: [String: Served] = [:]
    /// From what was served what is being deleted, until its files are removed.
    private var withdrawn: [String: FileStatus.Identity] = [:]
    /// Behind which name the next round of what is tried again begins.
    private var last = ""

    /// The image or folder from which `name` is served; nil when it is not.
    func identity(of name: String) -> FileStatus.Identity? { served[name]?.identity }

    /// Why its files are not in their place; nil when they are.
    func detachment(of name: String) -> String? { served[name]?.detachment }

    /// All such sentences, by name.
    var detachments: [String: String] { served.compactMapValues(\.detachment) }

    /// It is served from there.
    mutating func add(_ name: String, _ identity: FileStatus.Identity) {
        served[name] = Served(identity: identity)
        withdrawn[name] = nil
    }

    /// It is served no more.
    mutating func withdraw(_ name: String) {
        if let former = served.removeValue(forKey: name) { withdrawn[name] = former.identity }
    }

    /// Nothing of it is left, or what is left is not the daemon's to remove.
    mutating func forget(_ name: String) {
        served[name] = nil
        withdrawn[name] = nil
    }

    /// The image or folder from which `name` is served, or was before it came to be deleted; nil when it was not.
    func lastIdentity(of name: String) -> FileStatus.Identity? { served[name]?.identity ?? withdrawn[name] }

    /// Notes where its files are, if it is still served from there. Whether that is news.
    mutating func setDetachment(_ sentence: String?, of name: String, servedFrom identity: FileStatus.Identity) -> Bool
    {
        guard let present = served[name], present.identity == identity, present.detachment != sentence else {
            return false
        }
        served[name]?.detachment = sentence
        return true
    }

    /// At most `limit` of `names`, those behind the ones of the last time first.
    mutating func turn(of names: [String], limit: Int) -> [String] {
        let sorted = names.sorted()
        let behind = sorted.filter { $0 > last }
        let chosen = Array((behind + sorted.filter { $0 <= last }).prefix(limit))
        // Where all have their turn, each is the first one day: the others may be kept from it by what takes long.
        last = (names.count > limit ? chosen.last : chosen.first) ?? ""
        return chosen
    }
}

extension ControlPlane {
    /// The image or folder from which `name` is served; nil when it is not.
    func servedFile(of name: String) -> FileStatus.Identity? { served.withLock { $0.identity(of: name) } }

    /// Why the files of what runs as `name` are not in their place; nil when they are.
    func detachment(of name: String) -> String? { served.withLock { $0.detachment(of: name) } }

    /// All such sentences, by name.
    var detachments: [String: String] { served.withLock { $0.detachments } }

    /// Notes that `name` is served from what is at `path` now.
    func noteServed(_ name: String, from path: String) {
        guard let status = try? FileStatus.of(path) else { return }
        served.withLock { $0.add(name, status.identity) }
    }

    /// Notes that `name` is served no more.
    func noteWithdrawn(_ name: String) { served.withLock { $0.withdraw(name) } }

    /// Notes that nothing is left of `name` that is to be removed.
    func noteForgotten(_ name: String) { served.withLock { $0.forget(name) } }

    /// Refuses to remove what is at `path` when it is not the image or folder from which `name` was served: somebody
    /// has put it there. A link counts as what it leads to. What was never served since the start is as its row says.
    func checkIsOwn(_ path: String, of name: String, _ kind: String) throws(ManagementError) {
        guard let own = served.withLock({ $0.lastIdentity(of: name) }), let present = try? FileStatus.of(path),
            present.identity != own
        else { return }
        throw ManagementError(
            .conflict,
            "\(path) is not what \(kind) '\(name)' was served from, but something that was put in its place; move it "
                + "away, it is not removed")
    }

    func setDetachment(_ sentence: String?, of name: String, servedFrom identity: FileStatus.Identity) -> Bool {
        served.withLock { $0.setDetachment(sentence, of: name, servedFrom: identity) }
    }

    func turn(of names: [String]) -> [String] {
        served.withLock { $0.turn(of: names, limit: Self.triedAgainAtMost) }
    }
}
