internal import Bytes
internal import Platform

/// Reads a partition's records one after another and finds where what counts ends.
struct LogReplay {
    /// At a crash at most about this many bytes were written and not yet synchronised. What is cut off may not hide
    /// valid records further behind: then the file is damaged, not torn.
    static let tailLimit: Int64 = 1 << 30
    private static let bufferLength = 1 << 20

    /// What stands where the next record should be.
    enum Ending: Equatable {
        case endOfFile
        /// A record that an older epoch wrote.
        case staleRecord
        /// Anything else.
        case noRecord
        /// A record whose payload does not match its checksum.
        case brokenPayload
    }

    /// A record that is whole.
    enum Step: Equatable {
        case record(RecordHeader)
        case end(Ending)
    }

    /// Called at each read of the file with the number of bytes; when it is false, the replay ends with `ECANCELED`.
    var observer: (@Sendable (Int64) -> Bool)?
    private let store: any ByteStore
    private let superblock: Superblock
    private let seed: UInt32
    /// The length of the file when the replay began, at most up to the end of its capacity.
    let fileLength: Int64
    /// Where the next record is.
    private(set) var offset: Int64
    /// The number of the next object.
    private(set) var object: UInt64
    private var buffer = [UInt8](repeating: 0, count: Self.bufferLength)
    private var bufferOffset: Int64 = 0
    private var bufferCount = 0

    /// A replay from `object` on, whose record is at `offset`.
    init(
        store: any ByteStore, superblock: Superblock, object: UInt64, offset: Int64
    ) throws(SystemError) {
        self.store = store
        self.superblock = superblock
        self.object = object
        self.offset = offset
        seed = superblock.seed
        fileLength = min(try store.size(), superblock.endOfCapacity)
    }

    /// A replay from the end of `log` on.
    init(store: any ByteStore, log: PartitionLog) throws(SystemError) {
        try self.init(
            store: store, superblock: log.superblock, object: log.table.endObject, offset: log.table.endOffset)
    }

    /// The next record, if it counts; with `verifyingPayload` only if its payload is right.
    ///
    /// An unreadable device throws: it must never look like the end of the data.
    mutating func next(verifyingPayload: Bool) throws(SystemError) -> Step {
        guard offset < fileLength else { return .end(.endOfFile) }
        guard try load(offset, RecordHeader.byteCount),
            let header = RecordHeader(buffer.rawSpan, at: Int(offset - bufferOffset), seed: seed)
        else { return .end(.noRecord) }
        let owners = superblock.owners(of: object)
        if header.epoch < owners.lowerBound { return .end(.staleRecord) }
        guard header.object == object, owners.contains(header.epoch) else { return .end(.noRecord) }
        let payload = offset + Int64(RecordHeader.byteCount)
        let end = payload + Int64(header.storedLength)
        guard end <= fileLength else { return .end(.noRecord) }
        if verifyingPayload, try checksum(payload, Int64(header.storedLength)) != header.payloadChecksum {
            return .end(.brokenPayload)
        }
        offset += RecordHeader.stride(storedLength: header.storedLength)
        object += 1
        return .record(header)
    }

    /// Adds the records before object `limit` that count and are whole to `log`. Gives what stands behind them, or nil
    /// at the limit or when there are more runs than `Cartridge.runLimit`.
    mutating func adoptRecords(into log: PartitionLog, until limit: UInt64 = .max) throws(SystemError) -> Ending? {
        while object < limit, log.table.extents.count <= Cartridge.runLimit {
            switch try next(verifyingPayload: true) {
            case .record(let header): log.adopt(header)
            case .end(let ending): return ending
            }
        }
        return nil
    }

    /// Passes over a record whose header is right but whose payload is not.
    mutating func skipBrokenPayload() throws(SystemError) -> RecordHeader? {
        guard try load(offset, RecordHeader.byteCount),
            let header = RecordHeader(buffer.rawSpan, at: Int(offset - bufferOffset), seed: seed)
        else { return nil }
        offset += RecordHeader.stride(storedLength: header.storedLength)
        object += 1
        return header
    }

    /// Whether a record of the current epoch stands more than `distance` bytes behind the end that was found: then
    /// something in the middle is broken, and what follows must not be thrown away.
    mutating func hasLaterRecord(beyond distance: Int64 = Self.tailLimit) throws(SystemError) -> Bool {
        var place = (offset + max(distance, RecordHeader.alignment)) & ~(RecordHeader.alignment - 1)
        while place + Int64(RecordHeader.byteCount) <= fileLength {
            guard try load(place, RecordHeader.byteCount) else { return false }
            let bytes = buffer.rawSpan
            var index = Int(place - bufferOffset)
            while index + RecordHeader.byteCount <= bufferCount {
                if bytes.loadBE16(at: index) == RecordHeader.magic,
                    let header = RecordHeader(bytes, at: index, seed: seed), header.object > object,
                    superblock.owners(of: header.object).contains(header.epoch)
                {
                    return true
                }
                index += Int(RecordHeader.alignment)
            }
            place = bufferOffset + Int64(index)
        }
        return false
    }

    /// Makes sure that the buffer holds `count` bytes from `start` on; false when the file ends before.
    private mutating func load(_ start: Int64, _ count: Int) throws(SystemError) -> Bool {
        if start >= bufferOffset, start + Int64(count) <= bufferOffset + Int64(bufferCount) { return true }
        let store = store
        let result = buffer.modifyBytes { bytes in
            store.read(into: &bytes, offset: start, mode: .blocking)
        }
        switch result {
        case .done(let read):
            if let observer, !observer(Int64(read)) {
                bufferCount = 0
                throw SystemError(code: Errno.cancelled, operation: "read")
            }
            bufferOffset = start
            bufferCount = read
            return read >= count
        case .wouldBlock:
            throw SystemError(code: Errno.wouldBlock, operation: "read")
        case .failed(let code):
            bufferCount = 0
            throw SystemError(code: code, operation: "read")
        }
    }

    private mutating func checksum(_ start: Int64, _ count: Int64) throws(SystemError) -> UInt32? {
        var value: UInt32 = 0
        var done: Int64 = 0
        while done < count {
            guard try load(start + done, 1) else { return nil }
            let from = Int(start + done - bufferOffset)
            let step = min(Int(count - done), bufferCount - from)
            value = CRC32C.checksum(buffer.rawSpan.extracting(from..<from + step), previous: value)
            done += Int64(step)
        }
        return value
    }
}
