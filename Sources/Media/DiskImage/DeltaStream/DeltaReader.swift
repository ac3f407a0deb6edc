internal import Bytes
public import Platform

/// Reads a delta stream record by record, and proves each before it gives it. One thread at a time.
public struct DeltaReader: ~Copyable {
    private let file: File
    public let header: DeltaHeader
    /// Where the next record begins.
    public private(set) var position: DeltaPosition
    private var buffer = [UInt8](repeating: 0, count: DeltaRecord.dataLimit)

    /// Reads the header; `position` is where to go on that was told of the same stream, nil for its beginning.
    public init(_ file: File, from position: DeltaPosition? = nil) throws(DeltaError) {
        self.file = file
        var bytes = [UInt8](repeating: 0, count: DeltaHeader.byteCount)
        guard try Self.read(file, &bytes, bytes.count, at: 0) == bytes.count else { throw .noStream }
        let (header, checksum) = try DeltaHeader.decoded(bytes)
        self.header = header
        self.position = position ?? .first(checksum)
    }

    private static func read(
        _ file: File, _ bytes: inout [UInt8], _ count: Int, at place: Int64
    ) throws(DeltaError) -> Int {
        let result = bytes.modifyBytes { span in
            var part = span._mutatingExtracting(0..<count)
            return file.read(into: &part, fileOffset: place)
        }
        switch result {
        case .done(let done): return done
        case .wouldBlock: throw .failed(Errno.wouldBlock)
        case .failed(let code): throw .failed(code)
        }
    }

    /// The next record; after the end there is none to ask for.
    public mutating func next() throws(DeltaError) -> DeltaRecord {
        let (place, number) = (position.place, position.record)
        let count = DeltaRecord.byteCount
        guard try Self.read(file, &buffer, count, at: place) == count else {
            throw .cut(record: number, at: place)
        }
        guard
            let (found, chain) = DeltaRecordHeader.decoded(buffer.rawSpan.extracting(0..<count), chain: position.chain),
            found.number == number
        else { throw .damaged(record: number, at: place) }
        var next = position
        next.place += Int64(count)
        next.record += 1
        next.chain = chain
        let record: DeltaRecord
        switch found.kind {
        case .data:
            let range = try range(found)
            guard found.length <= UInt64(DeltaRecord.dataLimit) else { throw .damaged(record: number, at: place) }
            let length = Int(found.length)
            guard try Self.read(file, &buffer, length, at: next.place) == length else {
                throw .cut(record: number, at: place)
            }
            let bytes = buffer.rawSpan.extracting(0..<length)
            guard CRC32C.checksum(bytes) == found.data else { throw .damaged(record: number, at: place) }
            next.data = CRC32C.checksum(bytes, previous: position.data)
            next.place += Int64(length)
            next.end = range.upperBound
            record = .data(range.lowerBound, Array(buffer[..<length]))
        case .nothing:
            let range = try range(found)
            guard found.data == 0 else { throw .damaged(record: number, at: place) }
            next.end = range.upperBound
            record = .nothing(range)
        case .end:
            guard found.offset == 0, found.length == number, found.data == position.data else {
                throw .damaged(record: number, at: place)
            }
            let length: Int64
            do throws(SystemError) { length = try file.size() } catch { throw .failed(error.code) }
            guard length == next.place else { throw .tooLong(at: next.place) }
            record = .end
        }
        position = next
        return record
    }

    /// The bytes of the disk that a record tells of: whole units but at the end of the disk, behind those before.
    private func range(_ found: DeltaRecordHeader) throws(DeltaError) -> Range<Int64> {
        let (capacity, unit) = (UInt64(header.target.capacity), UInt64(EpochFormat.unitLength))
        guard found.length > 0, found.offset <= capacity, found.length <= capacity - found.offset,
            found.offset >= UInt64(position.end), found.offset % unit == 0,
            (found.offset + found.length) % unit == 0 || found.offset + found.length == capacity
        else { throw .damaged(record: position.record, at: position.place) }
        return Int64(found.offset)..<Int64(found.offset + found.length)
    }
}
