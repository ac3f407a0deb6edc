/// What the entries of an extent say of it.
enum ExtentShape: Equatable {
    /// It is not compressed: each unit is something of its own.
    case plain
    case compressed(ExtentPlace)
    /// Entries that do not agree.
    case broken

    /// What the entries are that `entry` gives, by their numbers in the extent.
    init(_ entry: (Int) -> MapEntry) {
        let first = entry(0)
        guard first.isCompressed else {
            let isPlain = !(1..<EpochFormat.extentUnits).contains { entry($0).isCompressed }
            self = isPlain ? .plain : .broken
            return
        }
        var count = 1
        while count < EpochFormat.extentUnits, entry(count).ownsUnit { count += 1 }
        // One unit less, at the least, than data would take.
        guard first.ownsUnit, count < EpochFormat.extentUnits else {
            self = .broken
            return
        }
        for index in 1..<EpochFormat.extentUnits {
            let next = entry(index)
            let unit = index < count ? first.unit + UInt64(index) : 0
            guard next.confirmed == MapEntry.compressed(unit, birth: first.birth) else {
                self = .broken
                return
            }
        }
        self = .compressed(ExtentPlace(units: first.unit..<first.unit + UInt64(count), entry: first))
    }
}

/// Where a compressed extent is stored.
struct ExtentPlace: Equatable {
    let units: Range<UInt64>
    /// Its first one.
    let entry: MapEntry
}

extension EpochFormat {
    /// The first unit of the extent that a unit is in.
    static func extentStart(_ unit: UInt64) -> UInt64 { unit & ~(UInt64(extentUnits) - 1) }
}

extension PageReader {
    /// The first entry of an extent whose entries do not agree, or that must not be compressed; nil when all is well.
    func firstBrokenExtent(_ words: [UInt64]) -> Int? {
        for start in stride(from: 0, to: words.count, by: EpochFormat.extentUnits) {
            switch ExtentShape({ MapEntry(rawValue: words[start + $0]) }) {
            case .plain: continue
            case .compressed where hasExtents: continue
            case .compressed, .broken: return start
            }
        }
        return nil
    }
}

extension RegionContent {
    /// What tells the version of a unit: of a compressed extent that is its first entry, because others may be the
    /// same in two versions.
    func version(_ index: Int) -> MapEntry {
        let entry = self[index]
        return (entry.isCompressed ? self[index & ~(EpochFormat.extentUnits - 1)] : entry).confirmed
    }
}

/// Records of compressed extents.
extension FamilyState {
    func applyExtent(
        _ number: UInt32, _ first: UInt64, _ unit: UInt64, _ count: UInt64, _ frame: UInt64
    ) throws(RefusedRecord) {
        let length = UInt64(EpochFormat.extentUnits)
        guard hasExtents, let head = head(number), let live = head.live, isInside(head, first, length),
            (first + length) << UInt64(EpochFormat.unitShift) <= head.record.capacity,
            isReplaying ? adopt(unit..<unit + count) : units.enter(unit..<unit + count)
        else { throw RefusedRecord() }
        var dropped = UnitRuns()
        change(head, live, first, length) { index, entry, boundary in
            if entry.ownsUnit, entry.birth > boundary { dropped.append(entry.unit) }
            return MapEntry.compressed(index < count ? unit + index : 0, birth: epoch).unconfirmed
        }
        free(dropped, frame: frame)
    }

    /// What a replayed record has changed at its ends must not be a part of a compressed extent.
    func hasWholeExtents(around record: JournalRecord) -> Bool {
        guard hasExtents, let (number, first, count) = record.changed, let live = head(number)?.live else {
            return true
        }
        return [first, first + count - 1].allSatisfy { live.map.extent(of: $0) != .broken }
    }

    /// The entries that the record of an extent has made need no frame any more.
    func confirmExtent(_ record: JournalRecord) {
        guard case .extent(let number, let first, let unit, _, _) = record, let live = head(number)?.live,
            case .leaf(let leaf) = live.map.region(first / UInt64(EpochFormat.regionUnits))
        else { return }
        let place = Int(first % UInt64(EpochFormat.regionUnits))
        guard leaf[place].isCompressed, leaf[place].unit == unit else { return }
        for index in place..<place + EpochFormat.extentUnits { leaf[index] = leaf[index].confirmed }
    }
}

extension RegionMap {
    /// What the extent of a unit is, under the family's lock; nil when its region is not in memory.
    func extent(of unit: UInt64) -> ExtentShape? {
        let start = EpochFormat.extentStart(unit)
        let place = Int(start % UInt64(EpochFormat.regionUnits))
        return switch region(start / UInt64(EpochFormat.regionUnits)) {
        case .notLoaded: nil
        case .uniform: .plain
        case .leaf(let leaf): ExtentShape { leaf[place + $0] }
        }
    }
}
