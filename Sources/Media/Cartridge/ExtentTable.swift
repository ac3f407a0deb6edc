/// A run of objects of the same kind and length that lie one after another in the data file.
struct Extent: Equatable, Sendable {
    let kind: TapeObjectKind
    /// The bytes of each block; 0 for filemarks.
    let blockLength: UInt32
    /// The bytes of payload of each record.
    let storedLength: UInt32
    let firstObject: UInt64
    var count: UInt64
    /// Where the first record is.
    let fileOffset: Int64
    /// How many filemarks the partition has before the first object.
    let filemarksBefore: UInt64

    /// The distance between two records.
    var stride: Int64 { RecordHeader.stride(storedLength: storedLength) }
    var endObject: UInt64 { firstObject + count }
    var endOffset: Int64 { fileOffset + Int64(count) * stride }
    var filemarksThrough: UInt64 { filemarksBefore + (kind == .filemark ? count : 0) }

    func offset(of object: UInt64) -> Int64 { fileOffset + Int64(object - firstObject) * stride }
}

/// All objects of a partition as runs, in order and without gaps; every search is binary.
struct ExtentTable: Sendable {
    private(set) var extents: [Extent] = []
    /// Where the last search ended: the next one is there or just after it when access is sequential.
    private var hint = 0

    init() {}

    /// How many objects there are; also the object number of end of data.
    var endObject: UInt64 { extents.last?.endObject ?? 0 }
    /// Where the next record goes.
    var endOffset: Int64 { extents.last?.endOffset ?? Superblock.dataOffset }
    var filemarkCount: UInt64 { extents.last?.filemarksThrough ?? 0 }

    /// Adds `count` objects at the end.
    mutating func append(kind: TapeObjectKind, blockLength: UInt32, storedLength: UInt32, count: UInt64 = 1) {
        if let last = extents.last, last.kind == kind, last.blockLength == blockLength,
            last.storedLength == storedLength
        {
            extents[extents.count - 1].count += count
            return
        }
        extents.append(
            Extent(
                kind: kind, blockLength: blockLength, storedLength: storedLength, firstObject: endObject,
                count: count, fileOffset: endOffset, filemarksBefore: filemarkCount))
    }

    /// Removes `object` and all that follow.
    mutating func truncate(to object: UInt64) {
        while let last = extents.last, last.firstObject >= object { extents.removeLast() }
        if let last = extents.last, last.endObject > object {
            extents[extents.count - 1].count = object - last.firstObject
        }
    }

    /// The extent that holds `object`, which must exist.
    mutating func extent(holding object: UInt64) -> Extent {
        hint = index(holding: object)
        return extents[hint]
    }

    /// The number of the extent that holds `object`, which must exist.
    func index(holding object: UInt64) -> Int {
        precondition(object < endObject, "the object is on the tape")
        if holds(hint, object) { return hint }
        if holds(hint + 1, object) { return hint + 1 }
        return lastIndex { $0.firstObject <= object }
    }

    private func holds(_ index: Int, _ object: UInt64) -> Bool {
        index < extents.count && object >= extents[index].firstObject && object < extents[index].endObject
    }

    /// How many filemarks there are before `object`, which may be end of data.
    func filemarks(before object: UInt64) -> UInt64 {
        guard object < endObject else { return filemarkCount }
        let extent = extents[index(holding: object)]
        return extent.filemarksBefore + (extent.kind == .filemark ? object - extent.firstObject : 0)
    }

    /// The object number of the filemark with that many filemarks before it; it must exist.
    func object(ofFilemark ordinal: UInt64) -> UInt64 {
        precondition(ordinal < filemarkCount, "the filemark is on the tape")
        // Of the extents that may precede it, the last is the one that holds it: any later one counts it as before.
        let extent = extents[lastIndex { $0.filemarksBefore <= ordinal }]
        return extent.firstObject + (ordinal - extent.filemarksBefore)
    }

    /// How many runs hold the objects before `object`.
    func runCount(before object: UInt64) -> Int {
        if object >= endObject { return extents.count }
        return object == 0 ? 0 : index(holding: object - 1) + 1
    }

    /// Whether `count` more records of that length would end beyond `limit`, a file offset.
    func exceeds(_ limit: Int64, storedLength: UInt32, count: UInt64) -> Bool {
        count > UInt64(max(0, limit - endOffset) / RecordHeader.stride(storedLength: storedLength))
    }

    /// Where the record of `object` is, or would go at end of data.
    func offset(of object: UInt64) -> Int64 {
        object < endObject ? extents[index(holding: object)].offset(of: object) : endOffset
    }

    /// The index of the last extent that meets a condition which holds for the first ones up to some point.
    private func lastIndex(_ condition: (Extent) -> Bool) -> Int {
        var low = 0
        var high = extents.count
        while low < high {
            let middle = (low + high) / 2
            if condition(extents[middle]) { low = middle + 1 } else { high = middle }
        }
        return low - 1
    }
}
