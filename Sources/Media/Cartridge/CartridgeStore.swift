internal import Bytes
internal import Platform

/// What can be said of a cartridge without loading it.
public struct CartridgeSummary: Equatable, Sendable {
    public let identity: CartridgeIdentity
    /// The bytes from the beginning of the partition to end of data; while it is loaded, as of a moment ago.
    public let usedBytes: Int64
    /// The write-protect tab.
    public let isWriteProtected: Bool
    /// How often it has been loaded.
    public let loadCount: UInt64
    /// Why data were lost that nobody has acknowledged yet, and when; nil without a loss.
    public let loss: LossReport?
}

/// The cartridges of a directory, each in a folder `BARCODE.tape`. For the control plane: everything waits for the
/// device.
public struct CartridgeStore: Sendable {
    /// The least bytes of a cartridge.
    public static let minimumCapacity: Int64 = 65536
    /// The most bytes of a cartridge: 1 PiB.
    public static let maximumCapacity: Int64 = 1 << 50
    static let suffix = ".tape"
    static let dataName = "partition0.data"
    static let indexName = "index.sqlite"
    /// What an index that is no database any more is called.
    static let damagedIndexName = indexName + ".damaged"
    /// Everything that this program makes in the folder of a cartridge.
    private static let ownNames: Set<String> = Set(
        [dataName]
            + [indexName, damagedIndexName].flatMap { name in ["", "-wal", "-shm", "-journal"].map { name + $0 } })

    public let directory: String

    /// The cartridges in `directory`, which must exist before one is made.
    public init(directory: String) {
        self.directory = directory
    }

    /// Whether `text` can be a bar code: 1 to 32 letters, digits, '-' and '_'. So it is a safe name of a folder too.
    public static func isBarcode(_ text: String) -> Bool {
        let bytes = text.utf8
        return !bytes.isEmpty && bytes.count <= Superblock.textLength
            && bytes.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }

    public func folder(of barcode: String) -> String { FilePath.join(directory, barcode + Self.suffix) }

    func dataPath(of barcode: String) -> String { FilePath.join(folder(of: barcode), Self.dataName) }
    func indexPath(of barcode: String) -> String { FilePath.join(folder(of: barcode), Self.indexName) }

    /// The bar codes of all cartridges, sorted.
    public func barcodes() throws(CartridgeError) -> [String] {
        do throws(SystemError) {
            return try FilePath.names(in: directory)
                .filter { $0.hasSuffix(Self.suffix) }
                .map { String($0.dropLast(Self.suffix.count)) }
                .filter(Self.isBarcode).sorted()
        } catch {
            throw .system(error)
        }
    }

    /// Makes an empty cartridge; it is whole and durable on return, or not there at all.
    ///
    /// `mediumSerialNumber` nil makes one from the UUID. `capacity` is in bytes, record headers included.
    public func create(
        barcode: String, capacity: Int64, densityCode: UInt8, isWORM: Bool = false, mediumSerialNumber: String? = nil
    ) throws(CartridgeError) {
        try check(barcode)
        guard capacity >= Self.minimumCapacity, capacity <= Self.maximumCapacity else {
            throw .invalidCapacity(capacity)
        }
        guard !FilePath.isName(folder(of: barcode)) else { throw .exists(barcode: barcode) }
        var generator = SystemRandomNumberGenerator()
        let uuid = (0..<16).map { _ in UInt8.random(in: 0...255, using: &generator) }
        let digits = uuid.prefix(5).map { String(UInt32($0) + 0x100, radix: 16).dropFirst() }.joined()
        let identity = CartridgeIdentity(
            uuid: uuid, barcode: barcode, mediumSerialNumber: mediumSerialNumber ?? digits.uppercased(),
            capacity: capacity, densityCode: densityCode, isWORM: isWORM)
        // Under another name first: a crash on the way leaves nothing that looks like a cartridge.
        let unfinished = FilePath.join(directory, "." + barcode + Self.suffix)
        try removeRemains(of: barcode)
        do throws(SystemError) {
            try FilePath.makeDirectory(unfinished)
            try Self.createFiles(in: unfinished, identity)
            try FilePath.rename(unfinished, to: folder(of: barcode))
            try File.synchronizeDirectory(path: directory)
        } catch {
            FilePath.remove(unfinished)
            throw error.code == Errno.fileExists ? .exists(barcode: barcode) : .system(error)
        }
    }

    private static func createFiles(in folder: String, _ identity: CartridgeIdentity) throws(SystemError) {
        let path = FilePath.join(folder, dataName)
        let file = try File.open(path: path, [.readWrite, .create, .exclusive])
        let superblock = Superblock(identity: identity, partition: 0)
        let bytes = superblock.encoded()
        for copy in 0..<2 {
            let result = file.write(bytes.rawSpan, fileOffset: Int64(copy * Superblock.byteCount))
            if case .failed(let code) = result { throw SystemError(code: code, operation: "write", path: path) }
        }
        let code = file.synchronize()
        if code != 0 { throw SystemError(code: code, operation: "synchronize", path: path) }
        do throws(CartridgeIndex.OpenError) {
            let index = try CartridgeIndex.open(path: FilePath.join(folder, indexName))
            try index.writeEmpty(superblock)
        } catch {
            let isFull = if case .hostFull = error { true } else { false }
            throw SystemError(
                code: isFull ? Errno.noSpace : Errno.inputOutput, operation: "make an index in", path: folder)
        }
        try File.synchronizeDirectory(path: folder)
    }

    /// Opens a cartridge with an exclusive lock, which lasts as long as the object.
    public func open(barcode: String) throws(CartridgeError) -> Cartridge {
        let file = try lockedFile(barcode)
        let opening = CartridgeOpening(store: file, file: file, path: dataPath(of: barcode))
        return try opening.open(index: try index(barcode, replacing: true))
    }

    /// Whether a drive or another process has the cartridge open.
    public func isInUse(barcode: String) throws(CartridgeError) -> Bool {
        do throws(CartridgeError) {
            _ = try lockedFile(barcode)
            return false
        } catch {
            guard case .inUse = error else { throw error }
            return true
        }
    }

    /// Who a cartridge is, loaded or not, and whether data of it were lost, by its superblock; nothing else is looked
    /// at.
    public func inspect(
        barcode: String
    ) throws(CartridgeError) -> (identity: CartridgeIdentity, loss: LossReport?) {
        let superblock = try superblock(barcode: barcode).superblock
        return (superblock.identity, superblock.loss?.report)
    }

    private func superblock(barcode: String) throws(CartridgeError) -> (superblock: Superblock, length: Int64) {
        try check(barcode)
        let path = dataPath(of: barcode)
        let file: File
        let length: Int64
        do throws(SystemError) {
            file = try File.open(path: path)
            length = try file.size()
        } catch {
            throw error.code == Errno.noSuchFile ? .missing(barcode: barcode) : .system(error)
        }
        return (try CartridgeOpening(store: file, file: file, path: path).superblock().superblock, length)
    }

    /// Tells about a cartridge, loaded or not.
    public func summary(barcode: String) throws(CartridgeError) -> CartridgeSummary {
        let (superblock, length) = try superblock(barcode: barcode)
        var settings = CartridgeSettings()
        if FilePath.exists(indexPath(of: barcode)) {
            do throws(CartridgeIndex.OpenError) {
                settings = try CartridgeIndex.openToRead(path: indexPath(of: barcode)).settings()
            } catch {
                throw error.cartridgeError(path: indexPath(of: barcode))
            }
        }
        return CartridgeSummary(
            identity: superblock.identity, usedBytes: max(0, length - Superblock.dataOffset),
            isWriteProtected: settings.isWriteProtected, loadCount: settings.loadCount,
            loss: superblock.loss?.report)
    }

    /// Acknowledges a loss of data on a cartridge that no drive has; see `Cartridge.acknowledgeLoss`. When it throws,
    /// the cartridge has a loss that is not acknowledged.
    ///
    /// The answer is what could not be written out after that, if so: the index, which the data file makes up for.
    public func acknowledgeLoss(barcode: String) throws(CartridgeError) -> WriteFailure? {
        try Self.acknowledgeLoss(on: try open(barcode: barcode), path: dataPath(of: barcode))
    }

    /// The same on a cartridge that is open, and is closed then.
    static func acknowledgeLoss(on cartridge: Cartridge, path: String) throws(CartridgeError) -> WriteFailure? {
        let refusal = cartridge.acknowledgeLoss()
        let failure = refusal.map { WriteFailure.host($0) } ?? cartridge.close()
        if let failure, cartridge.loss != nil { throw .hostFailed(path: path, reason: failure.description) }
        return failure
    }

    /// Removes a cartridge and all its data, or what a crash has left of it; refused while it is in use, and while
    /// there is something else in its folder.
    public func delete(barcode: String) throws(CartridgeError) {
        let doomed = FilePath.join(directory, "." + barcode + Self.suffix)
        let file: File?
        do throws(CartridgeError) {
            file = try lockedFile(barcode)
        } catch {
            let isLeft = FilePath.isName(folder(of: barcode)) || FilePath.isName(doomed)
            switch error {
            // Without its data file there is nothing to lock; nor where a link leads to something else.
            case .missing where isLeft: file = nil
            case .system where FilePath.isLink(folder(of: barcode)): file = nil
            default: throw error
            }
        }
        // First out of sight, in one step; then piece by piece.
        for path in [doomed, folder(of: barcode)] { try Self.checkIsOwn(path) }
        do throws(SystemError) {
            if FilePath.isName(doomed) { try Self.remove(doomed) }
            if FilePath.isName(folder(of: barcode)) { try File.rename(folder(of: barcode), to: doomed) }
            try File.synchronizeDirectory(path: directory)
            guard FilePath.isName(doomed) else { return }
            try Self.remove(doomed)
        } catch {
            throw .system(error)
        }
        withExtendedLifetime(file) {}
    }

    /// Refuses a folder in which there is something that is not of a cartridge.
    private static func checkIsOwn(_ folder: String) throws(CartridgeError) {
        guard FilePath.isName(folder), !FilePath.isLink(folder) else { return }
        let names: [String]
        do throws(SystemError) { names = try FilePath.names(in: folder) } catch { throw .system(error) }
        let foreign = names.filter {
            !ownNames.contains($0) || FilePath.isDirectory(FilePath.join(folder, $0))
        }
        guard foreign.isEmpty else { throw .foreignFiles(path: folder, names: foreign.sorted()) }
    }

    /// Removes the files of a cartridge and its folder. Of a folder that somebody has moved and left a link to, the
    /// link goes.
    private static func remove(_ folder: String) throws(SystemError) {
        if !FilePath.isLink(folder) {
            for name in try FilePath.names(in: folder) where ownNames.contains(name) {
                try File.remove(FilePath.join(folder, name))
            }
        }
        try FilePath.removeEmpty(folder)
    }

    /// Removes what a crash has left of a cartridge that was being made or removed; nothing may be left already.
    public func removeRemains(of barcode: String) throws(CartridgeError) {
        let path = FilePath.join(directory, "." + barcode + Self.suffix)
        guard FilePath.isName(path) else { return }
        try Self.checkIsOwn(path)
        do throws(SystemError) { try Self.remove(path) } catch { throw .system(error) }
    }

    func lockedFile(_ barcode: String) throws(CartridgeError) -> File {
        try check(barcode)
        do throws(SystemError) {
            let file = try File.open(path: dataPath(of: barcode), .readWrite)
            guard try file.lock() else { throw SystemError(code: Errno.wouldBlock, operation: "lock") }
            return file
        } catch {
            switch error.code {
            case Errno.noSuchFile: throw .missing(barcode: barcode)
            case Errno.wouldBlock: throw .inUse(barcode: barcode)
            default: throw .system(error)
            }
        }
    }

    /// The index; with `replacing` one that is no database any more gives way to a new one, under another name.
    func index(_ barcode: String, replacing: Bool) throws(CartridgeError) -> CartridgeIndex {
        let path = indexPath(of: barcode)
        do throws(CartridgeIndex.OpenError) {
            return try CartridgeIndex.open(path: path)
        } catch {
            guard case .notADatabase = error, replacing else { throw error.cartridgeError(path: path) }
        }
        for suffix in ["", "-wal", "-shm"] where FilePath.exists(path + suffix) {
            FilePath.remove(FilePath.join(folder(of: barcode), Self.damagedIndexName + suffix))
            do throws(SystemError) {
                try FilePath.rename(
                    path + suffix, to: FilePath.join(folder(of: barcode), Self.damagedIndexName + suffix))
            } catch {
                throw .system(error)
            }
        }
        return try index(barcode, replacing: false)
    }

    private func check(_ barcode: String) throws(CartridgeError) {
        guard Self.isBarcode(barcode) else { throw .invalidBarcode(barcode) }
    }
}
