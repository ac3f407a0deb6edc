import Catalog
import Encryption
import Platform
import Resources

import enum Media.ImageKeyFile
import class Media.RawDiskImage

/// What is there of a thing, compared with what its row asks for.
enum Observation: Hashable {
    /// It is as it should be.
    case served
    /// Its row is complete, and it does not run.
    case unserved
    /// It was being made or deleted when something ended that: nothing of it is to stay.
    case unfinished
    /// It runs, and its files are not where its row says. The sentence says what is wrong, and what to do.
    case detached(String)
}

/// What brings the things of a kind from what they are to what their rows ask for. Each step may be repeated: what is
/// done already, it leaves alone. Only `observe` may run beside changes of the thing.
protocol Reconciliation: Sendable {
    associatedtype Row: Sendable
    /// `disk`
    static var kind: String { get }
    /// The rows, by name.
    func rows() throws(ManagementError) -> [Row]
    /// The row of the thing `name`, if there is one.
    func row(_ name: String) throws(ManagementError) -> Row?
    func name(of row: Row) -> String
    /// What has to answer before it can be served or removed: its image or folder.
    func path(of row: Row) -> String
    /// Looks at memory, and at where the files should be; changes nothing.
    func observe(_ row: Row) -> Observation
    /// Serves what is not served.
    func converge(_ row: Row) throws(ManagementError)
    /// Removes what is unfinished, files first and then the row.
    func finalize(_ row: Row) throws(ManagementError)
    /// The same for the parts of a complete thing; what cannot be removed is logged.
    func finalizeParts(of row: Row) throws(ManagementError)
}

extension Reconciliation {
    func finalizeParts(of row: Row) throws(ManagementError) {}

    /// Those of `rows` whose files answer, by name.
    func answering(_ rows: [Row], _ plane: ControlPlane) -> Set<String> {
        let paths = rows.map { (name: name(of: $0), item: path(of: $0)) }
        return Set(plane.looks.look(at: paths) { [assembly = plane.assembly] in assembly.touch($0) }.keys)
    }

    /// Why something is neither served nor removed whose files do not answer, or that nobody could ask.
    func silence(_ row: Row, _ looks: FileLooks) -> ManagementError {
        guard looks.hangs(name(of: row)) else {
            return ManagementError(
                .system,
                "\(Self.kind) '\(name(of: row))': nobody could look at \(path(of: row)), because the files of "
                    + "\(FileLooks.Limit.threads) others do not answer; see to the file system that those are on, and "
                    + "the daemon goes on with it")
        }
        return ManagementError(
            .system,
            "\(Self.kind) '\(name(of: row))': \(path(of: row)) does not answer; see to the file system that it is on, "
                + "and the daemon goes on with it when it does")
    }
}

/// Disks: the row, the image and the logical unit.
struct DiskReconciliation: Reconciliation {
    static let kind = "disk"
    let plane: ControlPlane
    /// The daemon's own files, which are no images; looked at only when a disk with an image is to be served.
    let ownFiles: @Sendable () -> OwnFiles
    /// The users' keys that were asked for already, by disk.
    var keys: [String: Result<UserKey, ManagementError>] = [:]

    func rows() throws(ManagementError) -> [DiskRecord] {
        try plane.query { () throws(CatalogError) in try plane.catalog.disks() }
    }

    func row(_ name: String) throws(ManagementError) -> DiskRecord? {
        try plane.query { () throws(CatalogError) in try plane.catalog.disk(named: name) }
    }

    func name(of row: DiskRecord) -> String { row.name }

    func path(of row: DiskRecord) -> String { plane.folder.imagePath(row.image) }

    func observe(_ row: DiskRecord) -> Observation {
        guard row.phase == .complete else { return .unfinished }
        guard let served = plane.servedFile(of: row.name) else { return .unserved }
        // Nobody can take its file away.
        if row.spec.isInMemory { return .served }
        let path = plane.folder.imagePath(row.image)
        guard let reason = Self.displacement(of: served, at: path, length: row.node == nil ? row.size : 0)
        else {
            return companion(of: row, path).map { observe($0, of: row) } ?? .served
        }
        return .detached(
            "disk '\(row.name)': its image \(path) \(reason); initiators go on using the file that was there, which is "
                + "lost with the end of the daemon unless it has another name: put it back, or have an initiator copy "
                + "what is on the disk")
    }

    /// A file beside an image without which the disk is not served again.
    private struct Companion {
        let path: String
        /// What it is.
        let words: String
        /// What it means that it is not there.
        let consequence: String
        /// Which file the disk is served with; nil where there is none.
        let served: (DiskRecord) -> FileStatus.Identity?
    }

    private func companion(of row: DiskRecord, _ path: String) -> Companion? {
        if row.spec.isEncrypted {
            return Companion(
                path: ImageKeyFile.path(ofImage: path), words: "the file with its key",
                consequence: "initiators go on using the disk, which nobody can read any more after the end of the "
                    + "daemon: put the file back",
                served: plane.assembly.keyFile)
        }
        guard row.spec.protection != 0 else { return nil }
        return Companion(
            path: RawDiskImage.protectionPath(ofImage: path), words: "its protection information",
            consequence: "initiators go on using the file that was there, and the disk is not served again without "
                + "it: put it back",
            served: plane.assembly.protectionFile)
    }

    /// The same for what is beside the image.
    private func observe(_ companion: Companion, of row: DiskRecord) -> Observation {
        guard let reason = displacement(of: companion, row) else { return .served }
        return .detached(
            "disk '\(row.name)': \(companion.words) \(companion.path) \(reason); \(companion.consequence), or have an "
                + "initiator copy what is on the disk")
    }

    private func displacement(of companion: Companion, _ row: DiskRecord) -> String? {
        let found: Result<FileStatus, SystemError> = Result { () throws(SystemError) in
            try FileStatus.of(companion.path, followsLinks: false)
        }
        // Asked afterwards: a format operation may just have ended, after which there is none, or another one.
        guard let served = companion.served(row) else { return nil }
        switch found {
        case .success(let status): return status.identity == served ? nil : "was replaced by another file"
        case .failure(let error): return error.code == Errno.noSuchFile ? "was removed or renamed" : nil
        }
    }

    /// Why `path` is not the file that is served any more; nil when it is, or when that cannot be found out now.
    private static func displacement(
        of served: FileStatus.Identity, at path: String, length: Int64
    ) -> String? {
        do {
            let status = try FileStatus.of(path)
            guard status.identity == served else { return "was replaced by another file" }
            return status.length < length
                ? "was cut to \(status.length) of \(length) bytes" : nil
        } catch {
            return error.code == Errno.noSuchFile ? "was removed or renamed" : nil
        }
    }

    func converge(_ row: DiskRecord) throws(ManagementError) { try plane.start(row, key: keys[row.name], ownFiles) }

    func finalize(_ row: DiskRecord) throws(ManagementError) { try plane.removeRemains(of: row) }
}

/// Libraries: the rows, the folder of cartridges, changer and drives. How the cartridges are is found out when they are
/// listed or loaded.
struct LibraryReconciliation: Reconciliation {
    static let kind = "library"
    let plane: ControlPlane

    func rows() throws(ManagementError) -> [LibraryRecord] {
        try plane.query { () throws(CatalogError) in try plane.catalog.libraries() }
    }

    func row(_ name: String) throws(ManagementError) -> LibraryRecord? {
        try plane.query { () throws(CatalogError) in try plane.catalog.library(named: name) }
    }

    func name(of row: LibraryRecord) -> String { row.name }

    func path(of row: LibraryRecord) -> String { plane.folder.libraryPath(row.name) }

    func observe(_ row: LibraryRecord) -> Observation {
        guard row.phase == .complete else { return .unfinished }
        guard let served = plane.servedFile(of: row.name) else { return .unserved }
        let path = plane.folder.libraryPath(row.name)
        let words = "library '\(row.name)': its folder \(path)"
        let present: FileStatus
        do {
            present = try FileStatus.of(path)
        } catch {
            guard error.code == Errno.noSuchFile else { return .served }
            return .detached("\(words) was removed or renamed; no cartridge in it can be loaded until it is back")
        }
        guard present.identity != served else { return .served }
        do throws(ManagementError) {
            return .detached("\(words) was replaced by another one\(try plane.displacement(of: row, at: path))")
        } catch {
            return .served
        }
    }

    func converge(_ row: LibraryRecord) throws(ManagementError) { try plane.start(row) }

    func finalize(_ row: LibraryRecord) throws(ManagementError) { try plane.removeRemains(of: row) }

    func finalizeParts(of row: LibraryRecord) throws(ManagementError) { try plane.endInterruptedCartridges(of: row) }
}

extension ControlPlane {
    /// What it means that another folder is at `path` than the one from which the library is served: the end of a
    /// sentence. Cartridges are opened by their paths, so a copy of the folder serves; but what drives have written to
    /// cartridges of the former one is there only, which nobody can tell afterwards. So that is told until the former
    /// one is back or the daemon starts on this one, whatever the drives have now.
    func displacement(of library: LibraryRecord, at path: String) throws(ManagementError) -> String {
        let missing = assembly.cartridgeFindings(of: library).problems.filter { $0.value.state == .missing }
        for cartridge in try cartridgeRecords(library) where cartridge.phase == .complete {
            if let element = cartridge.location.element, element.kind == .drive {
                return " while \(element) had cartridge '\(cartridge.barcode)', whose data go on in the former one; "
                    + "put that back, or what is written is lost"
            }
            let file = folder.cartridgePath(cartridge.barcode, library: library.name)
            guard missing[cartridge.barcode] == nil, (try? FileStatus.of(file).kind) != .directory else { continue }
            return " without cartridge '\(cartridge.barcode)', which cannot be loaded; put the former one back"
        }
        return
            ", which cartridges are loaded from now; what drives wrote to those of the former one is there only: put "
            + "that back, or start the daemon again to go on with this one"
    }
}
