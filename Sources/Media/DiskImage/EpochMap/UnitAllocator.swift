internal import Platform

/// Gives out the physical units of a family and takes them back. Any thread may use it.
///
/// A unit is *allocated*, then *entered*, in the order of the journal, when the record that refers to it is appended:
/// then a commit writes it as used. What is freed may be needed by a replay, so it waits: a unit of data for the frame
/// with the record that freed it to be durable, a page for the next commit. While a commit goes on nothing that was
/// freed after its cut is given out: a page of the commit in such a unit would be lost by a replay of that record.
final class UnitAllocator: Sendable {
    /// How many words near a hint are looked at, and from the moving position on.
    private static let hintSteps = 64
    private static let searchSteps = 1024
    /// A run that is shorter than asked for is taken rather than the end of the file when it has so many units.
    private static let goodRun: UInt64 = 16
    /// The words that a step of the sweep looks at.
    private static let sweepSteps = 65536
    /// The runs that are remembered to be punched; what is more the sweep finds again.
    static let punchLimit = 65536

    private struct Waiting {
        var frame: UInt64
        var run: Range<UInt64>
        /// Whether it has storage for certain.
        var isSure = true
    }

    private struct State: ~Copyable {
        var map: FreeMap
        /// Where the next search begins.
        var position: UInt64 = 0
        /// In the order of their frames; those before `firstWaiting` are gone.
        var waiting: [Waiting] = []
        var firstWaiting = 0
        var durableFrame: UInt64 = 0
        /// Pages that were freed since the last cut, and those before it.
        var waitingForNextCommit: [Range<UInt64>] = []
        var waitingForCommit: [Range<UInt64>] = []
        /// The last frame before the cut of the commit that goes on.
        var cut: UInt64?
        var newPages: [UInt64] = []
        var droppedPages: [UInt64] = []
        /// Free units that have storage; and such whose writing has failed, which may have.
        var punchable: [Range<UInt64>] = []
        /// From here on free units may have storage that is not remembered; nil when none has. After an opening, all.
        var sweep: UInt64? = 0
        var doubtful: [Range<UInt64>] = []
        /// Free units that have storage, which nobody but a commit on a full host gets.
        var reserve: [UInt64] = []
        /// Whether the commit that goes on takes its pages from them, and those that it has taken.
        var usesReserve = false
        var reservePages: [UInt64] = []
        /// Pages that the commit leaves behind and that become a part of the reserve.
        var refill: Set<UInt64> = []
        /// Whether records come from the journal.
        var isReplaying = false
        /// Units that were allocated for data, and are not entered yet.
        var pending: UInt64 = 0
        /// How many may be in use, and all images of a pool together.
        var limit: UnitLimit?
        var pool: SpacePool?
        /// What the pool has counted.
        var counted: UInt64 = 0
    }

    private let state: Lock<State>

    /// The units that a map does not have in use are to be given out.
    init(_ map: consuming sending FreeMap) {
        state = Lock(State(map: map))
    }

    deinit { leavePool() }

    /// The units in use, of the state.
    var usedUnits: UInt64 { state.withLock { $0.map.usedCount } }
    /// The units before the end that are in use or waited for.
    var takenUnits: UInt64 { state.withLock { $0.map.usedCount + $0.map.busyCount } }
    /// One more than the last unit that was ever given out.
    var end: UInt64 { state.withLock { $0.map.end } }

    func isUsed(_ unit: UInt64) -> Bool { state.withLock { $0.map.isUsed(unit) } }

    // MARK: Data

    /// A run of at most `count` units (at least one, when `count` is positive), if possible behind `hint`; nil when
    /// there is no more room in the format. The caller enters it or gives it back.
    ///
    /// `anywhere`: the file cannot become longer, or the host has no storage for it. What was freed and still has
    /// storage comes first then, and a short run counts as well.
    ///
    /// Data beyond the limit get nothing: all of `count` has room, or none.
    func allocate(_ count: UInt64, near hint: UInt64, anywhere: Bool = false) -> Range<UInt64>? {
        state.withLock { Self.allocateData(&$0, count, hint, anywhere) }
    }

    /// The same without waiting; nil when somebody has the lock.
    func allocateIfAvailable(_ count: UInt64, near hint: UInt64) -> Range<UInt64>?? {
        state.withLockIfAvailable { Self.allocateData(&$0, count, hint, false) }
    }

    /// The same for the reserve, whatever the limit is; it is not given back, but written or added.
    func allocateReserve(_ count: UInt64) -> Range<UInt64>? {
        state.withLock { Self.allocate(&$0, count, .max, false) }
    }

    private static func allocateData(
        _ state: inout State, _ count: UInt64, _ hint: UInt64, _ anywhere: Bool
    ) -> Range<UInt64>? {
        guard !isLimited(state, count), let run = allocate(&state, count, hint, anywhere) else { return nil }
        state.pending += UInt64(run.count)
        tell(&state)
        return run
    }

    private static func allocate(
        _ state: inout State, _ count: UInt64, _ hint: UInt64, _ anywhere: Bool
    ) -> Range<UInt64>? {
        let found = anywhere ? findAnywhere(&state, count) : find(&state, count, hint)
        guard count > 0, let run = found, state.map.reserve(run) else { return nil }
        state.position = run.upperBound
        return run
    }

    /// The record that refers to the run is appended. False when it was not allocated.
    func enter(_ run: Range<UInt64>) -> Bool {
        state.withLock { state in
            guard state.map.enter(run) else { return false }
            state.pending -= min(state.pending, UInt64(run.count))
            return true
        }
    }

    /// The run, which was allocated, will not be entered.
    func giveBack(_ run: Range<UInt64>) -> Bool {
        state.withLock { state in
            guard state.map.release(run) else { return false }
            Self.endPending(&state, run)
            return true
        }
    }

    /// The run, which was allocated and perhaps written, will not be entered.
    func giveBack(written run: Range<UInt64>) {
        state.withLock { state in
            guard state.map.release(run) else { return }
            Self.endPending(&state, run)
            Self.addDoubtful(&state, run)
        }
    }

    private static func endPending(_ state: inout State, _ run: Range<UInt64>) {
        state.pending -= min(state.pending, UInt64(run.count))
        tell(&state)
    }

    /// The run, which was taken for its storage, is free again; it was perhaps written.
    func giveBack(reserve run: Range<UInt64>) {
        state.withLock { if $0.map.release(run) { Self.addDoubtful(&$0, run) } }
    }

    /// The run, which `takePunchable` or `sweepPunchable` has given, is a hole, or not.
    func giveBack(punched run: Range<UInt64>) { state.withLock { _ = $0.map.release(run) } }

    // MARK: Limits

    /// From now on `limit` counts, and the units in use are counted in `pool`, whose limit counts too.
    func join(_ limit: UnitLimit, _ pool: SpacePool?) {
        leavePool()
        state.withLock { state in
            (state.limit, state.pool) = (limit, pool)
            Self.tell(&state)
        }
    }

    /// Ends that for the pool.
    func leavePool() {
        state.withLock { state in
            state.pool?.replace(state.counted, with: 0)
            (state.pool, state.counted) = (nil, 0)
        }
    }

    /// Whether so many units more are beyond a limit.
    func isLimited(_ count: UInt64) -> Bool { state.withLock { Self.isLimited($0, count) } }

    private static func isLimited(_ state: borrowing State, _ count: UInt64) -> Bool {
        if let limit = state.limit, limit.isFull(state.map.usedCount + state.pending, for: count) { return true }
        return state.pool?.isFull(for: count) ?? false
    }

    /// Tells the pool how many units are in use now.
    private static func tell(_ state: inout State) {
        guard let pool = state.pool else { return }
        let now = state.map.usedCount + state.pending
        pool.replace(state.counted, with: now)
        state.counted = now
    }

    // MARK: What is freed

    /// A replayed record refers to the run. False when it is in use or behind the limit: then the journal is wrong.
    func adopt(_ run: Range<UInt64>) -> Bool { state.withLock { $0.map.adoptAny(run) } }

    /// Records are replayed from now on. What they free may be referred to by later ones.
    func beginReplay() { state.withLock { $0.isReplaying = true } }

    /// All records up to those of the frame `lastFrame` are replayed, and nothing is allocated yet. What they have
    /// freed waits for a frame behind it. It may have become holes before the crash: nothing needed it any more.
    func endReplay(lastFrame: UInt64) {
        state.withLock { state in
            state.isReplaying = false
            // Pages wait for a commit.
            var pages = state.waitingForNextCommit.map(\.lowerBound).sorted()[...]
            var waiting: [Waiting] = []
            state.map.forEachBusyRun { run in
                var first = run.lowerBound
                while let page = pages.first, page < run.upperBound {
                    if first < page { waiting.append(Waiting(frame: lastFrame, run: first..<page, isSure: false)) }
                    first = max(first, page + 1)
                    pages.removeFirst()
                }
                if first < run.upperBound {
                    waiting.append(Waiting(frame: lastFrame, run: first..<run.upperBound, isSure: false))
                }
            }
            state.waiting = waiting
            state.sweep = 0
        }
    }

    /// A record of frame number `frame`, which is not lower than in calls before, leaves the run behind. False when it
    /// was not in use.
    func free(_ run: Range<UInt64>, frame: UInt64) -> Bool {
        state.withLock { state in
            guard state.map.leave(run) else { return false }
            Self.tell(&state)
            if state.isReplaying { return true }
            if let last = state.waiting.last, state.firstWaiting < state.waiting.count, last.frame == frame,
                last.isSure, last.run.upperBound == run.lowerBound
            {
                state.waiting[state.waiting.count - 1].run = last.run.lowerBound..<run.upperBound
            } else {
                state.waiting.append(Waiting(frame: frame, run: run))
            }
            Self.releaseWaiting(&state)
            return true
        }
    }

    /// A record leaves a page of a map behind, which a replay may read. False when it was not in use.
    func freePage(_ unit: UInt64) -> Bool {
        state.withLock { state in
            guard unit < EpochFormat.physicalUnitLimit, state.map.leave(unit..<unit + 1) else { return false }
            state.waitingForNextCommit.append(unit..<unit + 1)
            Self.tell(&state)
            return true
        }
    }

    /// All frames up to that one are durable.
    func release(frameDurable frame: UInt64) {
        state.withLock { state in
            state.durableFrame = max(state.durableFrame, frame)
            Self.releaseWaiting(&state)
        }
    }

    private static func releaseWaiting(_ state: inout State) {
        let frame = min(state.durableFrame, state.cut ?? .max)
        while state.firstWaiting < state.waiting.count, state.waiting[state.firstWaiting].frame <= frame {
            let waiting = state.waiting[state.firstWaiting]
            makeFree(&state, waiting.run, isSure: waiting.isSure)
            state.firstWaiting += 1
        }
        if state.firstWaiting == state.waiting.count {
            state.waiting.removeAll(keepingCapacity: true)
            state.firstWaiting = 0
        } else if state.firstWaiting > 4096, state.firstWaiting > state.waiting.count / 2 {
            state.waiting.removeFirst(state.firstWaiting)
            state.firstWaiting = 0
        }
    }

    private static func makeFree(_ state: inout State, _ run: Range<UInt64>, isSure: Bool = true) {
        if run.count == 1, state.refill.contains(run.lowerBound) {
            state.reserve.append(run.lowerBound)
            return
        }
        guard state.map.release(run) else { return }
        if isSure { addPunchable(&state, run) } else { addDoubtful(&state, run) }
    }

    private static func addPunchable(_ state: inout State, _ run: Range<UInt64>) {
        if let last = state.punchable.last, last.upperBound == run.lowerBound {
            state.punchable[state.punchable.count - 1] = last.lowerBound..<run.upperBound
        } else if state.punchable.count < punchLimit {
            state.punchable.append(run)
        } else {
            state.sweep = min(state.sweep ?? run.lowerBound, run.lowerBound)
        }
    }

    private static func addDoubtful(_ state: inout State, _ run: Range<UInt64>) {
        if state.doubtful.count < punchLimit {
            state.doubtful.append(run)
        } else {
            state.sweep = min(state.sweep ?? run.lowerBound, run.lowerBound)
        }
    }

    // MARK: Holes

    /// About `limit` runs at most that are free and have storage; unless `isSure`, also such that may have. They are
    /// nobody's until `giveBack`, after their storage has been freed.
    func takePunchable(limit: Int, isSure: Bool = false) -> [Range<UInt64>] {
        state.withLock { state in
            var runs: [Range<UInt64>] = []
            while runs.count < limit, let run = Self.nextPunchable(&state, isSure: isSure) {
                // Parts may have been given out since.
                let found = state.map.firstFreeRun(from: run.lowerBound, to: run.upperBound, steps: .max)
                guard !found.run.isEmpty, state.map.reserve(found.run) else { continue }
                runs.append(found.run)
                if found.end < run.upperBound { state.punchable.append(found.end..<run.upperBound) }
            }
            if !isSure {
                // A unit may be in two runs, one of which becomes a hole now.
                for run in state.punchable { Self.addDoubtful(&state, run) }
                state.punchable = []
            }
            return runs
        }
    }

    /// Whether `takePunchable` or `sweepPunchable` may give any.
    var hasPunchable: Bool {
        state.withLock { !$0.punchable.isEmpty || !$0.doubtful.isEmpty || $0.sweep != nil }
    }

    /// At most `limit` runs that are free and may have storage that is not remembered, in the order of the file: the
    /// next ones of a sweep through it. They are nobody's until `giveBack`.
    func sweepPunchable(limit: Int) -> [Range<UInt64>] {
        state.withLock { state in
            var runs: [Range<UInt64>] = []
            var steps = Self.sweepSteps
            while let first = state.sweep, runs.count < limit, steps > 0 {
                let found = state.map.firstFreeRun(from: first, to: state.map.end, steps: steps)
                state.sweep = found.end < state.map.end ? found.end : nil
                steps -= 1 + Int(clamping: (found.end - first) / 64)
                if !found.run.isEmpty, state.map.reserve(found.run) { runs.append(found.run) }
            }
            return runs
        }
    }

    private static func nextPunchable(_ state: inout State, isSure: Bool) -> Range<UInt64>? {
        if let run = state.punchable.popLast() { return run }
        return isSure ? nil : state.doubtful.popLast()
    }

    // MARK: Commits

    /// A commit whose last frame is `frame` begins: what is in use now, it writes. False when one goes on.
    func beginCommit(cut frame: UInt64) -> Bool {
        state.withLock { state in
            guard state.cut == nil else { return false }
            state.cut = frame
            state.map.beginCapture()
            state.waitingForCommit += state.waitingForNextCommit
            state.waitingForNextCommit = []
            return true
        }
    }

    /// A unit for a page of the commit that goes on, near `hint` if possible; nil when there is none.
    func allocatePage(near hint: UInt64) -> UInt64? {
        state.withLock { state in
            guard state.cut != nil else { return nil }
            if state.usesReserve, let unit = Self.takeReserved(&state) { return unit }
            guard let run = Self.find(&state, 1, hint), state.map.takePage(run.lowerBound) else {
                return nil
            }
            state.newPages.append(run.lowerBound)
            return run.lowerBound
        }
    }

    /// The commit that goes on does not have a page that the one before has. False when that is not in use.
    func dropPage(_ unit: UInt64) -> Bool {
        state.withLock { state in
            guard state.cut != nil, state.map.dropPage(unit) else { return false }
            state.droppedPages.append(unit)
            return true
        }
    }

    /// The commit that goes on is durable, and pages that only the one before has are free; or it has failed and was
    /// never in the file, and its pages are.
    func endCommit(isDurable: Bool) {
        state.withLock { state in
            guard state.cut != nil else { return }
            if isDurable {
                for run in state.waitingForCommit { Self.makeFree(&state, run) }
                state.waitingForCommit = []
                for unit in state.droppedPages { Self.makeFree(&state, unit..<unit + 1) }
                state.refill = []
                state.reservePages = []
            } else {
                // In the other order, because a page of the commit may have been dropped again.
                for unit in state.droppedPages.reversed() { state.map.undropPage(unit) }
                for unit in state.newPages.reversed() {
                    state.map.untakePage(unit)
                    Self.addDoubtful(&state, unit..<unit + 1)
                }
                for unit in state.reservePages.reversed() {
                    state.map.untakePage(unit)
                    if state.map.reserve(unit..<unit + 1) { state.reserve.append(unit) }
                }
                state.refill = []
                state.reservePages = []
                state.waitingForNextCommit = state.waitingForCommit + state.waitingForNextCommit
                state.waitingForCommit = []
            }
            state.newPages = []
            state.droppedPages = []
            state.map.endCapture(isDurable: isDurable)
            state.cut = nil
            Self.tell(&state)
            Self.releaseWaiting(&state)
        }
    }

    /// The leaves of the free map that the commit that goes on has to write.
    func dirtyLeaves() -> [Int] {
        state.withLock { state in (0..<state.map.pageCount).filter { state.map.isCutDirty($0) } }
    }

    /// Whether a leaf is one of them.
    func isDirty(leaf: Int) -> Bool { state.withLock { $0.map.isCutDirty(leaf) } }

    /// One more than the last unit that the commit that goes on has in use.
    var committedEnd: UInt64 { state.withLock { $0.map.cutEnd } }

    /// Writes a leaf of the free map as the commit that goes on has it to `words`, which has room for it; false when it
    /// is all zero.
    func copy(leaf: Int, to words: inout [UInt64]) -> Bool {
        state.withLock { state in
            state.map.forEachCutWord(leaf) { word, bits in words[word] = bits }
        }
    }

    // MARK: The reserve

    /// How many units the reserve has.
    var reserveCount: Int { state.withLock { $0.reserve.count } }

    /// Adds units to the reserve that are free; what is not is left out.
    func addReserve(_ runs: [Range<UInt64>]) {
        state.withLock { state in
            for run in runs where state.map.reserve(run) { state.reserve += run }
        }
    }

    /// Adds a run that was allocated.
    func addReserve(allocated run: Range<UInt64>) { state.withLock { $0.reserve += run } }

    /// Adds freed units that still have storage, until there are `target`; gives how many are missing.
    func refillReserve(to target: UInt64) -> UInt64 {
        while true {
            let missing = target - min(target, UInt64(reserveCount))
            let runs = missing > 0 ? takePunchable(limit: 1, isSure: true) : []
            guard !runs.isEmpty else { return missing }
            state.withLock { state in
                for run in runs {
                    let missing = target - min(target, UInt64(state.reserve.count))
                    let taken = run.lowerBound..<run.lowerBound + min(missing, UInt64(run.count))
                    state.reserve += taken
                    let rest = taken.upperBound..<run.upperBound
                    if !rest.isEmpty { Self.makeFree(&state, rest) }
                }
            }
        }
    }

    /// Whether pages of the commit that goes on are taken from the reserve.
    func useReserve(_ isUsed: Bool) { state.withLock { $0.usesReserve = isUsed } }

    private static func takeReserved(_ state: inout State) -> UInt64? {
        while let unit = state.reserve.popLast() {
            guard state.map.release(unit..<unit + 1), state.map.takePage(unit) else { continue }
            state.reservePages.append(unit)
            return unit
        }
        return nil
    }

    /// The reserve as it is when the commit that goes on is durable, all of whose pages are chosen: what is left of it,
    /// and pages that are left behind, up to `target` units.
    func reserve(target: UInt64) -> [Range<UInt64>] {
        state.withLock { state in
            var units = state.reserve
            let left = state.droppedPages + state.waitingForCommit.filter { $0.count == 1 }.map(\.lowerBound)
            for unit in left where UInt64(units.count) < target && !state.refill.contains(unit) {
                units.append(unit)
                state.refill.insert(unit)
            }
            var runs: [Range<UInt64>] = []
            for unit in units.sorted() {
                if let last = runs.last, last.upperBound == unit {
                    runs[runs.count - 1] = last.lowerBound..<unit + 1
                } else {
                    runs.append(unit..<unit + 1)
                }
            }
            // The longest ones, when they are too many for a superblock.
            if runs.count > EpochFormat.reserveRunLimit {
                let longest = runs.sorted { ($0.count, $1.lowerBound) > ($1.count, $0.lowerBound) }
                runs = longest.prefix(EpochFormat.reserveRunLimit).sorted { $0.lowerBound < $1.lowerBound }
            }
            return runs
        }
    }

    // MARK: Looking for room

    private static func find(_ state: inout State, _ count: UInt64, _ hint: UInt64) -> Range<UInt64>? {
        let end = state.map.end
        let room = state.map.room
        if state.map.freeCount > 0 {
            if hint < end {
                let near = state.map.findRun(from: hint, to: end, count: count, steps: hintSteps)
                if let run = accept(state.map.end, near.run, count, room) { return run }
            }
            if state.position >= end { state.position = 0 }
            let next = state.map.findRun(from: state.position, to: end, count: count, steps: searchSteps)
            state.position = next.end
            if let run = accept(end, next.run, count, room) { return run }
        }
        if count == 1, state.map.freeCount > 0 {
            // Full pages are passed over, so that this is soon done.
            let single = state.map.findRun(from: 0, to: end, count: 1, steps: .max)
            if !single.run.isEmpty { return single.run }
        }
        if room > 0 { return end..<end + min(count, room) }
        // There is no end to go to: any room will do.
        let any = state.map.findRun(from: 0, to: end, count: min(count, goodRun), steps: .max)
        return any.run.isEmpty ? nil : any.run
    }

    private static func findAnywhere(_ state: inout State, _ count: UInt64) -> Range<UInt64>? {
        for run in state.punchable.reversed() {
            let found = state.map.findRun(from: run.lowerBound, to: run.upperBound, count: count, steps: .max)
            if !found.run.isEmpty { return found.run }
        }
        let any = state.map.findRun(from: 0, to: state.map.end, count: min(count, goodRun), steps: .max)
        return any.run.isEmpty ? nil : any.run
    }

    /// What is taken of a run that was found: all that is long enough, or goes on beyond the end.
    private static func accept(
        _ end: UInt64, _ run: Range<UInt64>, _ count: UInt64, _ room: UInt64
    ) -> Range<UInt64>? {
        guard !run.isEmpty else { return nil }
        let length = run.upperBound - run.lowerBound
        if run.upperBound == end, length < count { return run.lowerBound..<end + min(count - length, room) }
        return length >= min(count, goodRun) ? run : nil
    }
}
