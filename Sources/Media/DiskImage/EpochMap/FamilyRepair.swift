internal import Bytes
internal import Platform

/// What a repair of a disk image with snapshots has found and done: sentences without a full stop. What is lost, since
/// it or an earlier one, a check tells.
public struct FamilyRepairReport: Equatable, Sendable {
    /// What was wrong, and is mended.
    public internal(set) var mended: [String] = []
    /// What is wrong still, and why.
    public internal(set) var unmended: [String] = []

    /// Whether nothing was wrong, but for what is lost.
    public var isClean: Bool { mended.isEmpty && unmended.isEmpty }
}

/// Mends a disk image with snapshots that nobody has open, as far as that can be done without making anything up.
///
/// It writes what is new behind the end of the file, and then the superblock, as a commit does: a repair that ends
/// anywhere leaves the image as it was, and can be done again.
enum FamilyRepair {
    /// The most sentences of a kind in a report.
    static let sentenceLimit = 20

    /// Mends what can be mended.
    static func repair(_ store: any ByteStore) throws(FamilyError) -> FamilyRepairReport {
        var report = FamilyRepairReport()
        do throws(EpochFault) {
            let superblock = try newest(store)
            let isWhole = try repairCommit(store, superblock, &report)
            if isWhole { try checkJournal(store, &report) }
        } catch {
            throw FamilyError(error)
        }
        return report
    }

    static func newest(_ store: any ByteStore) throws(EpochFault) -> EpochSuperblock {
        switch EpochSuperblock.newest(of: EpochSuperblock.readCopies(store)) {
        case .valid(let superblock): return superblock
        case .newer, .unknownFeatures: throw .damaged(.unknownFormat)
        case .unreadable(let code): throw .device(code)
        case .invalid: throw .damaged(.superblock)
        }
    }

    // MARK: The last commit

    /// Mends copies of the superblock, damaged pages of maps, and the free map; false when something else is wrong, and
    /// nothing is done.
    private static func repairCommit(
        _ store: any ByteStore, _ superblock: EpochSuperblock, _ report: inout FamilyRepairReport
    ) throws(EpochFault) -> Bool {
        let found = EpochChecker.check(store, superblock)
        let isMapDamaged = !found.damagedPages.isEmpty
        // The node table has no copy.
        let isTableDamaged = found.findingCount > 0 && !isMapDamaged && !found.isFreeMapWrong
        guard !found.hasContradiction, !isTableDamaged else {
            report.unmended += sentences(found.findings)
            return false
        }
        // A longer file would have zeros where the journal has data.
        let end = try journalEnd(store, superblock)
        let length: Int64
        do throws(SystemError) { length = try store.size() } catch { throw .device(error.code) }
        guard UInt64(length) >> UInt64(EpochFormat.unitShift) >= end else {
            report.unmended.append(EpochDamage.truncated(unit: end - 1).description)
            return false
        }
        let copies = EpochSuperblock.readCopies(store)
        for place in copies.indices where copies[place] != .valid(superblock) {
            report.mended.append("copy \(place) of the superblock was not valid, or older: it is written anew")
        }
        if isMapDamaged || found.isFreeMapWrong {
            report.mended += sentences(found.findings)
            try RepairCommit.write(store, superblock, damaged: found.damagedPages)
            if isMapDamaged { report.mended.append("what was on the damaged pages of maps is marked as lost") }
            report.mended.append("the free map is made anew from the maps")
        } else if !report.mended.isEmpty {
            var next = superblock
            guard next.commit < EpochSuperblock.commitLimit else { throw .limit(.commits) }
            next.commit += 1
            try next.write(to: store)
        }
        return true
    }

    private static func sentences(_ findings: [EpochFinding]) -> [String] {
        let list = findings.prefix(sentenceLimit).map { "\($0)" }
        return findings.count > list.count ? list + ["and \(findings.count - list.count) more"] : list
    }
}
