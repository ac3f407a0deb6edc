internal import Bytes
public import Platform

/// Writes a delta stream, or goes on with one that was cut off. One thread at a time.
public struct DeltaWriter: ~Copyable {
    private let file: File
    public let header: DeltaHeader
    /// Where the next record comes.
    public private(set) var position: DeltaPosition

    /// A stream at the beginning of `file`, which is empty.
    public init(_ file: File, _ header: DeltaHeader) throws(DeltaError) {
        self.file = file
        self.header = header
        let (bytes, checksum) = header.encoded()
        position = .first(checksum)
        try write(bytes.rawSpan, at: 0)
    }

    private init(_ file: File, _ header: DeltaHeader, at position: DeltaPosition) {
        self.file = file
        self.header = header
        self.position = position
    }

    /// Goes on with what `file` has of a stream that brings the same as `wanted`: behind its last whole record, where
    /// the file is cut. Nil when it is none. `isCancelled` ends it before the file is changed; it is nil then too.
    public static func continuing(
        _ file: File, as wanted: DeltaHeader, _ isCancelled: () -> Bool = { false }
    ) throws(DeltaError) -> DeltaWriter? {
        var found: (DeltaHeader, DeltaPosition)?
        do throws(DeltaError) {
            var reader = try DeltaReader(file)
            guard reader.header.isContinued(by: wanted) else { return nil }
            found = (reader.header, reader.position)
            while true {
                guard !isCancelled() else { return nil }
                guard try reader.next() != .end else { break }
                found?.1 = reader.position
            }
        } catch .failed(let code) {
            throw .failed(code)
        } catch {
            // That is where it was cut off.
        }
        guard let (header, position) = found else { return nil }
        let code = file.truncate(to: position.place)
        guard code == 0 else { throw .failed(code) }
        return DeltaWriter(file, header, at: position)
    }

    private func write(_ bytes: RawSpan, at place: Int64) throws(DeltaError) {
        switch file.write(bytes, fileOffset: place) {
        case .done(let count) where count == bytes.byteCount: return
        case .done, .wouldBlock: throw .failed(Errno.inputOutput)
        case .failed(let code): throw .failed(code)
        }
    }

    /// Tells that the bytes of the disk from `offset` on, behind all that were told of, are these.
    public mutating func append(_ bytes: [UInt8], at offset: Int64) throws(DeltaError) {
        precondition(bytes.count <= DeltaRecord.dataLimit && !bytes.isEmpty, "data have a limit")
        let span = bytes.rawSpan
        try append(.data, UInt64(offset), UInt64(bytes.count), CRC32C.checksum(span), span)
        position.data = CRC32C.checksum(span, previous: position.data)
        position.end = offset + Int64(bytes.count)
    }

    /// Tells that these bytes of the disk are zeros.
    public mutating func append(nothing range: Range<Int64>) throws(DeltaError) {
        try append(.nothing, UInt64(range.lowerBound), UInt64(range.count), 0, nil)
        position.end = range.upperBound
    }

    /// Tells that this is all.
    public mutating func finish() throws(DeltaError) {
        try append(.end, 0, position.record, position.data, nil)
    }

    private mutating func append(
        _ kind: DeltaRecord.Kind, _ offset: UInt64, _ length: UInt64, _ checksum: UInt32, _ data: RawSpan?
    ) throws(DeltaError) {
        let header = DeltaRecordHeader(
            kind: kind, number: position.record, offset: offset, length: length, data: checksum)
        let (bytes, chain) = header.encoded(chain: position.chain)
        // First: a header that is there has its data.
        if let data { try write(data, at: position.place + Int64(bytes.count)) }
        try write(bytes.rawSpan, at: position.place)
        position.place += Int64(bytes.count) + Int64(data?.byteCount ?? 0)
        position.record += 1
        position.chain = chain
    }
}
