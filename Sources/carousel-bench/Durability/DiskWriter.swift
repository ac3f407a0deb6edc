internal import Bytes
internal import Initiator
internal import Platform
internal import SCSI

/// Writes to a disk over several sessions at the same time, and journals what it promised, until the connection ends or
/// time is up.
struct DiskWriter {
    private static let workerCount = 4

    /// What all workers did together.
    private struct Totals {
        var writes = 0
        var synchronizations = 0
        var forced = 0
        var lostConnections = 0
        var complaint: String?
    }

    private let address: LogicalUnitURL
    private let journal: Journal
    private let layout: DiskJournal.Layout
    private let round: UInt32

    /// Begins a round; a new journal begins with a region of `span` bytes full of zeros.
    init(_ address: LogicalUnitURL, _ journal: Journal, _ probe: LogicalUnitProbe, span: Int) throws {
        guard case .disk(let blockLength, let blockCount) = try probe.kind() else {
            throw Complaint("the journal is about a disk, but \(address.url) is none")
        }
        let known = try DiskJournal(journal)
        if let layout = known.layout {
            guard layout.blockLength == blockLength, layout.blockCount <= blockCount else {
                throw Complaint(
                    "the journal is about another disk: \(layout.blockCount) blocks of \(layout.blockLength)")
            }
            self.layout = layout
        } else {
            let count = min(Int(clamping: blockCount), span / blockLength)
            layout = DiskJournal.Layout(
                identity: .random(in: 1 ... .max), blockLength: blockLength, blockCount: count,
                workerCount: Self.workerCount)
            guard layout.blocksOfWorker >= 1024 else { throw Complaint("the disk is too small for this check") }
            try Self.clear(layout, probe)
            try journal.append("disk \(layout.identity) \(blockLength) \(count) \(Self.workerCount)")
        }
        self.address = address
        self.journal = journal
        round = known.lastRound + 1
        try journal.append("round \(round)")
    }

    /// Fills the region with zeros.
    private static func clear(_ layout: DiskJournal.Layout, _ probe: LogicalUnitProbe) throws {
        let step = (1 << 20) / layout.blockLength
        let zeros = [UInt8](repeating: 0, count: 1 << 20)
        for start in stride(from: 0, to: layout.blockCount, by: step) {
            let count = min(step, layout.blockCount - start)
            try probe.execute(
                "WRITE(16)", blockCDB(OperationCode.write16, start, count),
                dataOut: Array(zeros.prefix(count * layout.blockLength)))
        }
        try probe.execute("SYNCHRONIZE CACHE(10)", [OperationCode.synchronizeCache10] + [UInt8](repeating: 0, count: 9))
    }

    /// A READ(16) or WRITE(16).
    static func blockCDB(_ operationCode: UInt8, _ address: Int, _ count: Int, isForced: Bool = false) -> [UInt8] {
        var cdb: [UInt8] = [operationCode, isForced ? 0x08 : 0]
        cdb.appendBE64(UInt64(address))
        cdb.appendBE32(UInt32(count))
        return cdb + [0, 0]
    }

    /// Writes for `seconds`; gives whether the connection ended before.
    func run(seconds: Double) throws -> Bool {
        let totals = Lock(Totals())
        let deadline = MonotonicTime.current() + .seconds(seconds)
        let shared = SharedTotals(totals)
        var threads: [PlatformThread] = []
        for worker in 0..<layout.workerCount {
            threads.append(
                try PlatformThread.start(name: "writer \(worker)") { work(worker, deadline, shared) })
        }
        for thread in threads { thread.join() }
        let result = shared.value
        if let complaint = result.complaint { throw Complaint(complaint) }
        print(
            "disk round \(round): \(result.writes) writes, \(result.synchronizations) times SYNCHRONIZE CACHE, "
                + "\(result.forced) writes with FUA")
        return result.lostConnections > 0
    }

    /// The totals of all workers.
    private final class SharedTotals: Sendable {
        private let totals: Lock<Totals>

        init(_ totals: consuming Lock<Totals>) {
            self.totals = totals
        }

        var value: Totals { totals.withLock { $0 } }
        func change(_ body: (inout Totals) -> Void) { totals.withLock { body(&$0) } }
    }

    private func work(_ worker: Int, _ deadline: MonotonicTime, _ totals: SharedTotals) {
        do {
            try write(worker, deadline, totals)
        } catch let error as InitiatorError where error.isConnectionLoss {
            totals.change { $0.lostConnections += 1 }
        } catch {
            totals.change { $0.complaint = $0.complaint ?? "\(error)" }
        }
    }

    private func write(_ worker: Int, _ deadline: MonotonicTime, _ totals: SharedTotals) throws {
        let probe = try LogicalUnitProbe(address, InitiatorSettings(targetName: address.targetName))
        var random = SystemRandomNumberGenerator()
        var sequence: UInt64 = 0
        while MonotonicTime.current() < deadline {
            let isForced = random.next() % 16 == 0
            let extent = layout.extent(round: round, worker: worker, sequence: sequence)
            var data: [UInt8] = []
            data.reserveCapacity(extent.count * layout.blockLength)
            for block in extent {
                data += DurableBlock(
                    identity: layout.identity, address: UInt64(block), round: round, writer: UInt32(worker),
                    sequence: sequence
                ).encoded(length: layout.blockLength)
            }
            let cdb = Self.blockCDB(OperationCode.write16, extent.lowerBound, extent.count, isForced: isForced)
            try probe.execute("WRITE(16)", cdb, dataOut: data)
            totals.change { $0.writes += 1 }
            if isForced {
                try journal.append("single \(round) \(worker) \(sequence)")
                totals.change { $0.forced += 1 }
            }
            if random.next() % 16 == 0 {
                try probe.execute(
                    "SYNCHRONIZE CACHE(10)", [OperationCode.synchronizeCache10] + [UInt8](repeating: 0, count: 9))
                try journal.append("through \(round) \(worker) \(sequence)")
                totals.change { $0.synchronizations += 1 }
            }
            sequence += 1
        }
    }
}
