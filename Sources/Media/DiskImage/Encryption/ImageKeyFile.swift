internal import Bytes
public import Encryption
public import Platform

/// The key file, beside an image of either format. It belongs to the image whose attribute
/// (`StoreNoteKey.encryption`) has its identity, and to no other: without that image it is neither used nor removed.
public enum ImageKeyFile {
    /// Where the key of the image at `path` is.
    public static func path(ofImage path: String) -> String { path + ".key" }

    /// Whether the image at `path` has the mark of an encrypted one.
    public static func isEncrypted(_ path: String) throws(SystemError) -> Bool {
        guard try FileStatus.of(path).kind == .regular else { return false }
        return try File.open(path: path).note(.encryption) != nil
    }

    /// Whether there is a key file beside the image at `path`, through links too, whatever the image says.
    public static func exists(besideImage path: String) throws(SystemError) -> Bool {
        try isKeyFile(Self.path(ofImage: path))
    }

    /// What the key file of the image at `path`, whose mark is that, says that it encrypts; nil when it is not there,
    /// or not that image's.
    static func content(ofImage path: String, mark: [UInt8]) -> KeyedContent? {
        guard let own = KeyMark(mark), let file = try? openedKey(Self.path(ofImage: path), .readOnly),
            let slot = try? KeyFile.found(in: file), slot.identity == own.identity
        else { return nil }
        return slot.content
    }

    /// The same of the image at `path` with the mark that it has.
    public static func content(ofImage path: String) throws(SystemError) -> KeyedContent? {
        guard try FileStatus.of(path).kind == .regular, let mark = try File.open(path: path).note(.encryption) else {
            return nil
        }
        return content(ofImage: path, mark: mark)
    }

    /// The bytes of a sector of the cipher that the key file of the image at `path` has; nil when it is none.
    public static func sectorSize(ofImage path: String) -> Int? {
        guard let file = try? openedKey(Self.path(ofImage: path), .readOnly) else { return nil }
        return try? KeyFile.found(in: file)?.sectorSize
    }

    /// Whether what is at `path`, through links too, is a key file, whatever it is called.
    public static func isKeyFile(_ path: String) throws(SystemError) -> Bool {
        do throws(SystemError) {
            // Before the opening: to open a device may do something to it.
            guard try FileStatus.of(path).kind == .regular else { return false }
            let file = try File.open(path: path, .nonBlocking)
            do throws(EncryptionError) {
                return try KeyFile.found(in: file) != nil
            } catch {
                guard case .system(let code) = error else { return false }
                throw SystemError(code: code, operation: "read", path: path)
            }
        } catch {
            guard error.code == Errno.noSuchFile else { throw error }
            return false
        }
    }

    /// Marks the empty image at `path`, which will have that content and blocks of that many bytes, as encrypted and
    /// makes its key file, both durably. Nothing may be at the path of that. The mark comes first: a key file that is
    /// there is one whose image says so. And it is there as a whole, except after a crash where the file system makes
    /// no files without names, or `withoutName` is false.
    public static func create(
        ofImage path: String, content: KeyedContent = .blocks, blockSize: Int, userKey: UserKey,
        derivation: KeyDerivation? = nil, withoutName: Bool = true
    ) throws(DiskImageError) {
        let keyPath = Self.path(ofImage: path)
        do throws(SystemError) {
            let image = try File.open(path: path, .readWrite)
            guard let identity = KeyFile.newIdentity() else { throw library(keyPath) }
            let code = image.setNote(.encryption, KeyMark(ofNew: identity).encoded)
            guard code == 0 else { throw SystemError(code: code, operation: "mark", path: path) }
            let synchronization = image.synchronize()
            guard synchronization == 0 else {
                throw SystemError(code: synchronization, operation: "synchronize", path: path)
            }
            let folder = FilePath.directory(of: keyPath)
            // Without a name until it is whole: a crash leaves nothing that somebody would have to tell from others.
            let unnamed = withoutName ? unnamedFile(in: folder) : nil
            var isNamed = unnamed == nil
            let file: File
            if let unnamed {
                file = unnamed
            } else {
                file = try File.open(path: keyPath, [.readWrite, .create, .exclusive, .noFollow])
            }
            do throws(SystemError) {
                try write(file, keyPath, identity, content, blockSize, userKey, derivation)
                if !isNamed { try file.link(as: keyPath) }
                isNamed = true
                try File.synchronizeDirectory(path: folder)
            } catch {
                // What was not made leaves nothing, and what has the name already stays.
                if isNamed { FilePath.remove(keyPath) }
                throw error
            }
        } catch {
            if error.code == Errno.notSupported { throw .unmarkable(path: path) }
            throw .system(error)
        }
    }

    /// Nil where that cannot be.
    private static func unnamedFile(in folder: String) -> File? {
        // To name it takes /proc.
        guard FilePath.isName("/proc/self/fd") else { return nil }
        return try? File.open(path: folder, [.readWrite, .unnamed])
    }

    private static func write(
        _ file: File, _ path: String, _ identity: [UInt8], _ content: KeyedContent, _ blockSize: Int,
        _ userKey: UserKey, _ derivation: KeyDerivation?
    ) throws(SystemError) {
        do throws(EncryptionError) {
            _ = try KeyFile.create(
                in: file, identity: identity, sectorSize: content.sectorSize(ofBlocks: blockSize), content: content,
                userKey: userKey, derivation: derivation)
        } catch {
            guard case .system(let code) = error else { throw library(path) }
            throw SystemError(code: code, operation: "write to", path: path)
        }
    }

    /// libcrypto fails for want of memory, if at all.
    private static func library(_ path: String) -> SystemError {
        SystemError(code: Errno.noMemory, operation: "make", path: path)
    }

    /// The encryption of an image with that content that has been opened as `file`, nil of a plain one. Of the content
    /// `.blocks` the key file has to be for blocks of `blockSize` bytes; that of a family says the size of the sectors
    /// itself. An image is opened as what it is marked to be, or not at all.
    static func encryption(
        of file: File, path: String, content: KeyedContent = .blocks, blockSize: Int?, userKey: UserKey?
    ) throws(DiskImageError) -> ImageEncryption? {
        let mark: [UInt8]?
        do throws(SystemError) { mark = try file.note(.encryption) } catch { throw .system(error) }
        guard let userKey else {
            guard mark == nil else { throw .encrypted(path: path) }
            return nil
        }
        let keyPath = Self.path(ofImage: path)
        let keyFile: File
        let keyIdentity: FileStatus.Identity
        do throws(SystemError) {
            keyFile = try openedKey(keyPath, .readWrite)
            keyIdentity = try keyFile.status().identity
        } catch {
            throw refusal(error, keyPath)
        }
        guard let mark else { throw .unmarked(path: path, mark: Self.mark(in: keyFile)) }
        do throws(EncryptionError) {
            guard let mark = KeyMark(mark) else { throw .foreign }
            let (opened, key) = try KeyFile.open(
                keyFile, mark: mark, sectorSize: content == .blocks ? blockSize : nil, content: content,
                userKey: userKey)
            return ImageEncryption(
                store: try content.filter(over: file, key, sectorSize: opened.sectorSize), keyFile: opened,
                keyIdentity: keyIdentity, checkPlace: { displacement(of: keyIdentity, at: keyPath) })
        } catch {
            if case .system(let code) = error {
                throw .system(SystemError(code: code, operation: "read", path: keyPath))
            }
            throw .encryption(path: keyPath, error)
        }
    }

    /// 0 when the key file at `path` is that one, and has no other name; else an error number.
    private static func displacement(of identity: FileStatus.Identity, at path: String) -> Int32 {
        do throws(SystemError) {
            let found = try FileStatus.of(path, followsLinks: false)
            try checkIsPlain(found, path)
            return found.identity == identity ? 0 : Errno.fileExists
        } catch {
            return error.code
        }
    }

    private static func openedKey(_ path: String, _ options: FileOptions) throws(SystemError) -> File {
        // Before the opening as well: to open a device may do something to it.
        try checkIsPlain(FileStatus.of(path, followsLinks: false), path)
        let file = try File.open(path: path, [options, .noFollow, .nonBlocking])
        try checkIsPlain(file.status(), path)
        return file
    }

    private static func checkIsPlain(_ status: FileStatus, _ path: String) throws(SystemError) {
        if status.kind == .regular, status.linkCount == 1 { return }
        let isLink = status.kind == .link || status.kind == .regular
        throw SystemError(code: isLink ? Errno.isLink : Errno.notSupported, operation: "use", path: path)
    }

    private static func refusal(_ error: SystemError, _ path: String) -> DiskImageError {
        switch error.code {
        case Errno.noSuchFile: .keyFile(path: path, reason: "is missing; put it back, for without it nothing is read")
        case Errno.isLink: .keyFile(path: path, reason: "is a link, or has another name too")
        case Errno.notSupported: .keyFile(path: path, reason: "is no plain file")
        default: .system(error)
        }
    }

    /// The note of an image that has the key file in `store`.
    private static func mark(in store: any ByteStore) -> [UInt8]? {
        (try? KeyFile.found(in: store)).map { $0.mark.encoded }
    }

    private static func identity(in store: any ByteStore) -> [UInt8]? { try? KeyFile.found(in: store)?.identity }

    /// What is wrong with the key file of the image at `path`, which has that content and blocks of `blockSize` bytes,
    /// and whether it can be used all the same; nil for nothing. It needs no key, and so finds no wrong one.
    public static func problem(
        ofImage path: String, content: KeyedContent = .blocks, blockSize: Int
    ) -> (error: DiskImageError, isUsable: Bool)? {
        let keyPath = Self.path(ofImage: path)
        do throws(SystemError) {
            let mark = try File.open(path: path).note(.encryption)
            let file = try openedKey(keyPath, .readOnly)
            let (slot, copies): (KeySlot?, Int)
            do throws(EncryptionError) {
                slot = try KeyFile.found(in: file)
                copies = try KeyFile.wholeCopies(in: file)
            } catch {
                return (.encryption(path: keyPath, error), false)
            }
            guard let slot else { return (.encryption(path: keyPath, .damaged), false) }
            guard let mark else { return (.unmarked(path: path, mark: slot.mark.encoded), false) }
            guard let mark = KeyMark(mark), slot.identity == mark.identity else {
                return (.encryption(path: keyPath, .foreign), false)
            }
            guard slot.generation >= mark.generation else { return (.encryption(path: keyPath, .older), false) }
            guard slot.content == content, content != .blocks || slot.sectorSize == blockSize else {
                return (.encryption(path: keyPath, .unsupported), false)
            }
            let permissions = try file.status().permissions & 0o077
            guard permissions == 0 else {
                return (.keyFile(path: keyPath, reason: "can be used by others; run 'chmod 600 \(keyPath)'"), true)
            }
            guard copies == 2 else {
                return (
                    .keyFile(path: keyPath, reason: "has one whole copy only; the next start makes another"), true
                )
            }
            return nil
        } catch {
            return (refusal(error, keyPath), false)
        }
    }

    /// Marks the image at `path`, a copy without attributes, as that of the key file at `keyPath`; false when there is
    /// no key file. Durable with the next synchronisation of the image.
    public static func mark(image path: String, forKey keyPath: String) throws(SystemError) -> Bool {
        let file = try openedKey(keyPath, .readOnly)
        guard try file.size() == Int64(KeyFile.length), let mark = mark(in: file) else { return false }
        let code = try File.open(path: path, .readWrite).setNote(.encryption, mark)
        guard code == 0 else { throw SystemError(code: code, operation: "mark", path: path) }
        return true
    }

    /// Removes the key file of the image at `path`, durably, when it is that image's own. Whatever else has that name
    /// stays, and so does one whose image has gone: nobody knows whose it is.
    public static func remove(ofImage path: String) throws(SystemError) {
        let keyPath = Self.path(ofImage: path)
        do throws(SystemError) {
            guard let mark = try File.open(path: path).note(.encryption) else { return }
            let file = try openedKey(keyPath, .readOnly)
            guard let own = KeyMark(mark), identity(in: file) == own.identity else { return }
            try File.remove(keyPath)
            try File.synchronizeDirectory(path: FilePath.directory(of: keyPath))
        } catch {
            guard [Errno.noSuchFile, Errno.isLink, Errno.notSupported].contains(error.code) else { throw error }
        }
    }
}

extension KeyedContent {
    /// The least that is read and written of the file of a family: a block of its disks.
    private static let leastTransfer = 512

    /// The bytes of a sector of the cipher, where the disks have blocks of `blockSize` bytes: those of a block, and in
    /// the file of a family those of a unit, since each sector costs something by itself.
    func sectorSize(ofBlocks blockSize: Int) -> Int { self == .blocks ? blockSize : EpochFormat.unitLength }

    /// The filter over the file that has such content. Of the file of a family parts of sectors are read and written.
    func filter(
        over store: any ByteStore, _ key: MediaKey, sectorSize: Int
    ) throws(EncryptionError) -> EncryptedStore {
        EncryptedStore(
            store, try SectorCipher(key, sectorSize: sectorSize), granule: self == .blocks ? nil : Self.leastTransfer)
    }
}
