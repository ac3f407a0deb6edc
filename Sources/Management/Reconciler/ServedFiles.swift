import Platform

/// What the files were from which disks and libraries are served, and which of them are not in their place any more.
struct ServedFiles {
    private struct Served {
        let identity: FileStatus.Identity
        var detachment: String?
    }
    private var served: [String: Served] = [:]
    /// Behind which name the next round of what is tried again begins.
    private var last = ""

    /// The image or folder from which `name` is served; nil when it is not.
    func identity(of name: String) -> FileStatus.Identity? { served[name]?.identity }

    /// Why its files are not in their place; nil when they are.
    func detachment(of name: String) -> String? { served[name]?.detachment }

    /// All such sentences, by name.
    var detachments: [String: String] { served.compactMapValues(\.detachment) }

    /// It is served from there.
    mutating func add(_ name: String, _ identity: FileStatus.Identity) { served[name] = Served(identity: identity) }

    /// It is served no more.
    mutating func remove(_ name: String) { served[name] = nil }

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
        guard names.count > limit else { return names }
        let sorted = names.sorted()
        let behind = sorted.filter { $0 > last }
        let chosen = Array((behind + sorted.filter { $0 <= last }).prefix(limit))
        last = chosen.last ?? ""
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
    func noteWithdrawn(_ name: String) { served.withLock { $0.remove(name) } }

    func setDetachment(_ sentence: String?, of name: String, servedFrom identity: FileStatus.Identity) -> Bool {
        served.withLock { $0.setDetachment(sentence, of: name, servedFrom: identity) }
    }

    func turn(of names: [String]) -> [String] {
        served.withLock { $0.turn(of: names, limit: Self.triedAgainAtMost) }
    }
}
