import Bytes
import Foundation
import Platform
import Testing

@Suite("Names of files")
struct FileNamesTests {
    private func withPath(_ body: (String) throws -> Void) throws {
        let path = NSTemporaryDirectory() + "carousel-names-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try body(path)
    }

    @Test("Links are told apart, and not followed where that is asked for")
    func links() throws {
        try withPath { path in
            _ = try File.open(path: path, [.readWrite, .create, .exclusive], permissions: 0o600)
            let (link, second) = (path + ".link", path + ".second")
            defer { for name in [link, second] { try? File.remove(name) } }
            try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: path)
            let status = try FileStatus.of(path)
            #expect(status.kind == .regular && status.linkCount == 1 && status.permissions == 0o600)
            #expect(status.owner == geteuid())
            #expect(try FileStatus.of(link) == status)
            #expect(try FileStatus.of(link, followsLinks: false).kind == .link)
            _ = try File.open(path: path, .noFollow)
            let error = #expect(throws: SystemError.self) { try File.open(path: link, .noFollow) }
            #expect(error?.code == Errno.isLink)
            try FileManager.default.linkItem(atPath: path, toPath: second)
            #expect(try FileStatus.of(path).linkCount == 2)
            try File.remove(link)
            #expect(try FileStatus.of(path).linkCount == 2)
        }
    }

    @Test("A file gets a new name only where nothing is, not even a link to nothing")
    func newName() throws {
        try withPath { path in
            let (link, other) = (path + ".link", path + ".other")
            defer { for name in [link, other] { try? File.remove(name) } }
            _ = try File.open(path: path, [.readWrite, .create, .exclusive])
            try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "/nowhere")
            let error = #expect(throws: SystemError.self) { try File.rename(path, toNew: link) }
            #expect(error?.code == Errno.fileExists)
            #expect(try FileStatus.of(link, followsLinks: false).kind == .link)
            let identity = try FileStatus.of(path).identity
            try File.rename(path, toNew: other)
            #expect(try FileStatus.of(other).identity == identity)
            #expect(throws: SystemError.self) { try File.rename(path, toNew: other) }
        }
    }

    @Test("A file is removed as a file, and a directory when nothing is in it")
    func removal() throws {
        try withPath { path in
            let folder = path
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
            _ = try File.open(path: folder + "/file", [.readWrite, .create])
            #expect(throws: SystemError.self) { try File.remove(folder) }
            #expect(throws: SystemError.self) { try File.removeDirectory(folder) }
            #expect(throws: SystemError.self) { try File.removeDirectory(folder + "/file") }
            try File.remove(folder + "/file")
            try File.removeDirectory(folder)
            #expect(throws: SystemError(code: Errno.noSuchFile, operation: "look at", path: folder)) {
                try FileStatus.of(folder)
            }
        }
    }

    @Test("A file without a name gets one when it is whole, where nothing has it; without, nothing is left of it")
    func unnamed() throws {
        let folder = "/var/tmp/carousel-names-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        for name in [nil, "a"] {
            let file = try File.open(path: folder, [.readWrite, .unnamed])
            #expect(file.write([1, 2, 3].rawSpan, fileOffset: 0) == .done(3))
            #expect(try file.status().linkCount == 0)
            if let name { try file.link(as: folder + "/" + name) }
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["a"])
        #expect(try FileStatus.of(folder + "/a").linkCount == 1 && FileStatus.of(folder + "/a").length == 3)
        let second = try File.open(path: folder, [.readWrite, .unnamed])
        let error = #expect(throws: SystemError.self) { try second.link(as: folder + "/a") }
        #expect(error?.code == Errno.fileExists)
        #expect(throws: SystemError.self) { try File.open(path: folder + "/a", [.readWrite, .unnamed]) }
    }

    @Test("One opening holds a directory")
    func hold() throws {
        try withPath { path in
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
            let (first, second) = (
                try File.open(path: path, .directory), try File.open(path: path, .directory)
            )
            #expect(try first.hold())
            #expect(try !second.hold())
            first.release()
            #expect(try second.hold())
        }
    }

    @Test("What cannot be written says so")
    func writeRefusal() throws {
        try withPath { path in
            #expect(File.writeRefusal(NSTemporaryDirectory()) == nil)
            #expect(File.writeRefusal(path)?.code == Errno.noSuchFile)
        }
    }
}
