/// How a movement over objects ended.
public struct SpaceResult: Equatable, Sendable {
    /// Where it stopped.
    public enum Stop: Equatable, Sendable {
        /// After the whole count.
        case completed
        /// At a filemark on the way: behind it when moving forward, before it when moving backward.
        case filemark
        case endOfData
        case beginningOfPartition
    }

    /// How many of the counted objects were passed; for the residual, count less this.
    public let traversed: UInt64
    /// Where it stopped.
    public let stop: Stop
}

/// Movements: SPACE (SSC-5 clause 7.9), LOCATE (clause 7.3), REWIND. None of them touches the file.
extension Cartridge {
    /// Moves to the beginning of the partition.
    public func rewind() { position = 0 }

    /// Moves to end of data.
    public func spaceToEndOfData() { position = endOfData }

    /// Moves to an object number. False, and at end of data, when there is no such object.
    public func locate(object: UInt64) -> Bool {
        position = min(object, endOfData)
        return position == object
    }

    /// Moves to the beginning of a logical file: behind so many filemarks. False, and at end of data, when there are
    /// fewer.
    public func locate(logicalFile file: UInt64) -> Bool {
        if file == 0 {
            position = 0
            return true
        }
        guard file <= filemarkCount else {
            position = endOfData
            return false
        }
        position = log.table.object(ofFilemark: file - 1) + 1
        return true
    }

    /// Moves over `count` blocks, backward when it is negative; filemarks stop it.
    public func space(blocks count: Int64) -> SpaceResult {
        let filemarks = filemarksBeforePosition
        let wanted = count.magnitude
        if count >= 0 {
            let filemark = filemarks < filemarkCount ? log.table.object(ofFilemark: filemarks) : nil
            let available = (filemark ?? endOfData) - position
            if wanted <= available { return move(by: wanted, forward: true) }
            position = filemark.map { $0 + 1 } ?? endOfData
            return SpaceResult(traversed: available, stop: filemark == nil ? .endOfData : .filemark)
        }
        let filemark = filemarks > 0 ? log.table.object(ofFilemark: filemarks - 1) : nil
        let available = position - (filemark.map { $0 + 1 } ?? 0)
        if wanted <= available { return move(by: wanted, forward: false) }
        position = filemark ?? 0
        return SpaceResult(traversed: available, stop: filemark == nil ? .beginningOfPartition : .filemark)
    }

    private func move(by count: UInt64, forward: Bool) -> SpaceResult {
        position = forward ? position + count : position - count
        return SpaceResult(traversed: count, stop: .completed)
    }

    /// Moves over `count` filemarks: behind the last of them when forward, before it when negative and so backward.
    public func space(filemarks count: Int64) -> SpaceResult {
        let before = filemarksBeforePosition
        let wanted = count.magnitude
        if wanted == 0 { return SpaceResult(traversed: 0, stop: .completed) }
        if count > 0 {
            let available = filemarkCount - before
            guard wanted <= available else {
                position = endOfData
                return SpaceResult(traversed: available, stop: .endOfData)
            }
            position = log.table.object(ofFilemark: before + wanted - 1) + 1
        } else {
            guard wanted <= before else {
                position = 0
                return SpaceResult(traversed: before, stop: .beginningOfPartition)
            }
            position = log.table.object(ofFilemark: before - wanted)
        }
        return SpaceResult(traversed: wanted, stop: .completed)
    }

    /// Moves to the next place, or the one before when `count` is negative, where so many filemarks follow each other
    /// with no block between: behind the last of them when forward, before the first when backward. The time it takes
    /// grows with the number of runs of filemarks on the way.
    public func space(sequentialFilemarks count: Int64) -> SpaceResult {
        let wanted = count.magnitude
        if wanted == 0 { return SpaceResult(traversed: 0, stop: .completed) }
        let extents = log.table.extents
        if count > 0 {
            guard position < endOfData else { return SpaceResult(traversed: 0, stop: .endOfData) }
            for extent in extents[log.table.index(holding: position)...] where extent.kind == .filemark {
                let first = max(extent.firstObject, position)
                guard extent.endObject - first >= wanted else { continue }
                position = first + wanted
                return SpaceResult(traversed: wanted, stop: .completed)
            }
            position = endOfData
            return SpaceResult(traversed: 0, stop: .endOfData)
        }
        guard position > 0 else { return SpaceResult(traversed: 0, stop: .beginningOfPartition) }
        for extent in extents[...log.table.index(holding: position - 1)].reversed() where extent.kind == .filemark {
            let end = min(extent.endObject, position)
            guard end - extent.firstObject >= wanted else { continue }
            position = end - wanted
            return SpaceResult(traversed: wanted, stop: .completed)
        }
        position = 0
        return SpaceResult(traversed: 0, stop: .beginningOfPartition)
    }
}
