/// What others may see of a node's map.
struct Protection: Sendable {
    /// Of parents upward as far as they are being deleted: how many pages of level 1 are done, and the last epoch that
    /// is protected in the others.
    private var steps: [(done: UInt64, epoch: UInt32)] = []

    /// Nothing is protected yet.
    init() {}

    /// All that was born in or before that epoch.
    init(epoch: UInt32) { add(done: 0, epoch: epoch) }

    mutating func add(done: UInt64, epoch: UInt32) {
        steps.append((done, epoch))
    }

    /// The last epoch that is protected in a page of level 1.
    func boundary(page: UInt64) -> UInt32 {
        for step in steps where page >= step.done { return step.epoch }
        return 0
    }

    /// The last epoch of which a page of that level, with that number in it, is protected. Pages above level 1 are
    /// those of a parent that is being deleted until it is gone.
    func boundary(level: Int, _ number: UInt64) -> UInt32 {
        switch level {
        case 0: boundary(page: number >> UInt64(EpochFormat.fanOutShift))
        case 1: boundary(page: number)
        default: steps.first?.epoch ?? 0
        }
    }
}
