internal import Bytes

/// A place of a map of which nobody knows what it was: a page of level `level`, with that number in its level, or a
/// region (level 0), in a map of `units` logical units.
///
/// One pointer stands for all regions below it when they lie in the disk as a whole; what is behind the end of the disk
/// is nothing, so that a disk can grow.
struct LostPlace: Equatable, Hashable, Sendable {
    let level: Int
    let number: UInt64
    let units: UInt64

    /// The units below, inside of the disk or not.
    private var span: (first: UInt64, count: UInt64) {
        let shift = UInt64(EpochFormat.fanOutShift * level)
        return (number << shift * UInt64(EpochFormat.regionUnits), UInt64(EpochFormat.regionUnits) << shift)
    }

    /// The logical units of the disk that are lost.
    var lostUnits: Range<UInt64> {
        let (first, count) = span
        return min(first, units)..<min(first + count, units)
    }

    /// Whether a part of it is behind the end of the disk.
    var isPartial: Bool { UInt64(lostUnits.count) < span.count }

    /// What stands for the place: a pointer alone, or pages of its part in the disk, which `write` writes.
    func pointer(
        _ write: (_ page: [UInt8]) throws(EpochFault) -> UnitPointer
    ) throws(EpochFault) -> UnitPointer {
        let lost = lostUnits
        if lost.isEmpty { return .nothing }
        if UInt64(lost.count) == span.count { return .lost }
        var page = [UInt8](repeating: 0, count: EpochFormat.unitLength)
        if level == 0 {
            page.modifyBytes { target in
                for index in 0..<lost.count {
                    target.storeBE64(MapEntry.lost.rawValue, at: index * EpochFormat.entryLength)
                }
            }
        } else {
            let below = try pointers(write)
            page.modifyBytes { target in
                for (index, pointer) in below.enumerated() { target.store(pointer, at: index * UnitPointer.byteCount) }
            }
        }
        return try write(page)
    }

    /// The pointers of a page of the place, which is above level 0.
    func pointers(
        _ write: (_ page: [UInt8]) throws(EpochFault) -> UnitPointer
    ) throws(EpochFault) -> [UnitPointer] {
        var pointers: [UnitPointer] = []
        pointers.reserveCapacity(EpochFormat.fanOut)
        for index in 0..<UInt64(EpochFormat.fanOut) {
            let child = LostPlace(
                level: level - 1, number: number << UInt64(EpochFormat.fanOutShift) + index, units: units)
            pointers.append(try child.pointer(write))
        }
        return pointers
    }
}

extension EpochFault {
    /// Whether a page was read that is not what its pointer says, or contradicts itself: what it had is lost, and
    /// nothing else.
    var isDamagedPage: Bool {
        switch self {
        case .damaged(.page), .damaged(.pointer), .damaged(.entry): true
        default: false
        }
    }
}
