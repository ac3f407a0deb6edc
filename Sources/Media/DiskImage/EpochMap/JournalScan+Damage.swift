internal import Bytes
internal import Platform

/// What is known of a journal of which a frame is missing that was there once.
struct JournalDamage: Equatable, Sendable {
    /// The number of the first frame that cannot be read, and its unit in the journal.
    let sequence: UInt64
    let unit: UInt32
    /// What the whole frames behind it have, in their order.
    let later: [Frame]

    struct Frame: Equatable, Sendable {
        let sequence: UInt64
        let records: [JournalRecord]
    }

    /// Of the frames up to the last one that is whole, how many are not.
    var missingCount: UInt64 { ((later.last?.sequence ?? sequence) - sequence + 1) - UInt64(later.count) }
}

extension JournalScan {
    /// The damage of a journal; nil when there is none. It takes as much memory as the journal has records.
    static func damage(_ store: any ByteStore, _ superblock: EpochSuperblock) throws(EpochFault) -> JournalDamage? {
        do throws(EpochFault) {
            _ = try survey(store, superblock)
            return nil
        } catch .damaged(.journal(let unit, let sequence)) {
            return JournalDamage(
                sequence: sequence, unit: unit, later: try laterFrames(store, superblock, from: sequence))
        } catch {
            throw error
        }
    }
}

extension JournalDamage {
    /// What is told of it, a sentence each.
    func sentences(name: (UInt32) -> String) -> [String] {
        let frames = missingCount == 1 ? "frame \(sequence) of the journal" : "\(missingCount) frames of the journal"
        var sentences = [
            "\(frames), from its unit \(unit) on, cannot be read: what was acknowledged since frame \(sequence - 1) is "
                + "not certain, and the image is not opened"
        ]
        var writes: [UInt32: (count: Int, units: UInt64)] = [:]
        var others: [String] = []
        for record in later.flatMap(\.records) {
            switch record {
            case .data(let head, _, _, let count, _), .nothing(let head, _, let count):
                let known = writes[head] ?? (0, 0)
                writes[head] = (known.count + 1, known.units + UInt64(count))
            case .extent(let head, _, _, _, _):
                let known = writes[head] ?? (0, 0)
                writes[head] = (known.count + 1, known.units + UInt64(EpochFormat.extentUnits))
            case .snapshot(let head, _, _, _, let snapshot): others.append("snapshot '\(snapshot)' of \(name(head))")
            case .head(let snapshot, _, _, _, let clone): others.append("clone '\(clone)' of \(name(snapshot))")
            case .turn(let head, _, _, _, _, let kept): others.append("rollback of \(name(head)), kept as '\(kept)'")
            case .deletion(let node), .name(let node, nil): others.append("deletion of \(name(node))")
            case .capacity(let head, let bytes): others.append("\(name(head)) with \(bytes) bytes")
            case .name(let node, let new?): others.append("\(name(node)) as '\(new)'")
            case .lock(let node, _): others.append("lock of \(name(node))")
            case .merging, .removal: break
            }
        }
        for (head, known) in writes.sorted(by: { $0.key < $1.key }) {
            sentences.append(
                "the frames behind it have \(known.count) changes of \(known.units) units of \(name(head))")
        }
        if !others.isEmpty { sentences.append("and " + others.prefix(20).joined(separator: ", ")) }
        return sentences
    }
}
