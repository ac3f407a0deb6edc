internal import Bytes
public import Platform
public import SCSI

/// The file of the protection information, beside the image. It belongs to the disk like the image itself: without it
/// the disk is not opened.
extension ProtectionFile {
    /// Where the protection information of the image at `path` is.
    static func path(_ image: String) -> String { image + ".pi" }

    /// What the file of the image at `path` says of itself; nil only when there is none. One that is there and cannot
    /// be read, is damaged or shorter than it says, or is not a plain file with one name, is refused.
    static func found(imagePath path: String) throws(DiskImageError) -> ProtectionHeader? {
        let path = Self.path(path)
        var header = [UInt8](repeating: 0, count: ProtectionHeader.length)
        let length: Int64
        do throws(SystemError) {
            // Before the opening as well: to open a device may do something to it.
            try checkPlain(FileStatus.of(path, followsLinks: false), path)
            let file = try File.open(path: path, [.readOnly, .noFollow, .nonBlocking])
            try checkPlain(file.status(), path)
            length = try file.size()
            let code = header.modifyBytes { read(file, &$0, 0) }
            if code == MediaFailure.truncatedNumber { throw foreign(path) }
            guard code == 0 else { throw SystemError(code: code, operation: "read", path: path) }
        } catch {
            if error.code == Errno.noSuchFile { return nil }
            throw refusal(error, path)
        }
        return try checked(ProtectionHeader(header), path, length: length)
    }

    /// Refuses a file of `length` bytes whose header is none, or that is shorter than its header says.
    private static func checked(
        _ found: ProtectionHeader?, _ path: String, length: Int64
    ) throws(DiskImageError) -> ProtectionHeader {
        guard let found else { throw refusal(foreign(path), path) }
        // What it should have is bounded by the file.
        guard found.blocks <= UInt64(Int64.max) / 64, length >= Self.length(found.blocks) else {
            throw .protection(path: path, reason: "is truncated, with \(length) bytes")
        }
        return found
    }

    private static func refusal(_ error: SystemError, _ path: String) -> DiskImageError {
        switch error.code {
        case Errno.noSuchFile:
            .protection(
                path: path,
                reason: "is missing; put it back, or, to do without it, move the image away, delete the disk and adopt "
                    + "the image")
        case Errno.isLink: .protection(path: path, reason: "is a link, or has another name too")
        case Errno.notSupported: .protection(path: path, reason: "is damaged, or another file")
        default: .system(error)
        }
    }

    /// Makes the file for the image at `path`, durably with its name. Nothing may be there.
    static func create(
        imagePath path: String, _ type: ProtectionType, blockSize: Int, capacity: Int64
    ) throws(SystemError) {
        let path = Self.path(path)
        let file = try File.open(path: path, [.readWrite, .create, .exclusive, .noFollow])
        let blocks = UInt64(capacity) / UInt64(blockSize)
        let header = ProtectionHeader(
            type, blockSize: blockSize, blocks: blocks, identity: ProtectionHeader.newIdentity())
        do throws(SystemError) {
            try fill(file, header, path)
            try File.synchronizeDirectory(path: FilePath.directory(of: path))
        } catch {
            // What was not made leaves nothing.
            FilePath.remove(path)
            throw error
        }
    }

    /// Gives a new file its length and `header`, durably.
    static func fill(_ file: File, _ header: ProtectionHeader, _ path: String) throws(SystemError) {
        var code = file.truncate(to: length(header.blocks))
        if code == 0 { code = write(header, to: file) }
        if code == 0 { code = file.synchronize() }
        guard code == 0 else { throw SystemError(code: code, operation: "write to", path: path) }
    }

    /// Puts `header` at the beginning of `store`; 0 or an error number.
    static func write(_ header: ProtectionHeader, to store: any ByteStore) -> Int32 {
        let bytes = header.encoded
        return code(store.write(bytes.rawSpan, offset: 0), bytes.count)
    }

    /// Opens the file of the image at `path`, whose disk has `capacity` bytes and whose note has `identity`, when it is
    /// of one of `types`; one of ours whose head is damaged becomes one of type `mended`, if there is that. An image
    /// that has become longer has new blocks without protection information.
    static func open(
        imagePath path: String, _ types: [ProtectionType], mending mended: ProtectionType? = nil, blockSize: Int,
        capacity: Int64, identity: [UInt8]? = nil, clock: MonotonicClock = .system
    ) throws(DiskImageError) -> ProtectionFile {
        let path = Self.path(path)
        let file: File
        do throws(SystemError) {
            // Before the opening as well: to open a device may do something to it.
            try checkPlain(FileStatus.of(path, followsLinks: false), path)
            file = try File.open(path: path, [.readWrite, .noFollow, .nonBlocking])
            try checkPlain(file.status(), path)
        } catch {
            throw refusal(error, path)
        }
        return try open(
            file, path, types, mending: mended, blockSize: blockSize, capacity: capacity, identity: identity,
            clock: clock)
    }

    /// The same with the bytes that are called `path`.
    static func open(
        _ store: any ByteStore, _ path: String, _ types: [ProtectionType], mending mended: ProtectionType? = nil,
        blockSize: Int, capacity: Int64, identity: [UInt8]?, clock: MonotonicClock
    ) throws(DiskImageError) -> ProtectionFile {
        var bits = ProtectionRegions.none
        var header = [UInt8](repeating: 0, count: ProtectionHeader.length)
        let length: Int64
        do throws(SystemError) {
            length = try store.size()
            for (offset, code) in [
                (Int64(0), header.modifyBytes { Self.read(store, &$0, 0) }),
                (ProtectionRegions.offset, bits.modifyBytes { Self.read(store, &$0, ProtectionRegions.offset) }),
            ] where code != 0 {
                if code == MediaFailure.truncatedNumber { throw foreign(path) }
                throw SystemError(code: code, operation: offset == 0 ? "read" : "read the regions of", path: path)
            }
        } catch {
            throw refusal(error, path)
        }
        if let mended, ProtectionHeader(header) == nil, ProtectionHeader.hasMagic(header) {
            let whole = ProtectionHeader(
                mended, blockSize: blockSize, blocks: UInt64(capacity) / UInt64(blockSize),
                identity: identity ?? ProtectionHeader.newIdentity())
            var code = write(whole, to: store)
            if code == 0 { code = store.synchronizeData() }
            guard code == 0 else { throw .system(SystemError(code: code, operation: "mend", path: path)) }
            header = whole.encoded
        }
        var found = try checked(ProtectionHeader(header), path, length: length)
        guard types.contains(found.type), found.blockSize == blockSize else {
            throw .protection(path: path, reason: "is of another type or block size than its disk")
        }
        if let identity, found.identity != identity {
            throw .protection(
                path: path,
                reason: "is not the one that belongs to this image, but another's or an older one; put that back")
        }
        if found.identity == nil { identify(&found, store) }
        let protection = ProtectionFile(
            store, type: found.type, blockSize: blockSize, identity: found.identity, regionBits: bits, clock: clock)
        let blocks = UInt64(capacity) / UInt64(blockSize)
        guard found.blocks < blocks else { return protection }
        let code = protection.resize(to: capacity) { protection.store.synchronizeData() }
        guard code == 0 else {
            throw .system(SystemError(code: code, operation: "resize", path: path))
        }
        return protection
    }

    /// Gives a file of a former version an identity, durably; it stays without where that fails.
    private static func identify(_ header: inout ProtectionHeader, _ file: any ByteStore) {
        var identified = header
        identified.identity = ProtectionHeader.newIdentity()
        guard write(identified, to: file) == 0, file.synchronizeData() == 0 else {
            _ = write(header, to: file)
            return
        }
        header = identified
    }

    private static func read(_ file: any ByteStore, _ bytes: inout MutableRawSpan, _ offset: Int64) -> Int32 {
        let count = bytes.byteCount
        return code(file.read(into: &bytes, offset: offset, mode: .blocking), count)
    }

    static func isPlain(_ status: FileStatus) -> Bool { status.kind == .regular && status.linkCount == 1 }

    private static func checkPlain(_ status: FileStatus, _ path: String) throws(SystemError) {
        if isPlain(status) { return }
        let isLink = status.kind == .link || status.kind == .regular
        throw isLink ? SystemError(code: Errno.isLink, operation: "use", path: path) : foreign(path)
    }

    private static func foreign(_ path: String) -> SystemError {
        SystemError(code: Errno.notSupported, operation: "use", path: path)
    }

    /// Makes room for a disk of `capacity` bytes, durably by `synchronize`; 0 or an error number. What is longer stays
    /// so: an image that could not be made longer may have left that.
    func resize(to capacity: Int64, synchronize: () -> Int32) -> Int32 {
        let blocks = UInt64(capacity) / UInt64(blockSize)
        var code: Int32 = 0
        if isTruncated(blocks) {
            code = store.truncate(to: Self.length(blocks))
            // The length first: a header that promises more than there is would be damage.
            if code == 0 { code = synchronize() }
        }
        if code == 0 { code = writeHeader(blocks) }
        return code == 0 ? synchronize() : code
    }

    func writeHeader(_ blocks: UInt64) -> Int32 {
        Self.write(ProtectionHeader(type, blockSize: blockSize, blocks: blocks, identity: identity), to: store)
    }

    /// Rewrites what is before the protection information of so many blocks, durably, where it is not whole any more:
    /// somebody may have cut the file and made it long again. 0 or an error number.
    func restore(_ blocks: UInt64) -> Int32 {
        var code = hasHeader(blocks) ? 0 : writeHeader(blocks)
        if code == 0 { code = regions.restore() }
        return code == 0 ? store.synchronizeData() : code
    }

    /// Whether the file says what it should; of more blocks it may be, as an image that could not be made longer leaves
    /// it.
    private func hasHeader(_ blocks: UInt64) -> Bool {
        var bytes = [UInt8](repeating: 0, count: ProtectionHeader.length)
        guard bytes.modifyBytes({ Self.read(store, &$0, 0) }) == 0, let found = ProtectionHeader(bytes) else {
            return false
        }
        return found.blocks >= blocks && !isTruncated(found.blocks)
            && found
                == ProtectionHeader(type, blockSize: blockSize, blocks: found.blocks, identity: identity)
    }

    /// Removes the file at `path`, durably; 0, also when there is none or something else, or an error number.
    static func remove(_ path: String) -> Int32 {
        do throws(SystemError) {
            guard isPlain(try FileStatus.of(path, followsLinks: false)) else { return 0 }
            let file = try File.open(path: path, [.readOnly, .noFollow, .nonBlocking])
            var mark = [UInt8](repeating: 0, count: 8)
            let code = mark.modifyBytes { read(file, &$0, 0) }
            guard code == 0, ProtectionHeader.hasMagic(mark) else {
                return code == MediaFailure.truncatedNumber ? 0 : code
            }
            try File.remove(path)
            try File.synchronizeDirectory(path: FilePath.directory(of: path))
            return 0
        } catch {
            return error.code == Errno.noSuchFile ? 0 : error.code
        }
    }
}

extension RawDiskImage {
    /// Where the protection information of the image at `path` is.
    public static func protectionPath(ofImage path: String) -> String { ProtectionFile.path(path) }

    /// Type, block size and number of blocks of the protection information beside the image at `path`; nil only when
    /// there is none. What is there and cannot be used is refused.
    public static func protection(
        ofImage path: String
    ) throws(DiskImageError) -> (type: ProtectionType, blockSize: Int, blocks: UInt64)? {
        try ProtectionFile.found(imagePath: path).map { ($0.type, $0.blockSize, $0.blocks) }
    }

    /// Makes the file for the protection information of an image at `path`, durably with its name. Nothing may be
    /// there.
    public static func createProtection(
        ofImage path: String, _ type: ProtectionType, blockSize: Int, capacity: Int64
    ) throws(SystemError) {
        try ProtectionFile.create(imagePath: path, type, blockSize: blockSize, capacity: capacity)
    }

    /// Whether the protection information beside the image at `path` is that image's, by the identity that both have;
    /// nil when that is not known.
    public static func hasOwnProtection(image path: String) -> Bool? {
        guard let image = try? File.open(path: path, [.readOnly, .nonBlocking]), let own = identity(of: image),
            let found = try? ProtectionFile.found(imagePath: path)
        else { return nil }
        return found.identity == own
    }

    /// Removes the protection information of an image at `path` that has gone, durably. Whatever else has that name
    /// stays.
    public static func removeProtection(ofImage path: String) throws(SystemError) {
        let path = ProtectionFile.path(path)
        let code = ProtectionFile.remove(path)
        guard code == 0 else { throw SystemError(code: code, operation: "remove", path: path) }
    }
}
