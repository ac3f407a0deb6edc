public import Platform

/// What was found out about the space of nodes, and how far those are that are being counted. Any thread may use it.
///
/// What a snapshot has never changes, and what only it has as long as its neighbours in the tree are snapshots and
/// stay. Else it changes with each record: where counting takes long, it counts for some time all the same.
final class SpaceCache: Sendable {
    /// What the space of a node depends on besides the content of maps.
    struct Basis: Equatable, Sendable {
        /// What was born later, nobody above sees.
        var boundary: UInt32
        /// The first node below; 0 without.
        var child: UInt32
        var hasSeveral: Bool
        /// Whether nothing of it is written: neither the node, nor the only one below.
        var isFixed: Bool
    }

    struct Entry: Sendable {
        var basis: Basis
        /// The records that the family had when it was begun.
        var revision: UInt64
        var walk = DiskFamily.SpaceWalk()
        /// When the walk came to its end; nil before.
        var end: MonotonicTime?
        /// How long it has taken.
        var cost = Duration.zero
    }

    /// The pages of level 1 whose units are remembered, 32 bytes each.
    static let pageLimit = 65536
    /// The entries of nodes that are gone before they are looked for.
    private static let excess = 1024
    /// A result that may be out of date counts for so many times the time that it has taken, where that was a long
    /// walk: of so many regions.
    private static let ageFactor = 20
    private static let longWalk: UInt64 = 4096

    private struct State {
        var entries: [UInt32: Entry] = [:]
        var pages: [UInt64: (birth: UInt32, checksum: UInt32, units: UInt64)] = [:]
    }
    private let state = Lock(State())

    /// The result for a node, if it counts at `now`, or exactly.
    func result(
        of node: UInt32, _ basis: Basis, revision: UInt64, at now: MonotonicTime?
    ) -> DiskFamily.NodeSpace? {
        state.withLock { state in
            guard let entry = state.entries[node], let end = entry.end, entry.basis == basis else { return nil }
            let isLong = entry.walk.steps >= Self.longWalk
            let isRecent = isLong && now.map { $0 - end < entry.cost * Self.ageFactor } ?? false
            return basis.isFixed || entry.revision == revision || isRecent ? entry.walk.space : nil
        }
    }

    /// A walk of the node that has not come to its end, to go on with, or a new one.
    func begin(_ node: UInt32, _ basis: Basis, revision: UInt64) -> Entry {
        state.withLock { state in
            guard let entry = state.entries[node], entry.end == nil, entry.basis == basis else {
                return Entry(basis: basis, revision: revision)
            }
            return entry
        }
    }

    /// Keeps what has become of a walk; `present` says which nodes there are.
    func keep(_ entry: Entry, of node: UInt32, present: () -> Set<UInt32>) {
        let isLarge = state.withLock { state in
            state.entries[node] = entry
            return state.entries.count > Self.excess
        }
        guard isLarge else { return }
        let nodes = present()
        state.withLock { state in
            guard state.entries.count > nodes.count + Self.excess else { return }
            state.entries = state.entries.filter { nodes.contains($0.key) }
        }
    }

    /// How many units the page of level 1 has, if that is remembered.
    func units(of page: UnitPointer) -> UInt64? {
        state.withLock { state in
            guard let found = state.pages[page.unit], found.birth == page.birth, found.checksum == page.checksum else {
                return nil
            }
            return found.units
        }
    }

    func remember(_ units: UInt64, of page: UnitPointer) {
        state.withLock { state in
            if state.pages.count >= Self.pageLimit { state.pages = [:] }
            state.pages[page.unit] = (page.birth, page.checksum, units)
        }
    }
}

extension DiskFamily {
    /// The space of a node, counted until `deadline` at the latest: nil when more has to be counted, which the next
    /// call goes on with. What does not change is counted once; the rest may be as old as twenty times the time that
    /// counting takes, unless not even that is wanted.
    func space(
        of node: UInt32, until deadline: MonotonicTime, mayBeOld: Bool = true
    ) throws(FamilyError) -> NodeSpace? {
        let (basis, revision) = shared.withLock { ($0.state.spaceBasis(node), $0.records.appended) }
        guard let basis else { throw .noNode(node) }
        let begin = MonotonicTime.current()
        if let known = spaces.result(of: node, basis, revision: revision, at: mayBeOld ? begin : nil) { return known }
        guard begin < deadline else { return nil }
        var entry = spaces.begin(node, basis, revision: revision)
        let isWhole = try count(node, &entry.walk) { MonotonicTime.current() >= deadline }
        let end = MonotonicTime.current()
        entry.cost += end - begin
        if isWhole { entry.end = end }
        spaces.keep(entry, of: node) { Set(nodes.map(\.number)) }
        return isWhole ? entry.walk.space : nil
    }
}

extension FamilyFile {
    /// The bytes of data that a node has, and those that its deletion would give back, counted until `deadline` at the
    /// latest: nil when more has to be counted, which the next call goes on with. It reads the image.
    public func space(
        of node: UInt32, until deadline: MonotonicTime
    ) throws(FamilyError) -> (used: Int64, unique: Int64)? {
        let found = withFamily { family in
            Result { () throws(FamilyError) in try family.space(of: node, until: deadline) }
        }
        guard let space = try found.get() else { return nil }
        let length = UInt64(EpochFormat.unitLength)
        return (Int64(clamping: space.mapped * length), Int64(clamping: space.unique * length))
    }
}

extension EpochDiskImage {
    public func findMappedBytes() -> Int64? {
        let deadline = MonotonicTime.current() + DiskImageLimit.spaceTime
        return (try? file.space(of: node, until: deadline))?.used
    }

    public var limitedSpace: LimitedSpace? {
        file.spaceLimit.map { LimitedSpace(used: file.usedBytes, limit: $0) }
    }
}
