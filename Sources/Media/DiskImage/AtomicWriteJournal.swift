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

    /// Which image it is for, so that the record of another one of the same name is not taken for its own.
    private let identity: UInt64
    private let makeStore: @Sendable () throws(SystemError) -> any ByteStore
    private let removeStore: @Sendable () -> Void
    /// The file, once there was an atomic write.
    private let store = Lock<(any ByteStore)?>(nil)

    /// A journal whose file `makeStore` makes, durably with its name, and `removeStore` removes.
    init(
        identity: UInt64, makeStore: @escaping @Sendable () throws(SystemError) -> any ByteStore,
        removeStore: @escaping @Sendable () -> Void
    ) {
        self.identity = identity
        self.makeStore = makeStore
        self.removeStore = removeStore
    }

    /// Writes `content` at `offset` of `image`, which `synchronize` makes durable; 0, or the error number with which
    /// nothing has changed. Not on a reactor. One at a time, and no other write of the same bytes meanwhile.
    func write(
        _ content: [UInt8], at offset: Int64, to image: any ByteStore, synchronize: @Sendable () -> Int32
    ) -> Int32 {
        store.withLock { stored in
            let journal: any ByteStore
            if let stored {
                journal = stored
            } else {
                do throws(SystemError) {
                    journal = try makeStore()
                } catch {
                    return error.code
                }
                stored = journal
            }
            var before = [UInt8](repeating: 0, count: content.count)
            let read = before.modifyBytes { image.read(into: &$0, offset: offset, mode: .blocking) }
            guard read == .done(content.count) else { return Self.code(read, content.count) }
            let noted = note(content, at: offset, in: journal)
            guard noted == 0 else { return strikeOut(&stored, after: noted) }
            let written = Self.code(image.write(content.rawSpan, offset: offset), content.count)
            if written != 0 { _ = image.write(before.rawSpan, offset: offset) }
            // What the host has lost of it is finished by the next opening, unless the loss is acknowledged before.
            let code = synchronize()
            return code == 0 ? strikeOut(&stored, after: written) : code
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

    /// Makes the record invalid, durably, so that it is not taken for newer than later writes. Where that fails the
    /// file goes, and the next write makes another one.
    private func strikeOut(_ stored: inout (any ByteStore)?, after code: Int32) -> Int32 {
        guard let journal = stored else { return code }
        let zeros = [UInt8](repeating: 0, count: Self.headerLength)
        var failure = Self.code(journal.write(zeros.rawSpan, offset: 0), zeros.count)
        if failure == 0 { failure = journal.synchronizeData() }
        if failure != 0 {
            removeStore()
            stored = nil
        }
        return code != 0 ? code : failure
    }

    /// Gives up what a failure to make the image durable has left; 0 or an error number. It waits for the file system.
    func discard() -> Int32 { store.withLock { stored in strikeOut(&stored, after: 0) } }

    /// Removes the file: nothing is under way.
    func close() {
        store.withLock { stored in
            guard stored != nil else { return }
            stored = nil
            removeStore()
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

    /// Finishes the write that `journal` has recorded for the image of that identity and length, if there is one; 0, or
    /// the error number with which it could not be finished.
    static func recover(
        from journal: any ByteStore, identity: UInt64, to image: any ByteStore, length: Int64
    ) -> Int32 {
        var header = [UInt8](repeating: 0, count: headerLength)
        let read = header.modifyBytes { journal.read(into: &$0, offset: 0, mode: .blocking) }
        if case .failed(let code) = read { return code }
        let span = header.rawSpan
        guard read == .done(headerLength), span.loadBE64(at: 0) == magic, span.loadBE64(at: 8) == identity,
            span.loadBE32(at: 36) == CRC32C.checksum(span.extracting(0..<36)),
            let offset = Int64(exactly: span.loadBE64(at: 16)), let count = Int(exactly: span.loadBE64(at: 24)),
            count > 0, count <= maximumLength, offset <= length - Int64(count)
        else { return 0 }
        var content = [UInt8](repeating: 0, count: count)
        let data = content.modifyBytes { journal.read(into: &$0, offset: dataOffset, mode: .blocking) }
        if case .failed(let code) = data { return code }
        // Not all of it was recorded, so nothing of it is in the image.
        guard data == .done(count), span.loadBE32(at: 32) == CRC32C.checksum(content.rawSpan) else { return 0 }
        let written = code(image.write(content.rawSpan, offset: offset), count)
        return written == 0 ? image.synchronizeData() : written
    }
}

extension AtomicWriteJournal {
    /// Where the journal of the image at `path` is.
    private static func path(_ image: String) -> String { image + ".atomic" }

    /// The journal of the image at `path`, when that is a regular file.
    convenience init?(imagePath path: String) {
        guard let status = try? FileStatus.of(path), status.kind == .regular else { return nil }
        let journal = Self.path(path)
        self.init(identity: status.fileNumber) { () throws(SystemError) in
            let file = try File.open(path: journal, [.readWrite, .create, .truncate])
            try File.synchronizeDirectory(path: FilePath.directory(of: journal))
            return file
        } removeStore: {
            FilePath.remove(journal)
            try? File.synchronizeDirectory(path: FilePath.directory(of: journal))
        }
    }

    /// Finishes what a crash has broken off, and removes the file beside the image.
    static func recover(imagePath path: String, image: any ByteStore, length: Int64) throws(SystemError) {
        let journalPath = Self.path(path)
        guard FilePath.isName(journalPath) else { return }
        let status = try FileStatus.of(path)
        guard status.kind == .regular else { return }
        let journal = try File.open(path: journalPath)
        let code = recover(from: journal, identity: status.fileNumber, to: image, length: length)
        guard code == 0 else { throw SystemError(code: code, operation: "finish the write of", path: journalPath) }
        FilePath.remove(journalPath)
        try File.synchronizeDirectory(path: FilePath.directory(of: journalPath))
    }
}
