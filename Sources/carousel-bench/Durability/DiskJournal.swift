internal import Initiator

/// What a disk has promised, as its journal tells.
///
/// Workers write to a part of the disk each, in rounds: a round is one run of the writer. Where write `sequence` of a
/// worker in a round goes follows from these numbers, so that the journal need not say it. Lines:
///
///     disk IDENTITY BLOCKLENGTH BLOCKCOUNT WORKERS
///     round ROUND
///     through ROUND WORKER SEQUENCE     this write and all before it in the round are durable (SYNCHRONIZE CACHE)
///     single ROUND WORKER SEQUENCE      this write is durable (FUA)
struct DiskJournal {
    /// Blocks of the disk from address 0 on, and who writes where.
    struct Layout {
        /// The most blocks of one write.
        static let maximumExtent = 128
        /// Half of the writes go to that many blocks, so that blocks are overwritten often.
        private static let hotBlocks = 512

        let identity: UInt64
        let blockLength: Int
        let blockCount: Int
        let workerCount: Int

        /// Blocks of each worker.
        var blocksOfWorker: Int { blockCount / workerCount }

        /// The addresses of a write.
        func extent(round: UInt32, worker: Int, sequence: UInt64) -> Range<Int> {
            var random = SplitMix64(seed: identity ^ UInt64(round) << 40 ^ UInt64(worker) << 32 ^ sequence)
            let choice = random.next()
            let length = 1 + Int(random.next() % (choice & 2 == 0 ? 8 : UInt64(Self.maximumExtent)))
            let room = (choice & 1 == 0 ? Self.hotBlocks : blocksOfWorker) - length
            let start = worker * blocksOfWorker + Int(random.next() % UInt64(room + 1))
            return start..<(start + length)
        }
    }

    /// The promises of one worker in one round.
    struct Promises {
        /// All writes below this number are durable.
        var throughEnd: UInt64 = 0
        /// Further durable writes.
        var singles: Set<UInt64> = []
    }

    /// Which worker in which round.
    struct Run: Hashable {
        let round: UInt32
        let worker: Int
    }

    /// Nil in a new journal.
    let layout: Layout?
    /// The last round that was begun; 0 before the first.
    let lastRound: UInt32
    /// By round and worker.
    let promises: [Run: Promises]

    init(_ journal: Journal) throws {
        guard let first = journal.lines.first else {
            layout = nil
            lastRound = 0
            promises = [:]
            return
        }
        guard first[0] == "disk" else { throw Complaint("the journal is about a \(first[0]), not a disk") }
        layout = Layout(
            identity: try first.number(1), blockLength: try first.number(2), blockCount: try first.number(3),
            workerCount: try first.number(4))
        var lastRound: UInt32 = 0
        var promises: [Run: Promises] = [:]
        for line in journal.lines.dropFirst() {
            let round: UInt32 = try line.number(1)
            switch line[0] {
            case "round": lastRound = max(lastRound, round)
            case "through":
                let run = Run(round: round, worker: try line.number(2))
                promises[run, default: Promises()].throughEnd = try line.number(3) + 1
            case "single":
                let run = Run(round: round, worker: try line.number(2))
                promises[run, default: Promises()].singles.insert(try line.number(3))
            default: throw Complaint("the journal has a line \"\(line.joined(separator: " "))\"")
            }
        }
        self.lastRound = lastRound
        self.promises = promises
    }

    /// The order of the writes to one block: round first, then sequence; 0 is "never written".
    static func order(round: UInt32, sequence: UInt64) -> UInt64 { UInt64(round) << 40 | (sequence + 1) }

    /// For each block the order of the last write that is promised, 0 where none is.
    func promisedOrders(_ layout: Layout) -> [UInt64] {
        var orders = [UInt64](repeating: 0, count: layout.blockCount)
        for (run, promises) in promises {
            func apply(_ sequence: UInt64) {
                let order = Self.order(round: run.round, sequence: sequence)
                for block in layout.extent(round: run.round, worker: run.worker, sequence: sequence) {
                    orders[block] = max(orders[block], order)
                }
            }
            for sequence in 0..<promises.throughEnd { apply(sequence) }
            for sequence in promises.singles { apply(sequence) }
        }
        return orders
    }
}
