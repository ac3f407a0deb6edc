public import Platform

/// The file of the journal, beside the image. Anybody may have put something there: what is no regular file with one
/// name and the mark of a journal is neither changed nor removed; nor is the journal of another image that records a
/// write, which may be moved back beside that image.
extension AtomicWriteJournal {
    /// Where the journal of the image at `path` is.
    static func path(_ image: String) -> String { image + ".atomic" }

    /// The journal of the image at `path`, when that is a regular file beside which there can be one.
    convenience init?(imagePath path: String) {
        guard let status = try? FileStatus.of(path), status.kind == .regular else { return nil }
        let journal = Self.path(path)
        let identity = status.fileNumber
        let folder = FilePath.directory(of: journal)
        guard File.writeRefusal(folder) == nil else { return nil }
        do throws(SystemError) {
            if let file = try Self.existing(journal), !(try Self.isJournal(file, of: identity)) {
                guard try Self.isVoid(file) else { return nil }
            }
        } catch {
            return nil
        }
        self.init(identity: identity) { () throws(SystemError) in
            try Self.open(journal, identity: identity)
        } removeStore: {
            Self.remove(journal, identity: identity)
        }
    }

    /// Opens the journal at `path`, or makes it durably, also in place of one that nobody misses.
    private static func open(_ path: String, identity: UInt64) throws(SystemError) -> File {
        let file: File
        if let own = try own(path, identity) {
            file = own
        } else {
            file = try File.open(path: path, [.readWrite, .create, .exclusive, .noFollow])
        }
        let code = prepare(file, identity: identity)
        guard code == 0 else { throw SystemError(code: code, operation: "write to", path: path) }
        try File.synchronizeDirectory(path: FilePath.directory(of: path))
        return file
    }

    /// The journal of the image at `path`; nil when there is none, or not any more, for it was void.
    private static func own(_ path: String, _ identity: UInt64) throws(SystemError) -> File? {
        guard let file = try existing(path, .readWrite) else { return nil }
        if try isJournal(file, of: identity) { return file }
        guard try isVoid(file) else { throw foreign(path) }
        // Not overwritten: the other image may be open somewhere, and its journal with it.
        try File.remove(path)
        return nil
    }

    /// The file at `path`, nil when there is none. What is no regular file with one name is EOPNOTSUPP, and not opened
    /// for long: a pipe has nobody waiting.
    private static func existing(_ path: String, _ access: FileOptions = .readOnly) throws(SystemError) -> File? {
        let file: File
        do throws(SystemError) {
            // Before the opening as well: to open a device may do something to it.
            guard isPlain(try FileStatus.of(path, followsLinks: false)) else { throw foreign(path) }
            file = try File.open(path: path, [access, .noFollow, .nonBlocking])
        } catch {
            if error.code == Errno.noSuchFile { return nil }
            throw error
        }
        guard isPlain(try file.status()) else { throw foreign(path) }
        return file
    }

    private static func isPlain(_ status: FileStatus) -> Bool { status.kind == .regular && status.linkCount == 1 }

    private static func foreign(_ path: String) -> SystemError {
        SystemError(code: Errno.notSupported, operation: "use as a journal", path: path)
    }

    /// Finishes what a crash has broken off, and removes the file beside the image.
    static func recover(imagePath path: String, image: any ByteStore, length: Int64) throws(SystemError) {
        let journalPath = Self.path(path)
        let status = try FileStatus.of(path)
        guard status.kind == .regular else { return }
        let found: File?
        do throws(SystemError) {
            found = try existing(journalPath)
        } catch {
            if error.code == Errno.notSupported { return }
            throw error
        }
        guard let journal = found, try isJournal(journal, of: status.fileNumber) else { return }
        let code = recover(from: journal, identity: status.fileNumber, to: image, length: length)
        guard code == 0 else { throw SystemError(code: code, operation: "finish the write of", path: journalPath) }
        try File.remove(journalPath)
        try File.synchronizeDirectory(path: FilePath.directory(of: journalPath))
    }

    /// Removes the journal at `path`, of any image with `identity` nil, durably; 0, also when there is none or
    /// something else, or an error number.
    static func remove(_ path: String, identity: UInt64?) -> Int32 {
        do throws(SystemError) {
            if let file = try existing(path) {
                guard try isJournal(file, of: identity) else { return 0 }
                try File.remove(path)
            }
            try File.synchronizeDirectory(path: FilePath.directory(of: path))
            return 0
        } catch {
            return error.code == Errno.notSupported ? 0 : error.code
        }
    }
}

extension RawDiskImage {
    /// Where the journal of atomic writes to the image at `path` is.
    public static func journalPath(ofImage path: String) -> String { AtomicWriteJournal.path(path) }

    /// Removes what is left of the journal of an image at `path` that is new or has gone, durably. Whatever else has
    /// that name stays.
    public static func removeJournal(ofImage path: String) throws(SystemError) {
        let journal = AtomicWriteJournal.path(path)
        let code = AtomicWriteJournal.remove(journal, identity: nil)
        guard code == 0 else { throw SystemError(code: code, operation: "remove", path: journal) }
    }
}
