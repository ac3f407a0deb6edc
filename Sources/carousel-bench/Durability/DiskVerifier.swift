internal import Bytes
internal import Initiator
internal import SCSI

/// Checks that a disk has kept what its journal says it promised.
///
/// Each block must be whole, must have been written to this address by a write that really went there, and must be at
/// least as new as the last write that was promised. Later writes, which were not acknowledged as durable, may be there
/// or not.
struct DiskVerifier {
    private static let readLength = 1 << 20

    /// Verifies everything and prints a line; throws when something is wrong.
    static func verify(_ journal: Journal, _ probe: LogicalUnitProbe) throws {
        let known = try DiskJournal(journal)
        guard let layout = known.layout else { return print("disk: nothing is promised yet") }
        let promised = known.promisedOrders(layout)
        var findings = Findings()
        var newer = 0
        let step = readLength / layout.blockLength
        for start in stride(from: 0, to: layout.blockCount, by: step) {
            let count = min(step, layout.blockCount - start)
            let length = count * layout.blockLength
            let data = try probe.execute(
                "READ(16)", DiskWriter.blockCDB(OperationCode.read16, start, count), expectedDataInLength: length
            ).dataIn
            guard data.count == length else { throw Complaint("READ(16) gave \(data.count) bytes of \(length)") }
            for index in 0..<count {
                let offset = index * layout.blockLength
                let order = order(
                    of: data.rawSpan.extracting(offset..<(offset + layout.blockLength)), at: start + index, layout,
                    known.lastRound, &findings)
                guard let order else { continue }
                if order < promised[start + index] {
                    findings.add(
                        "block \(start + index) is older than promised: \(name(order)), not "
                            + "\(name(promised[start + index]))"
                    )
                }
                if order > promised[start + index] { newer += 1 }
            }
        }
        print(
            "disk after round \(known.lastRound): \(layout.blockCount) blocks checked, "
                + "\(promised.count { $0 > 0 }) promised, \(newer) newer than promised, \(findings.count) wrong")
        try findings.conclude()
    }

    /// When the block was written, or nil, with a finding, when it is not what belongs there.
    private static func order(
        of bytes: RawSpan, at address: Int, _ layout: DiskJournal.Layout, _ lastRound: UInt32,
        _ findings: inout Findings
    ) -> UInt64? {
        if bytes.isAllZero { return 0 }
        let block: DurableBlock
        do throws(DurableBlock.Defect) {
            block = try DurableBlock.parse(bytes)
        } catch {
            switch error {
            case .noBlock: findings.add("block \(address) holds something foreign")
            case .torn(let found): findings.add("block \(address) is torn; it starts as \(found.summary)")
            }
            return nil
        }
        let worker = address / layout.blocksOfWorker
        let isExpected =
            block.identity == layout.identity && block.address == UInt64(address) && block.writer == UInt32(worker)
            && (1...lastRound).contains(block.round)
            && layout.extent(round: block.round, worker: worker, sequence: block.sequence).contains(address)
        guard isExpected else {
            findings.add("block \(address) holds \(block.summary), which was never written there")
            return nil
        }
        return DiskJournal.order(round: block.round, sequence: block.sequence)
    }

    private static func name(_ order: UInt64) -> String {
        order == 0 ? "never written" : "round \(order >> 40) write \((order & 0xFF_FFFF_FFFF) - 1)"
    }
}
