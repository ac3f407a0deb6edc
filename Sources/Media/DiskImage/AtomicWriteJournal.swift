internal import Bytes
internal import Platform

/// Makes a write of up to `maximumLength` bytes happen as a whole or not at all, whatever crashes or fails in between
/// (atomic write operations, SBC-4 clause 4.29).
///
/// A file system does not promise that of a write, so it is recorded first in a file beside the image: durable there,
/// then written to the image and made durable, then struck out there. An opening of the image finishes what is recorded
/// and not struck out. It costs three synchronisations, and nothing where nobody writes atomically.
final class AtomicWriteJournal: Sendable {
    /// The most bytes of an atomic write: MAXIMUM ATOMIC TRANSFER LENGTH.
    static let maximumLength = 1 << 20
    /// Where the data of the record are; its header is before them.
    static let dataOffset: Int64 = 4096

    /// The header: magic number, which image, where in it, how much, checksum of the data, checksum of all before.
    private static let magic: UInt64 = 0x4361_726F_4174_6F6D
    private static let headerLength = 40

    /// The bytes of magic number and identity, which a record that is struck out keeps.
    private static let markLength = 16

    private struct State {
        /// The file, once there was an atomic write.
        var store: (any ByteStore)?
        /// A removal has failed, perhaps halfway: the file is not used again.
        var mustGo = false
    }

    /// Which image it is for, so that the record of another one of the same name is not taken for its own.
    private let identity: UInt64
    private let makeStore: @Sendable () throws(SystemError) -> any ByteStore
    private let removeStore: @Sendable () -> Int32
    private let state = Lock(State())

    /// A journal whose file `makeStore` makes, durably with its name, and `removeStore` removes, durably: 0, also when
    /// there is none, or an error number.
    init(
        identity: UInt64, makeStore: @escaping @Sendable () throws(SystemError) -> any ByteStore,
        removeStore: @escaping @Sendable () -> Int32
    ) {
        self.identity = identity
        self.makeStore = makeStore
        self.removeStore = removeStore
    }

    /// Writes `content` at `offset` of `image`, which `synchronize` makes durable; 0, or the error number with which
    /// nothing has changed. Not on a reactor. One at a time, and no other write of the same bytes meanwhile.
    ///
    /// `refusal` says why nothing is written any more, or 0. `lose` hears of a failure that leaves a part of the write
    /// in the image, or a record that is not to be carried out: from then on nothing may be written.
    func write(
        _ content: [UInt8], at offset: Int64, to image: any ByteStore, refusal: () -> Int32 = { 0 },
        synchronize: () -> Int32, lose: (Int32) -> Void = { _ in }
    ) -> Int32 {
        state.withLock { state in
            // The record of a write that was lost stays until somebody has acknowledged the loss.
            let refused = refusal()
            guard refused == 0 else { return refused }
            // A record in a file that has lost its name would be found by nobody.
            if state.mustGo {
                let code = remove(&state)
                guard code == 0 else { return code }
            }
            let journal: any ByteStore
            if let store = state.store {
                journal = store
            } else {
                do throws(SystemError) {
                    journal = try makeStore()
                } catch {
                    return error.code
                }
                state.store = journal
            }
            var before = [UInt8](repeating: 0, count: content.count)
            let read = before.modifyBytes { image.read(into: &$0, offset: offset, mode: .blocking) }
            guard read == .done(content.count) else { return Self.code(read, content.count) }
            let noted = note(content, at: offset, in: journal)
            guard noted == 0 else {
                let struck = strikeOut(&state)
                if struck != 0 { lose(struck) }
                return noted
            }
            let written = Self.code(image.write(content.rawSpan, offset: offset), content.count)
            if written != 0 {
                let restored = Self.code(image.write(before.rawSpan, offset: offset), before.count)
                guard restored == 0 else {
                    // A part of it is there: the next opening makes it the whole.
                    lose(restored)
                    return written
                }
            }
            // What the host has lost of it is finished by the next opening, unless the loss is acknowledged before.
            let code = synchronize()
            guard code == 0 else { return code }
            let struck = strikeOut(&state)
            if struck != 0 { lose(struck) }
            return written != 0 ? written : struck
        }
    }

    private func note(_ content: [UInt8], at offset: Int64, in journal: any ByteStore) -> Int32 {
        // The data first: a header of old data is never there.
        let data = Self.code(journal.write(content.rawSpan, offset: Self.dataOffset), content.count)
        guard data == 0 else { return data }
        var header: [UInt8] = []
        header.appendBE64(Self.magic)
        header.appendBE64(identity)
        header.appendBE64(UInt64(offset))
        header.appendBE64(UInt64(content.count))
        header.appendBE32(CRC32C.checksum(content.rawSpan))
        header.appendBE32(CRC32C.checksum(header.rawSpan))
        let code = Self.code(journal.write(header.rawSpan, offset: 0), header.count)
        return code == 0 ? journal.synchronizeData() : code
    }

    /// Makes the record invalid, durably, so that it is not taken for newer than later writes; 0 or an error number.
    /// Where that fails the file goes, and the next write makes another one.
    private func strikeOut(_ state: inout State) -> Int32 {
        guard let journal = state.store else { return 0 }
        let empty = Self.emptyHeader(identity)
        let written = Self.code(journal.write(empty.rawSpan, offset: 0), empty.count)
        let struck = written == 0 ? journal.synchronizeData() : written
        return struck == 0 && !state.mustGo ? 0 : remove(&state)
    }

    /// Removes the file, which is not used again even where that fails.
    private func remove(_ state: inout State) -> Int32 {
        let code = removeStore()
        state.mustGo = code != 0
        if code == 0 { state.store = nil }
        return code
    }

    /// A header of that image and no record.
    private static func emptyHeader(_ identity: UInt64) -> [UInt8] {
        var header: [UInt8] = []
        header.appendBE64(magic)
        header.appendBE64(identity)
        return header + [UInt8](repeating: 0, count: headerLength - markLength)
    }

    /// Calls `body`, while there is no atomic write, with a function that gives up what a failure to make the image
    /// durable has left: 0 or an error number. It waits for the file system.
    func discarding(_ body: (_ discard: () -> Int32) -> MediaFailure?) -> MediaFailure? {
        state.withLock { state in body { strikeOut(&state) } }
    }

    /// Overwrites all that the file has with zeros, durably, and removes it; 0 or an error number.
    func erase() -> Int32 {
        state.withLock { state in
            guard let journal = state.store else { return 0 }
            let end: Int64
            do throws(SystemError) {
                end = min(try journal.size(), Self.dataOffset + Int64(Self.maximumLength))
            } catch {
                return error.code
            }
            // The header last: it is that of the file that may be removed.
            let rest = [UInt8](repeating: 0, count: Int(max(0, end - Int64(Self.headerLength))))
            let empty = Self.emptyHeader(identity)
            var code = Self.code(journal.write(rest.rawSpan, offset: Int64(Self.headerLength)), rest.count)
            if code == 0 { code = Self.code(journal.write(empty.rawSpan, offset: 0), empty.count) }
            if code == 0 { code = journal.synchronizeData() }
            return code == 0 ? remove(&state) : code
        }
    }

    /// Removes the file: nothing is under way, and its record is struck out.
    func close() {
        state.withLock { state in
            guard state.store != nil else { return }
            _ = removeStore()
            state = State()
        }
    }

    private static func code(_ result: FileResult, _ count: Int) -> Int32 {
        switch result {
        case .done(count): 0
        case .done: MediaFailure.truncatedNumber
        case .failed(let code): code
        case .wouldBlock: Errno.wouldBlock
        }
    }

    /// Whether `journal` is one of a disk image, of any with `identity` nil.
    static func isJournal(_ journal: any ByteStore, of identity: UInt64?) throws(SystemError) -> Bool {
        var mark = [UInt8](repeating: 0, count: markLength)
        let read = mark.modifyBytes { journal.read(into: &$0, offset: 0, mode: .blocking) }
        if case .failed(let code) = read { throw SystemError(code: code, operation: "read the journal of", path: nil) }
        guard read == .done(markLength), mark.rawSpan.loadBE64(at: 0) == magic else { return false }
        return identity == nil || mark.rawSpan.loadBE64(at: 8) == identity
    }

    /// Puts the header of a journal without a record into a new file, durably; 0 or an error number.
    static func prepare(_ journal: File, identity: UInt64) -> Int32 {
        let header = emptyHeader(identity)
        let code = code(journal.write(header.rawSpan, offset: 0), header.count)
        return code == 0 ? journal.synchronize() : code
    }

    /// Finishes the write that `journal` has recorded for the image of that identity and length, if there is one; 0, or
    /// the error number with which it could not be finished.
    static func recover(
        from journal: any ByteStore, identity: UInt64, to image: any ByteStore, length: Int64
    ) -> Int32 {
        let found: Record?
        do throws(SystemError) {
            found = try record(in: journal)
        } catch {
            return error.code
        }
        guard let record = found, record.identity == identity, record.offset <= length - Int64(record.content.count)
        else { return 0 }
        let written = code(image.write(record.content.rawSpan, offset: record.offset), record.content.count)
        return written == 0 ? image.synchronizeData() : written
    }

    /// Whether nobody misses `journal`: it is empty, as a crash can leave one that is new, or it is one of any disk
    /// image and records no write.
    static func isVoid(_ journal: any ByteStore) throws(SystemError) -> Bool {
        if try journal.size() == 0 { return true }
        guard try isJournal(journal, of: nil) else { return false }
        return try record(in: journal) == nil
    }

    /// A write that a journal has recorded as a whole.
    private struct Record {
        let identity: UInt64
        let offset: Int64
        let content: [UInt8]
    }

    private static func record(in journal: any ByteStore) throws(SystemError) -> Record? {
        func read(_ count: Int, at offset: Int64) throws(SystemError) -> [UInt8]? {
            var bytes = [UInt8](repeating: 0, count: count)
            let read = bytes.modifyBytes { journal.read(into: &$0, offset: offset, mode: .blocking) }
            if case .failed(let code) = read {
                throw SystemError(code: code, operation: "read the journal of", path: nil)
            }
            return read == .done(count) ? bytes : nil
        }
        guard let header = try read(headerLength, at: 0) else { return nil }
        let span = header.rawSpan
        guard span.loadBE64(at: 0) == magic, span.loadBE32(at: 36) == CRC32C.checksum(span.extracting(0..<36)),
            let offset = Int64(exactly: span.loadBE64(at: 16)), let count = Int(exactly: span.loadBE64(at: 24)),
            count > 0, count <= maximumLength,
            // If not all of it was recorded, nothing of it is in the image.
            let content = try read(count, at: dataOffset),
            span.loadBE32(at: 32) == CRC32C.checksum(content.rawSpan)
        else { return nil }
        return Record(identity: span.loadBE64(at: 8), offset: offset, content: content)
    }
}
