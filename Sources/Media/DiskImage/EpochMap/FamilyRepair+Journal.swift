internal import Platform

/// The journal.
extension FamilyRepair {
    /// One more than the last unit that has data of a frame that was durable; of a damaged journal, of any frame.
    static func journalEnd(
        _ store: any ByteStore, _ superblock: EpochSuperblock
    ) throws(EpochFault) -> UInt64 {
        var confirmed = UInt64.max
        do throws(EpochFault) {
            confirmed = try JournalScan.survey(store, superblock).confirmed
        } catch .damaged {
            // Whatever is there counts.
        } catch {
            throw error
        }
        var scan = JournalScan(store, superblock)
        var end: UInt64 = 0
        while let frame = try scan.next(), frame.sequence <= confirmed {
            _ = scan.withBytes(of: frame) { bytes in
                frame.forEachRecord(in: bytes) { record, _ in
                    if let (units, _) = record.written { end = max(end, units.upperBound) }
                    return true
                }
            }
        }
        return end
    }

    /// Tells of a damaged journal. Nothing of it is cut off: what the frames that cannot be read have freed may have
    /// been used again since, so that no older version of anything is certain.
    static func checkJournal(_ store: any ByteStore, _ report: inout FamilyRepairReport) throws(EpochFault) {
        let superblock = try newest(store)
        let found: JournalDamage?
        do throws(EpochFault) {
            found = try JournalScan.damage(store, superblock)
        } catch .damaged(let damage) {
            return report.unmended.append(damage.description)
        } catch {
            throw error
        }
        guard let found else { return }
        let reader = PageReader(store, superblock)
        let nodes = try NodeTable.read(superblock, reader)
        report.unmended += found.sentences { number in
            nodes[number].map { "'\($0.name)'" } ?? "node \(number)"
        }
    }
}
