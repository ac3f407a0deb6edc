import Bytes
public import Foundation
import Glibc
import Platform
public import Resources

/// Called before each effect on a file of the state folder (it is made, written, synchronised, truncated, renamed or
/// removed, or its folder is synchronised), with its path, and before a transaction of the catalog is committed, with
/// the catalog's. What it throws is what the effect fails with: so tests fail each one once, and stop the control plane
/// between any two.
public typealias ChangeGate = @Sendable (_ path: String) throws(ManagementError) -> Void

/// The folder that holds everything the daemon keeps, and the lock that makes one daemon its owner.
public final class StateFolder: Sendable {
    /// The absolute path.
    public let path: String
    /// Held open for the lock's sake; the kernel lets go of the lock when the process ends, however it ends.
    private let lock: File
    /// The folder itself, which is locked too: that stands whatever becomes of the file.
    private let lockedFolder: File?
    /// What every change of files and of the catalog passes first.
    let gate: ChangeGate?
    /// The room that is kept for deletions on a full file system.
    let reserve: SpaceReserve

    /// The folder that the environment means: `$CAROUSEL_STATE`, else `/var/lib/carousel` for root, else
    /// `~/.local/state/carousel`.
    public static func defaultPath(environment: [String: String] = ProcessInfo.processInfo.environment) -> String {
        if let path = environment["CAROUSEL_STATE"], !path.isEmpty { return path }
        return geteuid() == 0 ? "/var/lib/carousel" : NSHomeDirectory() + "/.local/state/carousel"
    }

    /// The bytes that `sun_path` of a Unix socket address holds beside its NUL (unix(7)).
    static let maximumSocketPathLength = 107

    /// Where the control socket of the state folder at `path` is.
    public static func socketPath(in path: String) -> String { absolute(path) + "/control.sock" }

    /// `path` seen from the root, without `.` and `..`.
    public static func absolute(_ path: String) -> String {
        URL(fileURLWithPath: (path as NSString).expandingTildeInPath).standardizedFileURL.path
    }

    /// Makes the folder if needed and takes its lock.
    ///
    /// - Throws: `ManagementError.Code.conflict` when another daemon has it.
    public init(path: String, gate: ChangeGate? = nil) throws(ManagementError) {
        self.gate = gate
        guard !path.isEmpty else {
            throw ManagementError(.invalid, "'' is no state folder; name one with --state")
        }
        let path = Self.absolute(path)
        self.path = path
        guard Self.socketPath(in: path).utf8.count <= Self.maximumSocketPathLength else {
            throw ManagementError(
                .invalid,
                "state folder \(path) has too long a path for the control socket in it, "
                    + "which may have \(Self.maximumSocketPathLength) bytes; choose a shorter --state")
        }
        let folders = [path, path + "/" + Self.imageFolder, path + "/libraries"]
        for folder in folders { try Self.checkOwner(of: folder) }
        do {
            for folder in folders {
                try FileManager.default.createDirectory(
                    atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            }
        } catch {
            throw ManagementError(
                .system, "cannot make the state folder \(path): \(Self.reason(error)); choose another with --state")
        }
        let lockPath = path + "/lock"
        lockedFolder = try Self.locked(path, owner: lockPath)
        lock = try PlainFile.open(lockPath)
        // Those of earlier versions lock the file only.
        guard (try? lock.hold()) == true else { throw Self.inUse(path, owner: lockPath) }
        for name in ["reserve", "catalog.sqlite-wal", "catalog.sqlite-shm"] {
            try PlainFile.check(path + "/" + name)
        }
        // A copy that is a second name does no harm here, and what is replaced has one for a moment.
        for name in ["catalog.sqlite", "chap.json", "tokens.json", "apply.json", "restore.json"] {
            try PlainFile.check(path + "/" + name, countsLinks: false)
        }
        var code = lock.truncate(to: 0)
        if code == 0, case .failed(let refusal) = lock.write(Array("\(getpid())\n".utf8).rawSpan, fileOffset: 0) {
            code = refusal
        }
        guard code == 0 else {
            throw ManagementError(.system, "cannot write \(lockPath): \(Self.reason(code))")
        }
        reserve = SpaceReserve(path: path + "/reserve", gate: gate)
    }

    /// How often the lock is asked for, and after how many seconds again.
    private static let lockAttempts = 5
    private static let lockInterval = 0.01

    /// The folder, open and locked, so that the lock does not depend on a file in it; nil where the file system locks
    /// no folders (NFS does not).
    private static func locked(_ path: String, owner: String) throws(ManagementError) -> File? {
        let folder: File
        do {
            folder = try File.open(path: path, .directory)
        } catch {
            throw ManagementError(
                .system, "cannot open the state folder \(path): \(error.reason); choose another with --state")
        }
        // Whoever looks whether somebody has it has it for a moment.
        for _ in 0..<lockAttempts {
            guard let isHeld = try? folder.hold() else { return nil }
            if isHeld { return folder }
            Thread.sleep(forTimeInterval: lockInterval)
        }
        throw inUse(path, owner: owner)
    }

    private static func inUse(_ path: String, owner: String) -> ManagementError {
        let number = number(in: owner)
        return ManagementError(
            .inUse,
            "state folder \(path) is in use by process \(number.map(String.init) ?? "unknown"); "
                + "stop it or choose another with --state")
    }

    /// The process that has the state folder at `path`; 0 when it does not say which, nil when none has it, or it
    /// cannot be found out.
    public static func owner(of path: String) -> Int? {
        guard let folder = try? File.open(path: path, .directory), (try? folder.hold()) == false else { return nil }
        return number(in: path + "/lock") ?? 0
    }

    private static func number(in path: String) -> Int? {
        let text = FileManager.default.contents(atPath: path) ?? Data()
        return Int(String(decoding: text, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines))
    }

    /// Refuses a folder that is another user's, or in which others could put their files in the place of the daemon's.
    private static func checkOwner(of path: String) throws(ManagementError) {
        // Through links: systemd makes /var/lib/NAME one for a user of the moment.
        guard let status = try? FileStatus.of(path), status.kind == .directory else { return }
        guard status.owner == geteuid() else {
            throw ManagementError(
                .system,
                "the state folder \(path) belongs to another user (uid \(status.owner)), who could put other files in "
                    + "the place of the daemon's; run this as that user, give the folder to this one with 'chown -R', "
                    + "or choose another with --state")
        }
        guard status.permissions & 0o022 == 0 else {
            let mode = String(status.permissions & 0o777, radix: 8)
            throw ManagementError(
                .system,
                "the state folder \(path) can be written by others (mode \(mode)); close it with 'chmod 700 \(path)'")
        }
    }

    /// Why nothing can be written to the folder now; nil when it can.
    func writeRefusal() -> String? {
        File.writeRefusal(path).map {
            "the state folder \(path) cannot be written (\($0.reason)), so nothing can be changed; mend the file "
                + "system, and see 'dmesg' for what has happened to it"
        }
    }

    /// Releases the folder for another daemon, before this object goes away.
    public func release() {
        lock.release()
        lockedFolder?.release()
    }

    /// The catalog's file.
    public var catalogPath: String { path + "/catalog.sqlite" }
    /// The file of CHAP secrets.
    var secretsPath: String { path + "/chap.json" }
    /// The file of digests of tokens.
    var tokensPath: String { path + "/tokens.json" }
    /// Where profiles of the user's own are.
    var profilesPath: String { path + "/profiles" }
    /// The control socket.
    public var socketPath: String { Self.socketPath(in: path) }

    /// Where the image `image` of a disk is: as it stands in the catalog, relative to the folder or absolute.
    func imagePath(_ image: String) -> String { image.hasPrefix("/") ? image : path + "/" + image }

    /// Where the cartridges of `library` are.
    func libraryPath(_ library: String) -> String { path + "/libraries/" + library }

    /// What the names of cartridges' folders end with.
    static let cartridgeSuffix = ".tape"

    /// Where the cartridge `barcode` of `library` is.
    func cartridgePath(_ barcode: String, library: String) -> String {
        libraryPath(library) + "/" + barcode + Self.cartridgeSuffix
    }
}
