import Foundation
import Management
import Platform
import Resources

/// The state folder, seen from outside.
struct FolderExamination {
    /// Below which free space is short, in bytes.
    static let shortSpace: Int64 = 1 << 30

    let path: String
    /// How the folder was chosen, in words.
    let origin: String

    /// Whether it is there.
    var exists: Bool { (try? FileStatus.of(path))?.kind == .directory }

    /// Why `--state` or its absence means this folder.
    static func origin(option: String?, environment: [String: String], isRoot: Bool) -> String {
        if option != nil { return "by --state" }
        if environment["CAROUSEL_STATE"]?.isEmpty == false { return "by $CAROUSEL_STATE" }
        return isRoot ? "the default of root" : "the default of users other than root"
    }

    func findings() -> [DoctorFinding] {
        let subject = "state folder"
        guard exists else {
            let isOther = (try? FileStatus.of(path)) != nil
            return [
                isOther
                    ? .problem(subject, "\(path) (\(origin)) is no folder; name another one with --state")
                    : .warning(
                        subject,
                        "\(path) (\(origin)) is not there; 'carousel serve' makes it, or name another one with --state")
            ]
        }
        guard FileManager.default.isReadableFile(atPath: path), FileManager.default.isExecutableFile(atPath: path)
        else {
            return [
                .problem(
                    subject,
                    "\(path) (\(origin)) belongs to another user; ask as that one, or name another one with --state")
            ]
        }
        var findings = [DoctorFinding.ok(subject, "\(path) (\(origin))")]
        if let mode = Self.mode(path), mode & 0o022 != 0 {
            findings.append(
                .problem(
                    subject,
                    "others can write to \(path), so the daemon does not start there; run 'chmod 700 \(path)'"))
        }
        if !FileManager.default.isWritableFile(atPath: path) {
            findings.append(
                .problem(
                    subject, "\(path) cannot be written; see whose it is, and whether its file system is read-only"))
        }
        for (file, remedy) in [("chap.json", "set new secrets"), ("tokens.json", "make new tokens")] {
            guard let mode = Self.mode("\(path)/\(file)"), mode & 0o077 != 0 else { continue }
            findings.append(
                .problem(
                    "secrets",
                    "others may read \(path)/\(file), so the daemon does not start; run 'chmod 600 \(path)/\(file)' "
                        + "and \(remedy)"))
        }
        if FileManager.default.fileExists(atPath: path + "/apply.interrupted.json") {
            findings.append(
                .problem(
                    "configuration",
                    "a change was interrupted and could not be taken back as a whole; compare with 'carousel diff', "
                        + "then remove \(path)/apply.interrupted.json"))
        }
        return findings + [space()].compactMap { $0 }
    }

    private func space() -> DoctorFinding? {
        guard let system = try? FileManager.default.attributesOfFileSystem(forPath: path),
            let free = (system[.systemFreeSize] as? NSNumber)?.int64Value,
            let total = (system[.systemSize] as? NSNumber)?.int64Value
        else { return nil }
        return Self.space(free: free, total: total, path: path)
    }

    static func space(free: Int64, total: Int64, path: String) -> DoctorFinding {
        let words = "\(ByteSize.format(free)) of \(ByteSize.format(total)) are free below \(path)"
        if free < 16 << 20 {
            return .problem("space", "\(words): what is written is refused; free some")
        }
        return free < min(shortSpace, total / 20)
            ? .warning("space", "\(words); media grow as they are written, so free some") : .ok("space", words)
    }

    private static func mode(_ path: String) -> Int? {
        (try? FileManager.default.attributesOfItem(atPath: path))?[.posixPermissions] as? Int
    }

    /// The process that has the folder; 0 when it does not say which, nil when none has it, or it cannot be found out.
    var owner: Int? { StateFolder.owner(of: path) }
}
