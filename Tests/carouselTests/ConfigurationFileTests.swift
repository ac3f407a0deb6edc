import Foundation
import Resources
import Testing

@testable import carousel

@Suite("Secrets of configuration files")
struct ConfigurationFileTests {
    private func file(_ secret: JSONValue) -> JSONValue {
        ["credentials": [["name": "discovery/u", "spec": ["secret": secret]]], "disks": [["name": "d"]]]
    }

    private func secret(_ reference: JSONValue, folder: String = "/", _ environment: [String: String] = [:]) throws
        -> String?
    {
        let content = try ConfigurationFile(content: file(reference), folder: folder, environment: environment).content
        let json = content["credentials"]?.elements?.first?["spec"]?["secret"]
        return json.flatMap(Secret.from).map { String(decoding: $0.bytes, as: UTF8.self) }
    }

    private func refusal(_ reference: JSONValue) -> String? {
        do {
            _ = try secret(reference)
            return nil
        } catch {
            return (error as? CommandFailure)?.message
        }
    }

    @Test("a name that is empty is told as that")
    func emptyNames() {
        let error = #expect(throws: CommandFailure.self) { try ConfigurationFile(path: "") }
        #expect(error?.status == .usage && error?.message.hasPrefix("'' is no name for a configuration") == true)
        let secret = #expect(throws: CommandFailure.self) {
            try SecretSource(path: "").read("secret", option: "--secret-file")
        }
        #expect(secret?.status == .usage && secret?.message.hasPrefix("'' is no name for a file") == true)
    }

    @Test("they come from files beside it, and from the environment")
    func references() throws {
        let folder = NSTemporaryDirectory() + "carousel-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try Data("halibut-halibut\nmore\n".utf8).write(to: URL(fileURLWithPath: folder + "/db.secret"))
        #expect(try secret(["file": "db.secret"], folder: folder) == "halibut-halibut")
        #expect(try secret(["file": .text(folder + "/db.secret")]) == "halibut-halibut")
        #expect(try secret(["environment": "DB"], ["DB": "marlin-marlin"]) == "marlin-marlin")
        #expect(try ConfigurationFile(content: [], folder: "/", environment: [:]).content == [])
    }

    @Test("what names none is refused, and not quoted")
    func refusals() {
        let sentence = "does not stand in the configuration"
        for reference: JSONValue in [
            "swordfish-swordfish", ["files": "x"], ["file": 1], [:], ["file": "x", "environment": "X"],
        ] {
            let message = refusal(reference)
            #expect(message?.contains(sentence) == true && message?.contains("swordfish") == false)
        }
        #expect(refusal(["environment": "NONE"])?.contains("no variable NONE") == true)
        #expect(refusal(["file": "/nowhere/at/all"])?.contains("cannot be read") == true)
    }
}

@Suite("The doctor's examinations")
struct DoctorTests {
    @Test("which state folder is meant, and why")
    func origin() {
        let variable = ["CAROUSEL_STATE": "/x"]
        #expect(FolderExamination.origin(option: "/y", environment: variable, isRoot: true) == "by --state")
        #expect(FolderExamination.origin(option: nil, environment: variable, isRoot: true) == "by $CAROUSEL_STATE")
        #expect(FolderExamination.origin(option: nil, environment: [:], isRoot: true).contains("of root"))
        #expect(FolderExamination.origin(option: nil, environment: [:], isRoot: false).contains("other than root"))
    }

    @Test("space is well, short or at its end")
    func space() {
        func level(_ free: Int64, of total: Int64) -> DoctorFinding.Level {
            FolderExamination.space(free: free, total: total, path: "/x").level
        }
        #expect(level(100 << 30, of: 200 << 30) == .ok)
        #expect(level(900 << 20, of: 200 << 30) == .warning)
        #expect(level(900 << 20, of: 1 << 30) == .ok)
        #expect(level(1 << 20, of: 200 << 30) == .problem)
    }

    @Test("limits, huge pages, clock and kernel modules are read")
    func system() {
        let limits =
            "Limit Soft Hard Units\nMax open files            1024                 524288               files\n"
        #expect(SystemExamination.files(limits: limits, isDaemon: true).level == .ok)
        #expect(SystemExamination.files(limits: limits, isDaemon: true).sentence.contains("524288"))
        let few = SystemExamination.files(limits: limits.replacing("524288", with: "1024"), isDaemon: false)
        #expect(few.level == .warning)
        #expect(SystemExamination.files(limits: "", isDaemon: false).level == .ok)
        let pages = SystemExamination.hugePages(meminfo: "HugePages_Total:      16\nHugePages_Free:        9\n")
        #expect(pages.sentence.contains("9 of 16"))
        #expect(SystemExamination.clock(now: Date(timeIntervalSince1970: 0)).level == .warning)
        #expect(SystemExamination.clock(now: Date(timeIntervalSince1970: 1_900_000_000)).level == .ok)
        #expect(SystemExamination.module("kernel/drivers/scsi/iscsi_tcp.ko.xz: ...").level == .ok)
        #expect(SystemExamination.module("kernel/fs/ext4.ko:").level == .warning)
    }

    @Test("a folder that is not there is no problem, a file in its place is")
    func folders() throws {
        let path = NSTemporaryDirectory() + "carousel-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        func levels() -> [DoctorFinding.Level] { FolderExamination(path: path, origin: "x").findings().map(\.level) }
        #expect(levels() == [.warning])
        try Data().write(to: URL(fileURLWithPath: path))
        #expect(levels() == [.problem])
        try FileManager.default.removeItem(atPath: path)
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        #expect(levels().first == .ok && !levels().contains(.problem))
        try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: path)
        #expect(levels().contains(.problem))
    }
}
