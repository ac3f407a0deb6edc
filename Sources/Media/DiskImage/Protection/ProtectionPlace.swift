internal import Platform
internal import SCSI

/// Where the file of an image's protection information is made and removed while the image is open.
struct ProtectionPlace: Sendable {
    /// 0 when the place has the file of a store, and no other, or with nil has nothing and could have a file; else an
    /// error number.
    let check: @Sendable ((any ByteStore)?) -> Int32
    /// Makes a file with that header and no protection information, durably with its name, where nothing is. It is
    /// there as a whole or not at all, also after a crash.
    let make: @Sendable (ProtectionHeader) throws(SystemError) -> any ByteStore
    /// Removes the file of a store, durably; 0 or an error number. Another one in its place stays.
    let remove: @Sendable (any ByteStore) -> Int32

    init(
        check: @escaping @Sendable ((any ByteStore)?) -> Int32,
        make: @escaping @Sendable (ProtectionHeader) throws(SystemError) -> any ByteStore,
        remove: @escaping @Sendable (any ByteStore) -> Int32
    ) {
        self.check = check
        self.make = make
        self.remove = remove
    }

    /// The place beside the image at `path`.
    init(imagePath: String) {
        let path = ProtectionFile.path(imagePath)
        let folder = FilePath.directory(of: path)
        self.init { store in
            Self.check(path, store)
        } make: { header throws(SystemError) in
            // Without a name until it is whole: a crash leaves nothing that somebody would have to tell from others.
            let file = try File.open(path: folder, [.readWrite, .unnamed])
            try ProtectionFile.fill(file, header, path)
            try file.link(as: path)
            do throws(SystemError) {
                try File.synchronizeDirectory(path: folder)
            } catch {
                FilePath.remove(path)
                throw error
            }
            return file
        } remove: { store in
            let code = Self.check(path, store)
            guard code == 0 else { return code }
            do throws(SystemError) {
                try File.remove(path)
                try File.synchronizeDirectory(path: folder)
                return 0
            } catch {
                return error.code
            }
        }
    }

    private static func check(_ path: String, _ store: (any ByteStore)?) -> Int32 {
        let folder = FilePath.directory(of: path)
        if let refusal = File.writeRefusal(folder) { return refusal.code }
        do throws(SystemError) {
            let found = try FileStatus.of(path, followsLinks: false)
            guard let file = store as? File else { return Errno.fileExists }
            let own = try file.status().identity
            return ProtectionFile.isPlain(found) && own == found.identity ? 0 : Errno.fileExists
        } catch {
            guard error.code == Errno.noSuchFile, store == nil else { return error.code }
            do throws(SystemError) {
                _ = try File.open(path: folder, [.readWrite, .unnamed])
                return 0
            } catch {
                return error.code
            }
        }
    }
}

/// That the medium of an image is being formatted to another type of protection information: a note of the image, which
/// lasts until the medium has the new type and whoever keeps types knows it.
struct ProtectionChange: Equatable, Sendable {
    private static let version: UInt8 = 1

    let from: ProtectionType?
    let to: ProtectionType?

    init(from: ProtectionType?, to: ProtectionType?) {
        self.from = from
        self.to = to
    }

    /// The note: version, the two types, 0 for none.
    var encoded: [UInt8] { [Self.version, from?.rawValue ?? 0, to?.rawValue ?? 0] }

    init?(_ note: [UInt8]) {
        guard note.count == 3, note[0] == Self.version, note[1] <= 3, note[2] <= 3 else { return nil }
        from = ProtectionType(rawValue: note[1])
        to = ProtectionType(rawValue: note[2])
    }
}
